"""Hours beside their minutes, on every engine. Which of them warn belongs to the checks."""

from __future__ import annotations

import shutil

import pytest
from sqlalchemy import delete, func, select, update

from crypto_assets.database.engines import open_database
from crypto_assets.database.migrations import migrate
from crypto_assets.database.removal.rollback import Depth, carry_out
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import DAY_MS, Interval, parse_time, to_milliseconds
from crypto_assets.domain.series import CandleTable
from crypto_assets.domain.spans import Span
from crypto_assets.quality.rules.agreement import compare_hours
from crypto_assets_tests.counted_work import counted
from crypto_assets_tests.quality.stored_candles import (
    BTC,
    DAY,
    NOW,
    START,
    collected,
    list_pairs,
    naive,
    store,
    times_of,
    written,
)

HOURS, MINUTES = (CandleTable(MarketType.SPOT, each) for each in (Interval.H1, Interval.M1))
H1, M1 = Interval.H1, Interval.M1
MONTH = Span(parse_time("2023-03-01"), parse_time("2023-04-01"))
TWO_HOURS = Span(START, START + 2 * H1.milliseconds)
OF_SIXTY = {"volume": 60.0, "volume_quote": 60.0, "trade_count": 60}


def fill(database):
    """Stores two hours and their minutes, of a day and a month that were collected."""
    with written(database, MINUTES) as connection:
        list_pairs(connection)
        store(connection, times_of(TWO_HOURS, M1), table=MINUTES)
        collected(connection, DAY, TWO_HOURS.end, table=MINUTES)
    with written(database, HOURS) as connection:
        store(connection, times_of(TWO_HOURS, H1), table=HOURS, **OF_SIXTY)
        collected(connection, MONTH, TWO_HOURS.end, table=HOURS)


@pytest.fixture
def agreeing(partitioned_database):
    fill(partitioned_database)
    return partitioned_database


@pytest.fixture
def agreeing_files(tmp_path, migrated_directory):
    """The same on SQLite alone."""
    shutil.copytree(migrated_directory, tmp_path / "data")
    database = open_database(f"sqlite:///{tmp_path}/data", "sandbox")
    fill(database)
    yield database
    database.dispose()


def compare(database, tolerance=1e-9):
    return {each.entity_id: each.found for each in compare_hours(database, MarketType.SPOT, NOW, tolerance)}


def change(database, table, time, **values):
    """Changes a candle as a run would that asks for it again a minute later."""
    candles = TABLES[table.name]
    with written(database, table) as connection:
        connection.execute(update(candles).where(candles.c.timestamp == naive(time)).values(**values))
        last = connection.scalar(select(func.max(TABLES["crypto_kdata_coverage"].c.verified_at)))
        collected(connection, MONTH if table == HOURS else DAY, to_milliseconds(last) + 60_000, table=table)


def test_hours_that_are_what_their_minutes_make_agree(agreeing):
    assert compare(agreeing) == {}


@pytest.mark.parametrize(
    ("minute", "name", "value", "fields"),
    [
        (0, "open", 0.9, ["open"]),
        (30, "open", 0.9, []),
        (30, "high", 1.5, ["high"]),
        (30, "low", 0.5, ["low"]),
        (59, "close", 0.9, ["close"]),
        (58, "close", 0.9, []),
        (30, "volume", 2.0, ["volume"]),
        (30, "volume_quote", 0.0, ["volume_quote"]),
        (30, "trade_count", 0, ["trade_count"]),
    ],
)
def test_each_value_is_compared_with_what_it_is_made_of(agreeing_files, minute, name, value, fields):
    change(agreeing_files, MINUTES, START + 3_600_000 + minute * 60_000, **{name: value})
    found = compare(agreeing_files).get(BTC, {})
    expected = {"count": 1, "first": "2023-03-20 01:00", "fields": fields}
    assert found == ({"2023-03-01": expected} if fields else {})


def test_the_tolerance_is_a_share_of_the_larger_value(agreeing):
    change(agreeing, HOURS, START, volume=60.6)
    assert compare(agreeing, 0.0098)[BTC]["2023-03-01"]["fields"] == ["volume"]
    change(agreeing, HOURS, START, volume=60.59999)
    assert compare(agreeing, 0.01) == {}


def test_an_hour_that_lacks_a_minute_is_not_compared(agreeing):
    change(agreeing, HOURS, START, volume=7.0)
    with written(agreeing, MINUTES) as connection:
        minutes = TABLES[MINUTES.name]
        connection.execute(delete(minutes).where(minutes.c.timestamp == naive(START + 60_000)))
    assert compare(agreeing) == {}


def test_what_is_found_stands_until_either_table_is_collected_again(agreeing):
    change(agreeing, HOURS, START, volume=7.0)
    found = {BTC: {"2023-03-01": {"count": 1, "first": "2023-03-20 00:00", "fields": ["volume"]}}}
    assert compare(agreeing) == found
    hours = TABLES[HOURS.name]
    with written(agreeing, HOURS) as connection:
        connection.execute(update(hours).where(hours.c.timestamp == naive(START)).values(volume=60.0))
    assert compare(agreeing) == found  # nobody verified what was written
    with written(agreeing, HOURS) as connection:
        collected(connection, MONTH, TWO_HOURS.end, table=HOURS)
    assert compare(agreeing) == {}


def test_a_revised_minute_is_seen_as_well(agreeing):
    change(agreeing, MINUTES, START, volume=7.0)
    assert compare(agreeing)[BTC]["2023-03-01"]["count"] == 1
    change(agreeing, MINUTES, START, volume=1.0)
    assert compare(agreeing) == {}


@pytest.mark.parametrize("table", [HOURS, MINUTES])
def test_what_was_found_goes_with_the_candles_of_either_table_and_comes_back_with_them(agreeing_files, table):
    change(agreeing_files, HOURS, START, volume=7.0)
    found = compare(agreeing_files)
    carry_out(agreeing_files, Depth.PROVIDER, "binance", [table.name])
    assert compare(agreeing_files) == {}
    interval, collected_span = (H1, MONTH) if table == HOURS else (M1, DAY)
    values = OF_SIXTY if table == HOURS else {}
    with written(agreeing_files, table) as connection:
        store(connection, times_of(TWO_HOURS, interval), table=table, **values)
        if table == HOURS:
            first = TABLES[HOURS.name].c.timestamp == naive(START)
            connection.execute(update(TABLES[HOURS.name]).where(first).values(volume=7.0))
        collected(connection, collected_span, TWO_HOURS.end, table=table)
    assert compare(agreeing_files) == found


def test_a_new_day_reads_its_own_minutes_and_no_others(agreeing_files):
    assert compare(agreeing_files) == {}
    next_day = Span(DAY.end, DAY.end + H1.milliseconds)
    with written(agreeing_files, MINUTES) as connection:
        store(connection, times_of(next_day, M1), table=MINUTES)
        collected(connection, Span(DAY.end, DAY.end + DAY_MS), next_day.end, table=MINUTES)
    with written(agreeing_files, HOURS) as connection:
        store(connection, times_of(next_day, H1), table=HOURS, **OF_SIXTY | {"volume": 7.0})
        collected(connection, MONTH, next_day.end, table=HOURS)
    with counted() as work:
        assert compare(agreeing_files)[BTC]["2023-03-01"]["first"] == "2023-03-21 00:00"
    minutes = [statement for statement in work.statements if MINUTES.name in statement]
    assert len(minutes) == 1
    assert work.rows < 60 + 24 + 20
    with counted() as work:
        compare(agreeing_files)
    assert work.rows < 10


def test_a_symbol_with_hours_alone_or_nothing_at_all_is_not_compared(partitioned_database):
    assert compare(partitioned_database) == {}
    with written(partitioned_database, HOURS) as connection:
        list_pairs(connection)
        store(connection, times_of(TWO_HOURS, H1), table=HOURS)
        collected(connection, MONTH, TWO_HOURS.end, table=HOURS)
    assert compare(partitioned_database) == {}


def test_minutes_that_were_never_migrated_are_not_there(tmp_path):
    database = open_database(f"sqlite:///{tmp_path}", "sandbox")
    migrate(database, ["crypto_meta", "crypto_quality", HOURS.name])
    assert compare(database) == {}
    database.dispose()


def test_a_time_that_is_none_is_passed_over(agreeing_files):
    for table in (HOURS, MINUTES):
        with agreeing_files.begin(table.name) as connection:
            connection.exec_driver_sql(
                f"INSERT INTO {table.name} (entity_id, timestamp, provider, name, open)"
                f" VALUES ('{BTC}', '2023-03-20 noon', 'binance', 'BTC/USDT', 1.0)"
            )
    assert compare(agreeing_files) == {}
