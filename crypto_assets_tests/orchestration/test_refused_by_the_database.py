"""A row that the database refuses costs its own symbol, on every engine, and is told in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, event, func, select
from sqlalchemy.exc import OperationalError

from crypto_assets.collect.run import collect_table
from crypto_assets.collect.symbols import populate_assets, populate_markets
from crypto_assets.database.tables import TABLES
from crypto_assets.database.writes import WriteCounts, upsert_accepted
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import Interval
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets.domain.spans import Span
from crypto_assets_tests.database.database_frames import assets
from crypto_assets_tests.paper_exchange import PaperExchange, market, moment

TABLE = "cryptopair_5m_kdata"
DAY = Span(moment("2023-03-20"), moment("2023-03-21"))
TOO_LONG = f"{'A' * 30}/USDT"  # for the column `name` of candles, not for that of pairs


def stored(database, name):
    with database.connect(name) as connection:
        return connection.scalar(select(func.count()).select_from(TABLES[name]))


@pytest.fixture
def exchange():
    listed = [market("BTC/USDT"), market(TOO_LONG), market("ETH/USDT")]
    exchange = PaperExchange(clock=moment("2023-03-22T10:07:30"), listed=listed)
    for each in listed:
        exchange.publish(each.symbol, Interval.M5, DAY)
    return exchange


def test_a_symbol_whose_candles_do_not_fit_costs_itself_only(any_database, exchange):
    symbols = ["BTC/USDT", TOO_LONG, "ETH/USDT"]
    populate_markets(any_database, exchange, MarketType.SPOT, symbols, exchange.clock)
    run = collect_table(exchange, any_database, KDATA_TABLES[TABLE], symbols, DAY, only_missing=False)
    if any_database.engine == "sqlite":
        assert run.failures == {}  # it has no widths
        return
    assert list(run.failures) == [TOO_LONG]
    assert run.failures[TOO_LONG].startswith("the database refused it: ")
    assert "\n" not in run.failures[TOO_LONG]
    assert "INSERT" not in run.failures[TOO_LONG]
    assert {name: each.inserted for name, each in run.counts.items()} == {"BTC/USDT": 288, "ETH/USDT": 288}
    assert stored(any_database, TABLE) == 2 * 288


@contextmanager
def unreadable(entity_id: str) -> Iterator[None]:
    """Meanwhile nothing can be read of this entity's candles, as where a page of a file is spoilt."""

    def refuse(_connection, _cursor, statement, parameters, *_):
        values = parameters.values() if isinstance(parameters, dict) else parameters
        if TABLE in statement and statement.startswith("SELECT") and entity_id in values:
            raise OperationalError(statement, parameters, ValueError("a page of the table cannot be read."))

    event.listen(Engine, "before_cursor_execute", refuse)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", refuse)


def test_a_symbol_that_cannot_be_planned_costs_itself_only(any_database, exchange):
    symbols = ["BTC/USDT", "ETH/USDT"]
    populate_markets(any_database, exchange, MarketType.SPOT, symbols, exchange.clock)
    with unreadable("cryptopair_binance_btcusdt"):
        run = collect_table(exchange, any_database, KDATA_TABLES[TABLE], symbols, DAY, only_missing=True)
    assert run.failures == {"BTC/USDT": "the database refused it: a page of the table cannot be read"}
    assert {name: each.inserted for name, each in run.counts.items()} == {"ETH/USDT": 288}
    assert stored(any_database, TABLE) == 288


def test_of_many_rows_only_those_that_the_database_refuses_are_left_out(any_database):
    table = TABLES["crypto_asset"]
    frame = assets(*(f"C{number}" for number in range(20)))
    frame.loc[[3, 4, 17], "symbol"] = None
    with any_database.begin(table.name) as connection:
        counts, refused = upsert_accepted(connection, table, frame)
    assert counts == WriteCounts(inserted=17)
    assert sorted(refused) == [3, 4, 17]
    assert all(said.startswith("the database refused it: ") and "\n" not in said for said in refused.values())
    assert stored(any_database, table.name) == 17


def test_a_listing_with_a_currency_that_does_not_fit_is_stored_without_it(any_database, exchange):
    if any_database.engine == "sqlite":
        pytest.skip("SQLite has no widths")
    wide = [market("BTC/USDT"), market(f"{'B' * 40}/USDT"), market("ETH/USDT")]
    populated = populate_assets(any_database, wide, exchange.clock)
    assert stored(any_database, "crypto_asset") == 3
    assert populated.rejected == 1
    exchange.listed = wide
    populated = populate_markets(any_database, exchange, MarketType.SPOT, ["BTC/USDT"], exchange.clock)
    assert stored(any_database, "crypto_pair") == 2
    assert populated.rejected == 1
    assert stored(any_database, "crypto_data_quality_log") == 2
