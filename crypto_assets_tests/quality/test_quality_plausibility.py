"""Prices that jump and feeds that got stuck, on every engine."""

from __future__ import annotations

import shutil

import pytest
from sqlalchemy import select, update

from crypto_assets.database.engines import open_database
from crypto_assets.database.removal.rollback import Depth, carry_out
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import Interval, parse_time
from crypto_assets.domain.series import CandleTable
from crypto_assets.domain.spans import Span
from crypto_assets.quality.gaps.coverage import unverify
from crypto_assets.quality.rules.plausibility import look_for_implausible
from crypto_assets_tests.counted_work import counted
from crypto_assets_tests.quality.stored_candles import (
    BTC,
    DAY,
    ETH,
    FIVE_MINUTES,
    NOW,
    QUALITY,
    START,
    STEP,
    TABLE,
    collected,
    list_pairs,
    naive,
    store,
    times_of,
    written,
)


@pytest.fixture
def sqlite_files(tmp_path, migrated_directory):
    """SQLite files alone, migrated and without rows."""
    shutil.copytree(migrated_directory, tmp_path / "data")
    database = open_database(f"sqlite:///{tmp_path}/data", "sandbox")
    yield database
    database.dispose()


def look(database, table=FIVE_MINUTES):
    return {each.entity_id: each.found for each in look_for_implausible(database, table, NOW)}


def day_of(connection, entity, special):
    """A day of candles that differ, but for what `special` says by their number."""
    for number, time in enumerate(times_of(DAY)):
        store(connection, [time], entity, **{"trade_count": number, **special.get(number, {})})


def test_jumps_and_stuck_feeds_are_told_by_partition_and_only_there(partitioned_database):
    jump = {7: {"change_pct": 0.51}, 8: {"change_pct": -0.6}, 9: {"change_pct": 0.5}}
    stuck = {number: {"trade_count": 5} for number in range(20, 26)}
    with written(partitioned_database) as connection:
        list_pairs(connection, "BTC", "ETH")
        day_of(connection, BTC, jump | stuck)
        day_of(connection, ETH, {number: {"trade_count": 5} for number in range(20, 24)})
        for entity in (BTC, ETH):
            collected(connection, DAY, entity=entity)
    first = f"{naive(START + 7 * STEP)}.000000"
    expected = {BTC: {"2023-03-20": {"count": 4, "jumps": 2, "stuck": 2, "first": first}}}
    assert look(partitioned_database) == expected
    assert look(partitioned_database) == expected


def test_a_market_that_nobody_trades_on_is_not_stuck(partitioned_database):
    with written(partitioned_database) as connection:
        list_pairs(connection)
        store(connection, times_of(DAY), volume=0.0, volume_quote=0.0, trade_count=0)
        collected(connection, DAY)
    assert look(partitioned_database) == {}


def test_a_day_may_do_what_five_minutes_may_not(any_database):
    table, month = CandleTable(MarketType.SPOT, Interval.D1), Span(parse_time("2023-03-01"), parse_time("2023-04-01"))
    with written(any_database, table) as connection:
        list_pairs(connection)
        for number, time in enumerate(times_of(month, Interval.D1)):
            change = {3: 2.9, 4: 3.1}.get(number)
            store(connection, [time], table=table, trade_count=number, change_pct=change)
        collected(connection, month, table=table)
    assert look(any_database, table)[BTC]["2023-03-01"]["jumps"] == 1


def test_what_was_looked_at_is_not_read_again_before_it_is_other_than_it_was(partitioned_database):
    with written(partitioned_database) as connection:
        list_pairs(connection)
        day_of(connection, BTC, {})
        collected(connection, DAY)
    assert look(partitioned_database) == {}
    with written(partitioned_database) as connection:
        connection.execute(update(TABLE).where(TABLE.c.timestamp == naive(START)).values(change_pct=9.0))
    assert look(partitioned_database) == {}
    with written(partitioned_database) as connection:
        collected(connection, DAY)
    assert look(partitioned_database)[BTC]["2023-03-20"]["count"] == 1
    with written(partitioned_database) as connection:
        connection.execute(update(TABLE).where(TABLE.c.timestamp == naive(START)).values(change_pct=None))
        collected(connection, DAY, DAY.end + 2 * STEP)
    assert look(partitioned_database) == {}


def test_what_is_not_verified_waits(sqlite_files):
    with written(sqlite_files) as connection:
        list_pairs(connection)
        day_of(connection, BTC, {7: {"change_pct": 0.51}})
        series = collected(connection, DAY)
        unverify(connection, series.candle_table, BTC, ["2023-03-20"])
    assert look(sqlite_files) == {}
    with written(sqlite_files) as connection:
        collected(connection, DAY)
    assert look(sqlite_files)[BTC]["2023-03-20"]["count"] == 1


def test_a_partition_that_nobody_changed_keeps_what_was_found_and_costs_no_candle(sqlite_files):
    with written(sqlite_files) as connection:
        list_pairs(connection)
        day_of(connection, BTC, {7: {"change_pct": 0.51}})
        collected(connection, DAY)
    found = look(sqlite_files)
    with counted() as work:
        assert look(sqlite_files) == found
    assert work.rows == 1
    assert not any(FIVE_MINUTES.name in statement for statement in work.statements)


def test_what_was_found_goes_with_its_candles(any_database):
    with written(any_database) as connection:
        list_pairs(connection)
        day_of(connection, BTC, {7: {"change_pct": 0.51}})
        collected(connection, DAY)
    assert look(any_database)
    carry_out(any_database, Depth.PROVIDER, "binance", [FIVE_MINUTES.name])
    assert look(any_database) == {}
    with any_database.connect(QUALITY) as connection:
        assert connection.execute(select(TABLES["crypto_kdata_finding"])).all() == []


def test_nothing_collected_is_nothing_to_say(any_database):
    assert look(any_database) == {}
