"""Only the host that was asked is believed, and no answer is larger than what was agreed, packed or not."""

from __future__ import annotations

import gzip
from contextlib import closing

import pytest

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import Interval
from crypto_assets.domain.spans import Span
from crypto_assets.exchange import ConfigurationError, ContractViolation, TransientError
from crypto_assets.exchange.binance.archive import BinanceArchive
from crypto_assets.exchange.binance.archive_files import ArchiveFile
from crypto_assets.exchange.bounded_session import MAX_BODY_BYTES, BoundedSession
from crypto_assets.exchange.direct_session import DirectSession
from crypto_assets_tests.webhook_receiver import closed_url

SPOT = MarketType.SPOT
MEGABYTE = 1_000_000
DAY = ArchiveFile(SPOT, "BTCUSDT", Interval.M1, "2025-02-08")


@pytest.fixture(params=[BoundedSession, DirectSession])
def session(request):
    with request.param("THE_SETTING", max_body_bytes=MEGABYTE) as made:
        made.trust_env = False
        yield made


@pytest.fixture
def make_archive(fake_time):
    made: list[BinanceArchive] = []

    def make(url):
        made.append(BinanceArchive(url, sleep=fake_time.sleep))
        return made[-1]

    yield make
    for archive in made:
        archive.close()


def blanks(length: int) -> bytes:
    return gzip.compress(b" " * length)


@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_may_be_as_large_as_agreed_and_no_larger(session, server, answer, packed):
    def sized(length):
        headers = {"Content-Encoding": "gzip"} if packed else {}
        return answer(blanks(length) if packed else b" " * length, headers=headers)

    server.answers += [sized(MEGABYTE), sized(MEGABYTE + 1)]
    assert session.get(server.url, timeout=5).content == b" " * MEGABYTE
    with pytest.raises(ContractViolation, match=r"more than 1 MB.*THE_SETTING"):
        session.get(server.url, timeout=5)


def test_a_packing_that_nobody_asked_for_is_refused(session, server, answer):
    twice = gzip.compress(blanks(10 * MEGABYTE))
    server.answers.append(answer(twice, headers={"Content-Encoding": "gzip, gzip"}))
    with pytest.raises(ContractViolation, match="packed its answer as 'gzip, gzip'"):
        session.get(server.url, timeout=5)


@pytest.mark.parametrize("status", [300, 301, 302, 304, 307, 308])
def test_nobody_is_sent_elsewhere(session, server, answer, status):
    where = f"{server.url}/elsewhere"
    server.answers.append(answer(b"" if status == 304 else b"[]", status=status, headers={"Location": where}))
    with pytest.raises(ConfigurationError, match=r"/here at http.*elsewhere.*THE_SETTING"):
        session.get(f"{server.url}/here", timeout=5)
    assert [path for path, _ in server.asked] == ["/here"]


def test_klines_of_another_host_are_no_evidence(exchange, server, answer, fake_time):
    server.always["klines"] = answer([], status=302, headers={"Location": f"{server.url}/elsewhere"})
    with pytest.raises(ConfigurationError, match=r"elsewhere.*CRYPTO_ASSETS_SPOT_URL"):
        list(exchange.candle_pages(SPOT, "BTCUSDT", Interval.M1, Span(0, 600_000)))
    assert len(server.asked) == 1
    assert fake_time.slept == []


def test_a_small_answer_that_unpacks_to_no_end_is_refused(exchange, server, answer, fake_time):
    server.always["exchangeInfo"] = answer(blanks(MAX_BODY_BYTES + 1), headers={"Content-Encoding": "gzip"})
    with pytest.raises(ContractViolation, match=r"exchangeInfo at http.* more than 67 MB"):
        exchange.markets(SPOT)
    assert len(server.asked) == 1
    assert fake_time.slept == []


def test_the_archive_is_bounded_as_well(make_archive, server, answer):
    archive = make_archive(server.url)
    server.answers.append(answer(blanks(MAX_BODY_BYTES + 1), headers={"Content-Encoding": "gzip"}))
    with pytest.raises(ContractViolation, match=r"BTCUSDT-1m-2025-02-08.zip at http.* more than 67 MB"):
        archive.fetch(DAY)
    server.answers.append(answer(b"", status=301, headers={"Location": f"{server.url}/elsewhere"}))
    with pytest.raises(ConfigurationError, match="CRYPTO_ASSETS_ARCHIVE_URL"):
        archive.fetch(DAY)
    assert len(server.asked) == 2


def test_a_body_that_was_refused_is_not_read_to_its_end(session, server, answer):
    server.answers.append(answer(b" " * 50 * MEGABYTE))
    with pytest.raises(ContractViolation), closing(session):
        session.get(server.url, timeout=5)
    server.answers.append(answer(b"again"))
    assert session.get(server.url, timeout=5).content == b"again"


@pytest.fixture
def through(monkeypatch):
    """Sets the proxy of the environment, and no other."""

    def set_proxy(name, proxy):
        for each in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
            monkeypatch.delenv(each, raising=False)
            monkeypatch.delenv(each.upper(), raising=False)
        monkeypatch.setenv(name, proxy)

    return set_proxy


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("https_proxy", "https://exchange.invalid"),
        ("HTTP_PROXY", "http://exchange.invalid"),
        ("ALL_PROXY", "https://exchange.invalid"),
    ],
)
def test_a_dead_proxy_is_blamed_by_its_variable_and_tried_again(make_exchange, make_archive, through, name, url):
    through(name, closed_url().replace("//", "//me:hunter2@"))
    with pytest.raises(TransientError) as failed:
        make_exchange(spot_url=url).server_time(SPOT)
    said = str(failed.value)
    assert "the proxy 'http://me:***@127.0.0.1:" in said
    assert f"of {name} does not let it through; start or mend that, or unset {name}" in said
    assert "SPOT_URL" not in said
    with pytest.raises(TransientError, match=f"of {name} does not let it through"):
        make_archive(url).fetch(DAY)


def test_a_proxy_of_a_kind_that_is_not_installed_is_told_at_once(make_exchange, make_archive, through, fake_time):
    through("ALL_PROXY", "socks5://127.0.0.1:9")
    for ask in (
        lambda: make_exchange(spot_url="https://exchange.invalid").server_time(SPOT),
        lambda: make_archive("https://archive.invalid").fetch(DAY),
    ):
        with pytest.raises(ConfigurationError, match=r"of ALL_PROXY speaks SOCKS, .* PySocks; .* unset ALL_PROXY"):
            ask()
    assert fake_time.slept == []
