"""A candle is final a margin after its close, and what comes other than it is stored replaces it, context included."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import format_time
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets.domain.spans import Span
from crypto_assets.quality.gaps.ledger import Policy
from crypto_assets.quality.verification.examination import examine
from crypto_assets_tests.orchestration.test_collection import (
    DAYS,
    INTERVAL,
    NOW,
    TABLE,
    WHOLE,
    collect,
    contents,
    fresh_database,
    gaps,
    paper_exchange,
    prepare,
)
from crypto_assets_tests.paper_exchange import candle, moment
from crypto_assets_tests.sandboxed_project import BTC, Clock, Project, running_sandbox

BOOK = MarketType.SPOT, "BTCUSDT", INTERVAL
STEP = INTERVAL.milliseconds


def revise(exchange, *times):
    """The exchange has other candles there from now on."""
    for time in times:
        exchange.candles[BOOK][time] = candle(time, INTERVAL, seed=1)


def asked_for_afresh(template, exchange):
    """What a database holds that was collected from the exchange as it is now."""
    with fresh_database(template) as database:
        prepare(database, exchange)
        collect(database, exchange, WHOLE)
        return contents(database)


def verified(database):
    """The partitions with a checksum, and what an examination of all of them says was altered."""
    with database.connect("crypto_kdata_coverage") as connection:
        rows = connection.exec_driver_sql(
            "SELECT partition FROM crypto_kdata_coverage WHERE digest != '' ORDER BY partition"
        ).all()
    return [row.partition for row in rows], examine(database, KDATA_TABLES[TABLE], NOW, Policy(), deep=True).altered


ALL_VERIFIED = (["2023-03-20", "2023-03-21", "2023-03-22"], [])


@pytest.mark.parametrize(("margin_ms", "last"), [(0, "10:00"), (149, "10:00"), (151, "09:55"), (15_000, "09:55")])
def test_a_candle_is_neither_stored_nor_owed_before_its_margin_has_passed(migrated_files, margin_ms, last):
    with fresh_database(migrated_files) as database:
        exchange = paper_exchange(close_margin_ms=margin_ms)
        exchange.clock = moment("2023-03-22T10:05") + 150
        prepare(database, exchange)
        for only_missing in (False, True):
            run = collect(database, exchange, DAYS[2], only_missing=only_missing)
            assert contents(database)[-1].timestamp == f"2023-03-22 {last}:00.000000"
            assert gaps(database) == {BTC: []}
        assert run.clock == exchange.clock
        exchange.clock += margin_ms
        collect(database, exchange, DAYS[2], only_missing=True)
        assert contents(database)[-1].timestamp == "2023-03-22 10:00:00.000000"


def test_a_candle_of_the_context_that_came_too_early_is_replaced(migrated_files):
    with fresh_database(migrated_files) as database:
        exchange = paper_exchange()
        book = exchange.candles[BOOK]
        exchange.clock = moment("2023-03-22T00:00")
        last = DAYS[2].start - STEP
        final, book[last] = book[last], candle(last, INTERVAL, seed=1)
        prepare(database, exchange)
        collect(database, exchange, WHOLE)
        book[last] = final
        exchange.clock = moment("2023-03-22T10:07:30")
        run = collect(database, exchange, DAYS[2], only_missing=True)
        assert run.total.changed == 1
        assert contents(database) == asked_for_afresh(migrated_files, exchange)
        assert verified(database) == ALL_VERIFIED


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    revised=st.lists(st.integers(-45, 45), min_size=1, max_size=4),
    edge=st.sampled_from([DAYS[1].start, DAYS[1].end]),
    page_rows=st.sampled_from([13, 1000]),
    absent=st.lists(st.integers(-45, 45), max_size=2),
)
def test_whatever_comes_and_differs_replaces_what_is_stored(migrated_files, revised, edge, page_rows, absent):
    with fresh_database(migrated_files) as database:
        exchange = paper_exchange()
        exchange.page_rows = 1000
        prepare(database, exchange)
        for position in absent:
            exchange.candles[BOOK].pop(edge + position * STEP, None)
        collect(database, exchange, WHOLE)
        before = exchange.candles[BOOK].copy()
        times = {edge + position * STEP for position in revised} & set(before)
        revise(exchange, *times)
        exchange.page_rows = page_rows
        collect(database, exchange, DAYS[1])
        exchange.page_rows = 1000
        # What was not asked for is as it was.
        reached = Span(DAYS[1].start - 20 * STEP, DAYS[1].end + 20 * STEP)
        for time in times:
            if not reached.start <= time < reached.end:
                exchange.candles[BOOK][time] = before[time]
        assert contents(database) == asked_for_afresh(migrated_files, exchange)
        assert verified(database) == ALL_VERIFIED


def test_a_candle_of_the_context_that_is_not_stored_stays_away(migrated_files):
    with fresh_database(migrated_files) as database:
        exchange = paper_exchange()
        prepare(database, exchange)
        collect(database, exchange, DAYS[1])
        assert [row.timestamp[:10] for row in contents(database)] == ["2023-03-21"] * 288


def test_what_somebody_altered_around_the_window_is_still_told(migrated_files):
    with fresh_database(migrated_files) as database:
        exchange = paper_exchange()
        prepare(database, exchange)
        collect(database, exchange, WHOLE)
        with database.begin(TABLE) as connection:
            connection.exec_driver_sql(f"UPDATE {TABLE} SET volume = volume + 1 WHERE timestamp LIKE '2023-03-20 0%'")
        revise(exchange, DAYS[1].start - STEP)
        collect(database, exchange, DAYS[1])
        assert [each.partition for each in verified(database)[1]] == ["2023-03-20"]
        collect(database, exchange, DAYS[0])
        assert contents(database) == asked_for_afresh(migrated_files, exchange)
        assert verified(database) == ALL_VERIFIED


@pytest.fixture
def moved():
    """A sandbox 150 ms after a close, whose candles lack their last trade for five seconds."""
    clock = Clock(moment("2023-03-22T00:00") + 150)
    with running_sandbox(clock) as sandbox:
        sandbox.faults.add("unsettled:settle_ms=5000")
        yield clock, sandbox


def test_the_exchange_goes_on_counting_after_a_close(moved, tmp_path):
    clock, sandbox = moved
    table = "cryptopair_1m_kdata"
    project = Project(tmp_path / "project", sandbox.url, clock=clock, pairs=("BTC/USDT",), perps=())
    assert project.run("bootstrap").success
    # Asked for without a margin, as if it had been final.
    hasty = project.copy(tmp_path / "hasty", pairs=("BTC/USDT",), close_margin_seconds=0.0)
    for each in (project, hasty):
        assert each.collect(table, "2023-03-21").success
    last = f"SELECT volume, trade_count FROM {table} WHERE timestamp = '2023-03-21 23:59:00.000000'"
    assert project.sql(table, last) == []
    [early] = hasty.sql(table, last)

    clock.now += 60_000 + 20_000
    for each in (project, hasty):
        assert each.run("refresh_kdata").success
    [(volume, trades)] = project.sql(table, last)
    assert (early[0] < volume, early[1]) == (True, trades - 1), format_time(clock.now)
    assert hasty.rows(table) == project.rows(table)
    for each in (project, hasty):
        assert each.check(table, deep=True).success
