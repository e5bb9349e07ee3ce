"""Closed months and days from the archive, REST for the rest: over real HTTP, whatever the archive does wrong."""

from __future__ import annotations

import json
import logging
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crypto_assets.collect.run import TableRun, collect_table
from crypto_assets.collect.symbols import populate_markets
from crypto_assets.database.engines import Database, open_database
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import DAY_MS, MINUTE_MS, parse_time
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.binance.client import BinanceExchange
from crypto_assets.orchestration.metadata import run_metadata
from crypto_assets.quality.gaps.ledger import Policy
from crypto_assets_tests.sandboxed_project import BTC, Clock, HastyTime, impatient_archive, running_sandbox

NOW = datetime(2023, 3, 8, 12, 1)  # noqa: DTZ001 - stored times are naive UTC
CLOCK = parse_time("2023-03-08T12:00") + 30_000
FEBRUARY = Span(parse_time("2023-02-01"), parse_time("2023-03-01"))
NINTH = Span(parse_time("2023-02-09"), parse_time("2023-02-10"))
UNTIL_NOW = Span(FEBRUARY.start, parse_time("2023-03-09"))

MINUTES, FIVES, QUARTERS = "cryptopair_1m_kdata", "cryptopair_5m_kdata", "cryptoperp_15m_kdata"
SYMBOLS = {
    MarketType.SPOT: ["BTC/USDT"],
    MarketType.SWAP: ["BTC/USDT:USDT", "ETH/USDT:USDT", "SOL/USDT:USDT"],
}
PERP = "cryptoperp_binance_btcusdt"


@pytest.fixture(scope="module")
def running():
    with running_sandbox(Clock(CLOCK), genesis=parse_time("2022-12-28T07:00")) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running):
    running.faults.clear()
    running.requests.reset()
    yield running
    running.faults.clear()


@pytest.fixture(scope="module")
def listed_files(running, migrated_directory, tmp_path_factory):
    """SQLite files that list the sandbox's symbols and hold no candle yet."""
    directory = tmp_path_factory.mktemp("listed") / "data"
    shutil.copytree(migrated_directory, directory)
    with closing(rest_of(running.url)) as exchange, closed(directory) as database:
        for market_type, symbols in SYMBOLS.items():
            populate_markets(database, exchange, market_type, symbols, CLOCK)
    return directory


def rest_of(url: str, **options: Any) -> BinanceExchange:
    hasty = HastyTime()
    return BinanceExchange("sandbox", spot_url=url, futures_url=url, sleep=hasty.sleep, clock=hasty.clock, **options)


@contextmanager
def closed(directory: Path):
    database = open_database(f"sqlite:///{directory}", "sandbox")
    try:
        yield database
    finally:
        database.dispose()


@dataclass
class Desk:
    """A database of one's own, and what is collected into it."""

    database: Database
    url: str
    archive_url: str | None = None
    patience_s: float = 30.0
    """How long an archive may be silent: as long as anywhere, unless one that never answers is what a test is about."""

    def collect(self, table: str, window: Span, *, symbols: int = 1, only_missing=False, files=True, **options):
        candle_table = KDATA_TABLES[table]
        chosen = SYMBOLS[candle_table.market_type][:symbols]
        archive = impatient_archive(self.archive_url or self.url, timeout_s=self.patience_s) if files else None
        with closing(rest_of(self.url, **options)) as exchange:
            run = collect_table(
                exchange,
                self.database,
                candle_table,
                chosen,
                window,
                only_missing=only_missing,
                policy=Policy(answers=1),
                now=lambda: NOW,
                archive=archive,
            )
        if archive is not None:
            archive.close()
        assert run.failures == {}
        return run

    def rows(self, table: str) -> list[tuple]:
        return self.sql(f"SELECT * FROM {table} ORDER BY entity_id, timestamp", table)

    def sql(self, statement: str, of: str = "crypto_quality") -> list[tuple]:
        with self.database.connect(of) as connection:
            return [tuple(row) for row in connection.exec_driver_sql(statement).all()]

    def sources(self) -> dict[str, str]:
        return dict(self.sql("SELECT partition, source FROM crypto_kdata_coverage"))

    def digests(self) -> list[tuple]:
        return self.sql("SELECT partition, digest FROM crypto_kdata_coverage ORDER BY partition")

    def conflicts(self) -> list[dict]:
        rows = self.sql("SELECT validation_result FROM crypto_data_quality_log WHERE validation_type = 'conflict'")
        return sorted((json.loads(result) for (result,) in rows), key=lambda each: each["day"])

    def files(self) -> list[tuple]:
        return self.sql("SELECT period, rows FROM crypto_source_file ORDER BY period")


@pytest.fixture
def make_desk(running, listed_files, tmp_path):
    opened: list[Database] = []

    def make(archive_url: str | None = None) -> Desk:
        directory = tmp_path / str(len(opened))
        shutil.copytree(listed_files, directory)
        opened.append(open_database(f"sqlite:///{directory}", "sandbox"))
        return Desk(opened[-1], running.url, archive_url)

    yield make
    for database in opened:
        database.dispose()


@pytest.fixture
def desk(make_desk):
    return make_desk()


@pytest.fixture(scope="module")
def truth(running, listed_files, tmp_path_factory):
    """What REST alone leaves in the tables, without faults."""
    directory = tmp_path_factory.mktemp("truth") / "data"
    shutil.copytree(listed_files, directory)
    running.faults.clear()
    with closed(directory) as database:
        rest = Desk(database, running.url)
        rest.collect(QUARTERS, FEBRUARY, symbols=3, files=False)
        rest.collect(FIVES, FEBRUARY, files=False)
        yield {table: rest.rows(table) for table in (FIVES, QUARTERS)}


def first_symbol(rows: list[tuple]) -> list[tuple]:
    return [row for row in rows if row[0] in (BTC, PERP)]


def klines(sandbox) -> int:
    return sum(count for path, count in sandbox.requests.by_path.items() if path.endswith("klines"))


def archived(sandbox) -> int:
    return sum(count for path, count in sandbox.requests.by_path.items() if path.startswith("/data/"))


def figures(run: TableRun) -> dict[str, Any]:
    """Its metadata; of a table the rows."""
    shown = {name.removeprefix("run_"): getattr(each, "value", each) for name, each in run_metadata(run).items()}
    return shown | {
        name: [dict(row.data) for row in value.records] for name, value in shown.items() if hasattr(value, "records")
    }


def test_a_closed_month_of_minutes_costs_two_files_a_page_of_hours_and_its_context_instead_of_41_pages(
    sandbox, make_desk
):
    rest, ours = make_desk(), make_desk()
    rest.collect(MINUTES, FEBRUARY, files=False)
    assert (klines(sandbox), archived(sandbox)) == (41, 0)
    sandbox.requests.reset()
    run = ours.collect(MINUTES, FEBRUARY)
    assert (klines(sandbox), archived(sandbox)) == (3, 2)
    assert run.planned_requests == run.requests == 1 + 2 + 1, "the hours, the context on both sides, and the clock"
    assert ours.rows(MINUTES) == rest.rows(MINUTES)
    assert len(ours.rows(MINUTES)) == 28 * 1440
    assert ours.files() == [("2023-02", 28 * 1440)]
    assert set(ours.sources().values()) == {"archive"}
    assert set(rest.sources().values()) == {"rest"}
    shown = figures(run)
    assert {name: shown[name] for name in shown if "archive" in name or "rest" in name} == {
        "rows_from_archive": 28 * 1440,
        "rows_from_rest": 0,
        "archive_requests": 2,
        "archive_files": 1,
        "archive_files_lacking": 0,
        "archive_files_refused": 0,
    }


def test_the_running_month_is_rests(sandbox, desk, truth):
    run = desk.collect(FIVES, UNTIL_NOW)
    assert run.archive.used == ["BTCUSDT-5m-2023-02.zip"]
    sources = desk.sources()
    assert {source for key, source in sources.items() if key < "2023-03"} == {"archive"}
    assert {source for key, source in sources.items() if key >= "2023-03"} == {"rest"}
    assert desk.rows(FIVES)[: len(truth[FIVES])] == truth[FIVES]
    assert len(desk.rows(FIVES)) == (28 + 7) * 288 + 144
    again = desk.collect(FIVES, UNTIL_NOW, only_missing=True)
    assert (again.requests, again.archive_requests) == (1, 0)


def test_what_a_file_and_its_check_take_as_many_requests_for_is_rests(sandbox, desk):
    desk.collect(MINUTES, NINTH)
    desk.collect("cryptopair_15m_kdata", FEBRUARY)
    desk.collect("cryptoperp_1h_kdata", FEBRUARY)
    assert archived(sandbox) == 0
    desk.collect(QUARTERS, FEBRUARY)
    assert archived(sandbox) == 2


FAULTS = [
    "archive_missing",
    "archive_without_checksum",
    "archive_lacks_rows:start=2023-02-03T12:00,end=2023-02-05T12:00",
    "archive_lacks_rows:start=2023-02-01,end=2023-02-01T00:15",
    "archive_lacks_rows:start=2023-02-28T23:45,end=2023-03-01",
    "archive_stale:start=2023-02-09T07:15,end=2023-02-09T07:30",
    "archive_stale:start=2023-02-08T07:00,end=2023-02-11T09:00",
    "archive_stale:start=2023-02-01,end=2023-03-01",
    "revised:path=/data/,start=2023-02-28T23:00,end=2023-03-01",
    "archive_truncated",
    "checksum_mismatch",
    "checksum_mismatch:times=3",
    "html_body:path=/data/",
    "truncated_json:path=/data/,times=3",
    "status_5xx:path=/data/",
    "status_5xx:path=/data/,times=1",
    "reset:path=/data/",
    "timeout:path=/data/,delay_ms=60000",
    "geo_blocked:path=/data/",
    "rate_limited:path=/data/,retry_after=3600",
    "banned:path=/data/,retry_after=3600",
    "off_grid:path=/data/,row=700",
    "off_grid:path=/data/,row=0",
    "null_price:path=/data/,row=3",
    "high_below_low:path=/data/,row=-1",
    "negative_price:path=/data/,row=12",
    "duplicate_rows:path=/data/,row=5",
    "rows_out_of_order:path=/data/",
]


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_is_wrong_with_the_archive_the_table_ends_as_the_exchange_has_it(sandbox, desk, truth, fault):
    sandbox.faults.add(fault)
    desk.patience_s = 0.5 if fault.startswith("timeout") else desk.patience_s
    desk.collect(QUARTERS, FEBRUARY)
    assert desk.rows(QUARTERS) == first_symbol(truth[QUARTERS])
    assert desk.sql("SELECT * FROM crypto_kdata_gap") == []


@pytest.mark.parametrize("fault", ["status_5xx:path=/data/", "geo_blocked:path=/data/", "banned:path=/data/"])
def test_an_archive_that_does_not_answer_is_left_alone_for_the_run_and_said_once(sandbox, desk, truth, fault, caplog):
    sandbox.faults.add(fault)
    with caplog.at_level(logging.WARNING):
        run = desk.collect(QUARTERS, FEBRUARY, symbols=3, in_flight=4)
    assert archived(sandbox) <= 2 * 3  # at most what the three symbols began with
    assert desk.rows(QUARTERS) == truth[QUARTERS]
    assert [record.message for record in caplog.records if "left alone" in record.message] == [
        f"the archive is left alone for this run, REST is asked instead: {run.archive.given_up}"
    ]
    assert figures(run)["archive_given_up"].startswith("/data/futures/um/monthly/klines/")


def test_an_archive_that_nobody_serves_is_left_alone(sandbox, make_desk, truth):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        desk = make_desk(f"http://127.0.0.1:{unused.getsockname()[1]}")
        run = desk.collect(QUARTERS, FEBRUARY)
    assert "CRYPTO_ASSETS_ARCHIVE_URL" in run.archive.given_up
    assert desk.rows(QUARTERS) == first_symbol(truth[QUARTERS])


def test_refused_files_are_named_with_the_reason(sandbox, desk):
    sandbox.faults.add("checksum_mismatch")
    shown = figures(desk.collect(QUARTERS, FEBRUARY))
    assert (shown["archive_files"], shown["archive_files_refused"], shown["rows_from_archive"]) == (0, 1, 0)
    (first,) = shown["refused_files"]
    assert first["file"] == "BTCUSDT-15m-2023-02.zip"
    assert "has the SHA-256" in first["reason"]
    assert desk.files() == []


STALE = "archive_stale:path=/monthly/,start=2023-02-09T07:00,end=2023-02-09T08:59"
"""As of 2021-09-29: the month has other rows than the day's own file and REST."""


def test_a_day_alone_and_its_month_give_the_same_bytes_in_either_order(sandbox, make_desk, truth):
    sandbox.faults.add(STALE)
    wholes = [[FEBRUARY], [NINTH, FEBRUARY], [FEBRUARY, NINTH]]
    desks = [make_desk() for _ in wholes]
    for desk, windows in zip(desks, wholes, strict=True):
        for window in windows:
            desk.collect(FIVES, window)
        assert desk.rows(FIVES) == truth[FIVES]
    alone = make_desk()
    alone.collect(FIVES, NINTH)
    (digest,) = alone.digests()
    assert all(desk.digests() == desks[0].digests() and digest in desk.digests() for desk in desks)
    assert {key: source for key, source in desks[0].sources().items() if source != "archive"} == {"2023-02-09": "rest"}


def test_what_a_month_says_otherwise_than_rest_is_kept_with_both_versions(sandbox, desk):
    sandbox.faults.add(STALE)
    run = desk.collect(FIVES, FEBRUARY)
    assert klines(sandbox) == 2 + 1 + 1, "the contexts, the hours, and the day"
    (found,) = desk.conflicts()
    assert (found["table"], found["file"], found["day"]) == (FIVES, "BTCUSDT-5m-2023-02.zip", "2023-02-09")
    assert (found["differing"], found["only_in_file"], len(found["sample"])) == (24, 0, 5)
    first = found["sample"][0]
    assert first["open_time"] == "2023-02-09 07:00"
    assert first["file"]["trade_count"] == first["stored"]["trade_count"] // 2
    assert figures(run)["archive_days_disputed"] == "2023-02-09 in BTCUSDT-5m-2023-02.zip"
    desk.collect(FIVES, FEBRUARY)
    assert desk.conflicts() == [found], "said once"


def test_a_last_price_that_no_hour_betrays_is_rests_once_rest_was_asked_for_it(sandbox, make_desk, truth):
    # Neither extremes nor sums tell, and it is not the hour's last.
    sandbox.faults.add("revised:path=/monthly/,start=2023-02-09T07:05,end=2023-02-09T07:10")
    stored, late = make_desk(), make_desk()
    stored.collect(FIVES, NINTH)
    stored.collect(FIVES, FEBRUARY)
    late.collect(FIVES, FEBRUARY)
    assert late.rows(FIVES) != truth[FIVES], "that is the limit which decision 13 names"
    late.collect(FIVES, NINTH)
    assert stored.rows(FIVES) == late.rows(FIVES) == truth[FIVES]
    assert [conflict["differing"] for conflict in stored.conflicts()] == [1]


def test_a_month_that_is_missing_is_rests(sandbox, desk, truth):
    sandbox.faults.add("archive_missing", path="/monthly/")
    run = desk.collect(QUARTERS, FEBRUARY)
    assert (run.archive.used, run.archive.lacking, archived(sandbox)) == ([], 1, 1)
    assert desk.rows(QUARTERS) == first_symbol(truth[QUARTERS])


def test_a_month_off_the_grid_is_mended_by_the_daily_files_of_these_days(sandbox, desk, truth):
    times = range(NINTH.start, NINTH.end, 15 * MINUTE_MS)
    # As in February 2018: the month and REST are off the grid, the days are on it.
    for path in ("/monthly/", "/fapi/"):
        sandbox.faults.add("off_grid", path=path, open_times=tuple(times), shift_ms=789)
    run = desk.collect(QUARTERS, FEBRUARY)
    assert run.archive.used == ["BTCUSDT-15m-2023-02.zip", "BTCUSDT-15m-2023-02-09.zip"]
    assert desk.rows(QUARTERS) == first_symbol(truth[QUARTERS])
    assert run.total.rejected == 96
    assert desk.files() == [("2023-02", 2688), ("2023-02-09", 96)]
    assert desk.sources() == {"2023-02-01": "archive"}
    assert desk.conflicts() == [], "they agree"


def test_days_that_rest_has_off_the_grid_are_taken_from_their_files_too(sandbox, desk, truth):
    times = tuple(range(NINTH.start, NINTH.end, 15 * MINUTE_MS))
    sandbox.faults.add("off_grid", path="/fapi/", open_times=times, shift_ms=789)
    sandbox.faults.add("archive_missing", path="/monthly/")
    run = desk.collect(QUARTERS, FEBRUARY)
    assert run.archive.used == ["BTCUSDT-15m-2023-02-09.zip"]
    assert desk.rows(QUARTERS) == first_symbol(truth[QUARTERS])
    assert desk.sources() == {"2023-02-01": "archive+rest"}


def test_a_day_of_which_only_the_archive_lacks_candles_comes_from_rest_in_the_same_run(sandbox, desk, truth):
    sandbox.faults.add("archive_lacks_rows:start=2023-02-03T10:00,end=2023-02-03T10:25")
    run = desk.collect(FIVES, FEBRUARY)
    assert klines(sandbox) == 2 + 1 + 1
    assert (run.total.archived, run.total.received) == (27 * 288, 28 * 288)
    assert {key: source for key, source in desk.sources().items() if source != "archive"} == {"2023-02-03": "rest"}
    assert desk.files() == [("2023-02", 28 * 288 - 5)]
    assert desk.rows(FIVES) == truth[FIVES]
    assert desk.conflicts() == [], "a file proves nothing about what it lacks"


def test_a_gap_in_a_file_is_the_exchanges_only_once_rest_has_said_so(sandbox, desk):
    sandbox.faults.add("hidden_span:start=2023-02-03T10:05,end=2023-02-03T10:30")
    desk.collect(FIVES, FEBRUARY)
    ((status, missing, attempts, evidence),) = desk.sql(
        "SELECT status, missing, attempts, evidence FROM crypto_kdata_gap"
    )
    assert (status, missing, attempts) == ("source", 5, 1)
    (answer,) = json.loads(evidence)["answers"]
    assert answer["lacked_by"] == ["BTCUSDT-5m-2023-02.zip", "BTCUSDT-5m-2023-02-03.zip"]


@pytest.mark.parametrize("window", [FEBRUARY, Span(NINTH.start - DAY_MS, NINTH.end + DAY_MS), NINTH])
def test_the_archive_has_what_rest_lost_however_the_range_is_cut(sandbox, desk, truth, window):
    sandbox.faults.add("hidden_span:path=/api/,start=2023-02-09T05:00,end=2023-02-10")
    desk.collect(FIVES, window)
    first, last = window.start - FEBRUARY.start, window.end - FEBRUARY.start
    assert desk.rows(FIVES) == truth[FIVES][first // (5 * MINUTE_MS) : last // (5 * MINUTE_MS)]
    assert desk.sql("SELECT * FROM crypto_kdata_gap") == []
    assert desk.sources()["2023-02-09"] == "archive+rest"


def test_sources_follow_what_replaces_what(sandbox, desk, truth):
    desk.collect(FIVES, FEBRUARY, files=False)
    assert set(desk.sources().values()) == {"rest"}
    desk.collect(FIVES, FEBRUARY)
    assert set(desk.sources().values()) == {"archive"}
    assert desk.files() == [("2023-02", 28 * 288)]
    desk.collect(FIVES, NINTH, files=False)
    assert {key for key, source in desk.sources().items() if source == "rest"} == {"2023-02-09"}
    with desk.database.begin(FIVES) as connection:
        connection.exec_driver_sql(
            f"DELETE FROM {FIVES} WHERE timestamp >= '2023-02-11 10:00' AND timestamp < '2023-02-11 11:00'"
        )
    desk.collect(FIVES, FEBRUARY, only_missing=True)
    assert desk.sources()["2023-02-11"] == "archive+rest"
    assert desk.rows(FIVES) == truth[FIVES]
    desk.collect(FIVES, FEBRUARY, files=False)
    assert desk.files() == [], "nothing of it is left"


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_bytes_do_not_depend_on_what_came_from_where(sandbox, make_desk, truth, data):
    sandbox.faults.clear()
    days = [FEBRUARY.start + number * DAY_MS for number in range(29)]
    for day in data.draw(st.sets(st.integers(0, 27), max_size=3)):
        kind = data.draw(st.sampled_from(["archive_missing", "archive_lacks_rows", "archive_stale"]))
        first, length = data.draw(st.integers(0, 286)), data.draw(st.integers(1, 288))
        start = days[day] + first * 5 * MINUTE_MS
        end = min(start + length * 5 * MINUTE_MS, days[day + 1])
        sandbox.faults.add(kind, path="/monthly/" if kind == "archive_stale" else "/data/", start=start, end=end)
    desk = make_desk()
    bounds = [0, *sorted(data.draw(st.sets(st.integers(1, 27), max_size=2))), 28]
    windows = [FEBRUARY, *(Span(days[left], days[right]) for left, right in pairwise(bounds))]
    for window in data.draw(st.permutations(windows)):
        desk.collect(FIVES, window, files=data.draw(st.booleans()), only_missing=data.draw(st.booleans()))
    assert desk.rows(FIVES) == truth[FIVES]
    assert desk.sql("SELECT * FROM crypto_kdata_gap") == []


def test_symbols_side_by_side_share_one_archive(sandbox, desk, truth):
    run = desk.collect(QUARTERS, FEBRUARY, symbols=3, in_flight=4)
    assert desk.rows(QUARTERS) == truth[QUARTERS]
    assert archived(sandbox) == run.archive_requests == 3 * 2
    assert len(desk.files()) == 3


KILLED = f"""
import sys
from crypto_assets.database.engines import open_database
from crypto_assets.domain.series import CandleTable
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.binance.archive import BinanceArchive
from crypto_assets.exchange.binance.client import BinanceExchange
from crypto_assets.collect.run import collect_table


class Telling(BinanceArchive):
    def fetch(self, file):
        found = super().fetch(file)
        print(file.period, flush=True)
        sys.stdin.readline()
        return found


url, directory = sys.argv[1:]
exchange = BinanceExchange("sandbox", spot_url=url, futures_url=url)
database = open_database(f"sqlite:///{{directory}}", "sandbox")
collect_table(exchange, database, CandleTable.named({FIVES!r}), ["BTC/USDT"], Span({{start}}, {FEBRUARY.end}),
              only_missing=True, archive=Telling(url))
"""


def test_a_run_killed_among_files_leaves_valid_rows_that_say_where_they_came_from(sandbox, make_desk, truth, tmp_path):
    start = parse_time("2023-01-01")
    desk = make_desk()
    directory = tmp_path / "0"
    command = [sys.executable, "-c", KILLED.replace("{start}", str(start)), sandbox.url, str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "2023-01\n"
        process.stdin.write("\n")
        process.stdin.flush()
        # The next file is asked for when this one was stored.
        assert process.stdout.readline() == "2023-02\n"
        process.send_signal(signal.SIGKILL)
    left = desk.rows(FIVES)
    assert len(left) == 31 * 288
    assert desk.files() == [("2023-01", 31 * 288)]
    of_january = {source for key, source in desk.sources().items() if key < "2023-02"}
    later = {source for key, source in desk.sources().items() if key >= "2023-02"}
    assert (of_january, later) == ({"archive"}, {""})
    sandbox.requests.reset()
    desk.collect(FIVES, Span(start, FEBRUARY.end), only_missing=True)
    assert desk.rows(FIVES) == left + truth[FIVES]
    assert archived(sandbox) == 2
    assert klines(sandbox) == 1 + 2  # the hours and the contexts
