"""The arithmetic of a plan: what is there, what the exchange has none of, what its archive has, and what it costs."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from crypto_assets.collect.estimate import BYTES_A_ROW, SymbolPlan, TablePlan, plan_table
from crypto_assets.collect.run import collect_table
from crypto_assets.collect.symbols import populate_markets
from crypto_assets.database.engines import open_database
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import Interval
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.venues import venue_of
from crypto_assets.quality.gaps.ledger import Policy
from crypto_assets_tests.paper_exchange import PaperExchange, moment

TABLE, INTERVAL = "cryptopair_5m_kdata", Interval.M5
DAY = Span(moment("2023-03-21"), moment("2023-03-22"))
BOTH = Span(moment("2023-03-20"), moment("2023-03-22"))
HIDDEN = Span(moment("2023-03-21T06:00"), moment("2023-03-21T07:00"))
CLOCK = moment("2023-03-22T10:07:30")
MINUTES = "cryptopair_1m_kdata"
CONFIRMED_AT_ONCE = Policy(answers=1, spacing=timedelta(0))


@pytest.fixture
def database(migrated_files, tmp_path):
    shutil.copytree(migrated_files, tmp_path / "data")
    opened = open_database(f"sqlite:///{tmp_path / 'data'}", "testnet")
    yield opened
    opened.dispose()


@pytest.fixture
def exchange(database):
    """The exchange lacks an hour of the second day, which is collected; the hour is known to be its own gap."""
    paper = PaperExchange(clock=CLOCK, page_rows=100)
    paper.publish("BTC/USDT", INTERVAL, Span(moment("2023-03-19T21:00"), HIDDEN.start))
    paper.publish("BTC/USDT", INTERVAL, Span(HIDDEN.end, moment("2023-03-22T18:00")))
    populate_markets(database, paper, MarketType.SPOT, ("BTC/USDT",), CLOCK)
    collect_table(
        paper,
        database,
        KDATA_TABLES[TABLE],
        ["BTC/USDT"],
        DAY,
        only_missing=True,
        policy=CONFIRMED_AT_ONCE,
        now=lambda: datetime(2023, 3, 22, 11, 0),  # noqa: DTZ001 - stored times are naive UTC
    )
    return paper


def planned(database, window, table=TABLE, **changed) -> SymbolPlan:
    options = {"only_missing": True, "has_archive": True, "clock": CLOCK, **changed}
    [symbol] = plan_table(database, KDATA_TABLES[table], ["BTC/USDT"], window, **options).symbols
    return symbol


def test_what_is_stored_and_what_the_exchange_has_none_of_is_not_asked_for(database, exchange):
    symbol = planned(database, BOTH)
    assert (symbol.owed, symbol.stored, symbol.absent) == (576, 276, 12)
    assert (symbol.rows, symbol.new_rows, symbol.requests) == (288, 288, 1)
    again = planned(database, BOTH, only_missing=False)
    assert (again.rows, again.new_rows, again.requests) == (576, 300, 1)


FEBRUARY_AND_MARCH = Span(moment("2023-02-01"), moment("2023-04-01"))


def test_closed_months_lie_in_the_archive_and_the_rest_does_not(database, exchange):
    exchange.publish("BTC/USDT", INTERVAL, Span(moment("2023-01-31"), moment("2023-02-01")))
    populate_markets(database, exchange, MarketType.SPOT, ("BTC/USDT",), CLOCK)
    symbol = planned(database, FEBRUARY_AND_MARCH, MINUTES)
    minutes_of_march = 21 * 1440 + 607
    assert (symbol.rows, symbol.archived_rows, symbol.archive_files) == (40_320 + minutes_of_march, 40_320, 1)
    assert symbol.requests == 1 + 1 + 31, "twenty candles before the file, its hours, then March"
    without = planned(database, FEBRUARY_AND_MARCH, MINUTES, has_archive=False)
    assert (without.archived_rows, without.requests) == (0, 72)
    assert planned(database, BOTH, MINUTES).archive_files == 0


def test_a_file_that_would_spare_no_request_does_not_count(database, exchange):
    assert planned(database, BOTH).archive_files == 0


def test_a_plan_reads_and_changes_nothing(database, exchange, tmp_path):
    asked = exchange.requests
    files = {file: file.read_bytes() for file in (tmp_path / "data").rglob("*.db")}
    planned(database, BOTH)
    planned(database, BOTH, only_missing=False)
    assert {file: file.read_bytes() for file in files} == files
    assert exchange.requests == asked


SYMBOL = SymbolPlan("BTC/USDT", 5000, 0, 0, 5000, 4000, 6, 0, 0, listing_known=True)


@pytest.mark.parametrize(
    ("table", "requests", "weight", "minutes"),
    [
        # One request for the clock weighs 1; a page 2; the first candle of a symbol nobody tracked 2, of a perpetual 1.
        ("cryptopair_1m_kdata", 14, 27, 27 / (6000 * 0.8)),
        ("cryptoperp_1m_kdata", 14, 26, 26 / (2400 * 0.8)),
    ],
)
def test_requests_weigh_what_the_exchange_says_and_the_reserve_is_left(table, requests, weight, minutes):
    unknown = replace(SYMBOL, symbol="SOL/USDT", listing_known=False)
    plan = TablePlan(
        KDATA_TABLES[table],
        ("2023-03-20", "2023-03-23"),
        [SYMBOL, unknown],
        bytes_a_row=100.0,
        venue=venue_of("binance"),
    )
    assert (plan.rows, plan.requests, plan.weight) == (10_000, requests, weight)
    assert plan.minutes(0.2) == pytest.approx(minutes)
    assert plan.new_bytes == 800_000


def test_a_candle_takes_what_those_take_that_are_stored_where_there_are_enough(database, exchange):
    assert (
        plan_table(
            database, KDATA_TABLES[TABLE], ["BTC/USDT"], DAY, CLOCK, only_missing=True, has_archive=False
        ).bytes_a_row
        == BYTES_A_ROW["sqlite"]
    )
    with database.begin(TABLE) as connection:
        connection.exec_driver_sql(
            f"""
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000)
            INSERT INTO {TABLE} (entity_id, timestamp, provider, name, open, high, low, close, volume, volume_quote,
                                 trade_count, is_high_volatility, is_high_volume)
            SELECT entity_id, datetime(1500000000 + 300 * i, 'unixepoch') || '.000000', provider, name, open, high, low,
                   close, volume, volume_quote, trade_count, FALSE, FALSE
            FROM n, (SELECT * FROM {TABLE} LIMIT 1)
            """
        )
    stored = plan_table(
        database, KDATA_TABLES[TABLE], ["BTC/USDT"], DAY, CLOCK, only_missing=True, has_archive=False
    ).bytes_a_row
    assert 80 < stored < 400
    assert stored != BYTES_A_ROW["sqlite"]
