"""The archive over real HTTP: its candles are those of REST, its checksums are kept, and every way it fails is told."""

from __future__ import annotations

import socket
from contextlib import closing

import numpy as np
import pytest

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import MINUTE_MS, Interval, parse_time
from crypto_assets.domain.series import CANDLE_COLUMNS
from crypto_assets.domain.spans import Span, subtract
from crypto_assets.exchange.binance.archive import BinanceArchive
from crypto_assets.exchange.binance.archive_files import ArchiveFile, archive_files, spares_requests
from crypto_assets.exchange.binance.client import BinanceExchange
from crypto_assets.exchange.binance.hosts import NO_ARCHIVE, archive_host
from crypto_assets.exchange.errors import ConfigurationError, ContractViolation, RateLimited, TransientError
from crypto_assets.exchange.retrying import RetryPolicy
from crypto_assets.sandbox.generated import GeneratedDataset
from crypto_assets.sandbox.server import RunningSandbox
from crypto_assets_tests.received_klines import received

SPOT, SWAP = MarketType.SPOT, MarketType.SWAP
CLOCK = parse_time("2025-02-10T12:00") + 30_000
DAY = ArchiveFile(SPOT, "BTCUSDT", Interval.M1, "2025-02-08")


@pytest.fixture(scope="module")
def running():
    dataset = GeneratedDataset(genesis_ms=parse_time("2022-04-01"), clock=lambda: CLOCK)
    with RunningSandbox(dataset, spot_budget=None, futures_budget=None) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running):
    running.faults.clear()
    running.requests.reset()
    yield running
    running.faults.clear()


@pytest.fixture
def make_archive(fake_time):
    made: list[BinanceArchive] = []

    def make(url, **options):
        made.append(BinanceArchive(url, retry=RetryPolicy(attempts=3), sleep=fake_time.sleep, **options))
        return made[-1]

    yield make
    for archive in made:
        archive.close()


@pytest.fixture
def archive(sandbox, make_archive):
    return make_archive(sandbox.url)


def rest_rows(url, market_type, exchange_id, interval, span):
    with closing(BinanceExchange("sandbox", spot_url=url, futures_url=url)) as exchange:
        pages = exchange.candle_pages(market_type, exchange_id, interval, span)
        return [row for page in pages for row in page.raw_rows()]


def rest_rows_of(url, file):
    return rest_rows(url, file.market_type, file.exchange_id, file.interval, file.span)


@pytest.mark.parametrize("market_type", list(MarketType))
@pytest.mark.parametrize(
    ("interval", "period", "rows"),
    [
        # Before and after 2022-05-01 (headers of futures) and 2025-01-01 (microseconds of spot), days and months.
        ("1m", "2022-04-30", 1440),
        ("1m", "2024-12-31", 1440),
        ("1m", "2025-01-01", 1440),
        ("15m", "2022-04", 2880),
        ("15m", "2024-12", 2976),
        ("1h", "2025-01", 744),
        ("1d", "2022-05", 31),
        ("1d", "2025-02-09", 1),
    ],
)
def test_a_file_holds_what_rest_gives(sandbox, archive, market_type, interval, period, rows):
    file = ArchiveFile(market_type, "BTCUSDT", Interval(interval), period)
    candles = archive.fetch(file)
    sent = rest_rows_of(sandbox.url, file)
    assert len(sent) == rows
    assert candles.file == file
    assert np.array_equal(candles.table, received(sent).table)
    assert candles.raw_rows(range(rows)) == sent
    assert candles.stamps_per_ms == (1000 if market_type is SPOT and period >= "2025" else 1)
    has_header = candles.content.startswith(b"open_time,")
    assert has_header == (market_type is SWAP and period >= "2022-05")


def test_names_that_are_not_ascii(sandbox, archive):
    file = ArchiveFile(SWAP, "币安人生USDT", Interval.H1, "2025-02-01")
    assert archive.fetch(file).raw_rows(range(24)) == rest_rows_of(sandbox.url, file)


def test_files_and_rest_together_give_a_whole_span(sandbox, archive):
    asked = Span(parse_time("2024-11-28T05:00"), Interval.H1.closed_before(CLOCK))
    files = archive_files(SPOT, "BTCUSDT", Interval.H1, asked, CLOCK)
    assert [file.period for file in files[:5]] == ["2024-11-29", "2024-11-30", "2024-12", "2025-01", "2025-02-01"]
    rows = []
    for file in files:
        candles = archive.fetch(file)
        rows += candles.raw_rows(range(candles.table.shape[1]))
    for tail in subtract([asked], [file.span for file in files]):
        rows += rest_rows(sandbox.url, SPOT, "BTCUSDT", Interval.H1, tail)
    assert sorted(rows) == rest_rows(sandbox.url, SPOT, "BTCUSDT", Interval.H1, asked)


def test_what_is_not_there_is_none_after_one_request(sandbox, archive):
    for file in (
        ArchiveFile(SPOT, "BTCUSDT", Interval.M1, "2025-02-10"),
        ArchiveFile(SPOT, "BTCUSDT", Interval.M1, "2025-02"),
        ArchiveFile(SPOT, "BTCUSDT", Interval.M1, "2022-03"),
        ArchiveFile(SWAP, "NOSUCHUSDT", Interval.M1, "2025-01"),
    ):
        assert archive.fetch(file) is None
        assert archive.checksum(file) is None
    assert sandbox.requests.by_status == {404: 8}
    sandbox.faults.add("archive_missing:symbol=BTCUSDT,interval=1m,start=2025-02-08,end=2025-02-09")
    assert archive.fetch(DAY) is None
    assert archive.fetch(ArchiveFile(SPOT, "BTCUSDT", Interval.M1, "2025-02-07")) is not None
    assert archive.fetch(ArchiveFile(SPOT, "ETHUSDT", Interval.M1, "2025-02-08")) is not None


def test_a_replaced_file_is_known_by_its_checksum_alone(sandbox, archive):
    first = archive.fetch(DAY)
    assert archive.checksum(DAY) == first.sha256
    revised = f"revised:path=/data/,symbol=BTCUSDT,start={DAY.span.start},end={DAY.span.start + MINUTE_MS}"
    fault = sandbox.faults.add(revised)
    asked = archive.requests
    replaced = archive.checksum(DAY)
    assert archive.requests == asked + 1
    assert replaced != first.sha256
    second = archive.fetch(DAY)
    assert second.sha256 == replaced
    columns, positions = np.nonzero(first.table != second.table)
    assert set(positions.tolist()) == {0}
    assert {CANDLE_COLUMNS[column] for column in columns} <= {"close", "high"}
    sandbox.faults.remove(fault.id)
    assert archive.checksum(DAY) == first.sha256


def test_rows_that_only_the_archive_lacks(sandbox, archive):
    start, end = DAY.span.start + 10 * MINUTE_MS, DAY.span.start + 20 * MINUTE_MS
    sandbox.faults.add("archive_lacks_rows", start=start, end=end)
    whole = rest_rows_of(sandbox.url, DAY)
    assert len(whole) == 1440
    assert archive.fetch(DAY).raw_rows(range(1430)) == whole[:10] + whole[20:]


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ("checksum_mismatch", "has the SHA-256 [0-9a-f]{64}, its .CHECKSUM says [0-9a-f]{64}"),
        ("archive_without_checksum", "has no .CHECKSUM"),
        ("archive_truncated", "cannot be unzipped"),
        ("truncated_json:times=1", "has the SHA-256"),
        ("html_body", "states no SHA-256 of it but '<!DOCTYPE html>"),
    ],
)
def test_a_file_that_cannot_be_trusted_is_refused_at_once(sandbox, archive, fault, complaint):
    sandbox.faults.add(fault)
    with pytest.raises(ContractViolation, match=complaint) as refused:
        archive.fetch(DAY)
    assert DAY.name in str(refused.value)
    assert archive.requests == 2
    sandbox.faults.clear()
    assert archive.fetch(DAY) is not None


@pytest.mark.parametrize("fault", ["status_5xx", "reset", "timeout:delay_ms=60000"])
def test_failures_that_pass_are_waited_out_and_others_end_in_a_transient_error(sandbox, make_archive, fake_time, fault):
    archive = make_archive(sandbox.url, timeout_s=0.2 if "timeout" in fault else 30)
    sandbox.faults.add(fault + (",times=2" if ":" in fault else ":times=2"))
    assert archive.fetch(DAY).sha256
    assert archive.requests == 4
    assert len(fake_time.slept) == 2
    sandbox.faults.add(fault)
    with pytest.raises(TransientError, match=r"BTCUSDT-1m-2025-02-08\.zip at http"):
        archive.fetch(DAY)
    assert archive.requests == 7


def test_a_refused_place_names_the_setting(sandbox, archive, server, make_archive, answer):
    sandbox.faults.add("geo_blocked")
    with pytest.raises(ConfigurationError, match=r"HTTP 451.*CRYPTO_ASSETS_ARCHIVE_URL"):
        archive.fetch(DAY)
    server.answers.append(answer("<Error>AccessDenied</Error>", status=403))
    with pytest.raises(ConfigurationError, match=r"HTTP 403.*CRYPTO_ASSETS_ARCHIVE_URL"):
        make_archive(server.url).fetch(DAY)


def test_a_wish_to_be_left_alone_is_obeyed(sandbox, archive, fake_time):
    sandbox.faults.add("rate_limited:times=1,retry_after=7")
    assert archive.fetch(DAY) is not None
    assert fake_time.slept == [7]
    sandbox.faults.add("banned:retry_after=900")
    with pytest.raises(RateLimited) as refused:
        archive.fetch(DAY)
    assert (refused.value.retry_after_s, refused.value.banned) == (900, True)
    assert fake_time.slept == [7]


def test_answers_that_are_no_archives(server, make_archive, answer):
    archive = make_archive(server.url)
    server.answers.extend([answer("half", cut=True)] * 3)
    with pytest.raises(TransientError, match="gave no complete answer"):
        archive.fetch(DAY)
    server.answers.append(answer("what?", status=400))
    with pytest.raises(ContractViolation, match=r"HTTP 400.*CRYPTO_ASSETS_ARCHIVE_URL"):
        archive.fetch(DAY)
    for stated in ("", "abc  " + DAY.name, "0" * 64 + "  BTCUSDT-1m-2025-02-07.zip"):
        server.answers.append(answer(stated))
        with pytest.raises(ContractViolation, match="states no SHA-256 of it"):
            archive.checksum(DAY)
    server.answers.append(answer("AB" * 32 + " *" + DAY.name + "\r\n"))
    assert archive.checksum(DAY) == "ab" * 32


def test_an_answer_longer_than_the_file_can_be_is_refused(server, make_archive, answer):
    archive = make_archive(server.url)
    server.answers.append(answer("0" * (DAY.most_bytes + 1)))
    with pytest.raises(ContractViolation, match=r"02-08\.zip at http.* is longer than the 641,536 bytes"):
        archive.fetch(DAY)
    server.answers.append(answer("0" * 5000))
    with pytest.raises(ContractViolation, match=r"zip\.CHECKSUM at http.* is longer than the 4,096 bytes"):
        archive.checksum(DAY)


@pytest.mark.parametrize(("header", "slept"), [("0", 1), ("\xb2", 60), ("-5", 60), ("9" * 400, 60), ("7", 7)])
def test_a_wait_that_makes_no_sense_is_a_wait(server, make_archive, answer, fake_time, header, slept):
    server.answers.append(answer("", status=429, headers={"Retry-After": header}))
    server.answers.append(answer("", status=404))
    assert make_archive(server.url).fetch(DAY) is None
    assert fake_time.slept == [slept]


def test_a_host_that_nobody_answers_at(make_archive):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        archive = make_archive(f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(TransientError, match="CRYPTO_ASSETS_ARCHIVE_URL"):
            archive.fetch(DAY)
    with pytest.raises(ConfigurationError, match="CRYPTO_ASSETS_ARCHIVE_URL"):
        make_archive("ftp://127.0.0.1").fetch(DAY)


def test_only_live_has_an_archive_of_its_own_and_others_are_named():
    assert archive_host("live") == "https://data.binance.vision"
    assert archive_host("testnet") is archive_host("demo") is archive_host("sandbox") is None
    for environment in ("live", "sandbox"):
        assert archive_host(environment, "http://mirror") == "http://mirror"
        assert archive_host(environment, NO_ARCHIVE) is None


@pytest.mark.parametrize(
    ("market_type", "interval", "day", "month"),
    [
        (SPOT, "1m", False, True),
        (SPOT, "5m", False, True),
        (SPOT, "15m", False, False),
        (SWAP, "1m", False, True),
        (SWAP, "15m", False, True),
        (SWAP, "30m", False, False),
        (SWAP, "1h", False, False),
    ],
)
def test_a_file_is_asked_for_where_rest_would_need_more_requests_than_it_and_its_check(
    market_type, interval, day, month
):
    spared = [
        spares_requests(ArchiveFile(market_type, "X", Interval(interval), of)) for of in ("2023-03-01", "2023-03")
    ]
    assert spared == [day, month]
