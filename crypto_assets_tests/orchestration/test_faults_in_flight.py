"""Every fault of the sandbox while several pages are asked for at once: it ends equal to the truth, or red."""

from __future__ import annotations

from datetime import timedelta

import dagster as dg
import pytest

from crypto_assets_tests.sandboxed_project import (
    Project,
    failure_sentence,
)

TABLE = "cryptopair_1m_kdata"
DAYS = ("2023-03-21", "2023-03-22")
SYMBOLS = ["BTC/USDT", "ETH/USDT", "SOL/USDT"]

# What an answer may be instead of the candles; three in ten requests meet it.
BROKEN = {
    "status_5xx": "status=502",
    "reset": "",
    "truncated_json": "",
    "html_body": "",
    "rate_limited": "retry_after=1",
    "duplicate_rows": "row=3",
    "rows_out_of_order": "",
    "null_price": "row=5",
    "negative_price": "row=-1",
    "high_below_low": "row=0",
    "off_grid": "row=7",
}
FATAL = {"banned": "retry_after=600", "geo_blocked": ""}


@pytest.fixture
def project(listed_project, sandbox, tmp_path) -> Project:
    """A project that asks for eight pages at once."""
    return listed_project.copy(tmp_path / "project", url=sandbox.url, attempts=8, in_flight=8)


@pytest.fixture(scope="module")
def expected(listed_project, shared_sandbox, tmp_path_factory):
    """What an exchange without faults leaves in the table."""
    project = listed_project.copy(tmp_path_factory.mktemp("truth"), url=shared_sandbox.url)
    assert project.collect(TABLE, *DAYS, symbols=SYMBOLS).success
    return project.rows(TABLE)


def healed(project: Project) -> None:
    """Lets the sensors do their work until there is nothing left to do."""
    open_gaps = "SELECT 1 FROM crypto_kdata_gap WHERE status = 'open'"
    for _ in range(12):
        requests = [each for each in project.tick() if isinstance(each, dg.RunRequest)]
        if not requests and not project.sql("crypto_quality", open_gaps):
            break
        for request in requests:
            project.carry_out(request)
        project.our_clock.ahead += timedelta(hours=6)


@pytest.mark.parametrize("kind", BROKEN)
def test_three_in_ten_broken_answers_end_equal_to_the_truth(project, sandbox, expected, kind):
    sandbox.faults.add(f"{kind}:path=klines,probability=0.3,{BROKEN[kind]}".rstrip(","))
    project.collect(TABLE, *DAYS, symbols=SYMBOLS)
    project.check(TABLE)
    healed(project)
    assert project.rows(TABLE) == expected
    assert project.check(TABLE).success


def test_all_of_them_mixed_at_five_in_a_hundred_end_equal_to_the_truth(project, sandbox, expected):
    for seed, (kind, fields) in enumerate(BROKEN.items()):
        sandbox.faults.add(f"{kind}:path=klines,probability=0.05,seed={seed},{fields}".rstrip(","))
    project.collect(TABLE, *DAYS, symbols=SYMBOLS)
    project.check(TABLE)
    healed(project)
    assert project.rows(TABLE) == expected
    assert project.check(TABLE).success


@pytest.mark.parametrize("kind", FATAL)
def test_what_is_wrong_for_all_symbols_ends_the_run_with_one_sentence_and_few_requests(project, sandbox, kind):
    sandbox.faults.add(f"{kind}:path=klines,{FATAL[kind]}".rstrip(","))
    result = project.collect(TABLE, *DAYS, symbols=SYMBOLS)
    assert not result.success
    assert failure_sentence(result).count("\n") == 0
    # At most those that were under way when the first answer came.
    assert sandbox.requests.by_path["/api/v3/klines"] <= 8 + len(SYMBOLS)
    assert project.rows(TABLE) == []
    sandbox.faults.clear()


def test_a_failing_symbol_delays_no_other_and_is_named(project, sandbox, expected):
    sandbox.faults.add("status_5xx:symbol=ETHUSDT,path=klines")
    result = project.collect(TABLE, *DAYS, symbols=SYMBOLS)
    assert not result.success
    assert "1 of 3 symbols failed, the other 2 stored. ETH/USDT" in failure_sentence(result)
    assert project.rows(TABLE) == [row for row in expected if "ethusdt" not in row[0]]


def test_a_fresh_range_costs_as_many_requests_as_it_has_pages(project, sandbox):
    sandbox.requests.reset()
    assert project.collect(TABLE, *DAYS, symbols=SYMBOLS).success
    minutes = 2160  # one and a half days, and twenty minutes of context before
    pages = -(-(minutes + 20) // 1000)
    # SOL's listing was not known: its first candle is one request more.
    assert sandbox.requests.by_path["/api/v3/klines"] == 3 * pages + 1
