"""EXPLAIN of every standard query on every engine: none reads a candle, tick or entity table from end to end."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from sqlalchemy import func, select

from crypto_assets.database.care.index_evidence import SMALL, STANDARD_QUERIES, explain, index_use
from crypto_assets.database.care.maintenance import maintain
from crypto_assets.database.engines import open_database
from crypto_assets.database.migrations import migrate
from crypto_assets.database.queries import latest_candles, query_data, select_data
from crypto_assets.database.tables import TABLES
from crypto_assets_tests.database.filled_tables import CANDLES, START, STEP, store_candles, store_entities, store_others
from crypto_assets_tests.database_servers import ENGINES, database_of_its_own

BTC, ETH = "cryptopair_binance_btcusdt", "cryptopair_binance_ethusdt"
SERIES = {"crypto_trade", "crypto_orderbook", "crypto_funding", CANDLES}


@pytest.fixture(scope="module", params=ENGINES)
def large(request, servers, tmp_path_factory):
    """A large database of its own on each engine, which the tests leave as they found it."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            url = f"sqlite:///{tmp_path_factory.mktemp('large')}/data"
        else:
            url = stack.enter_context(database_of_its_own(servers[request.param]()))
        database = open_database(url, "sandbox")
        stack.callback(database.dispose)
        migrate(database)
        store_entities(database)
        store_candles(database)
        store_others(database)
        maintain(database)
        yield database


def plans(database, names):
    found = {}
    for title, query in STANDARD_QUERIES.items():
        if query.table in names:
            with database.connect(query.table) as connection:
                found[title] = explain(connection, query.build(connection))
    return found


def test_indexes_serve_every_standard_query_and_every_index_serves_one(large):
    names = {"crypto_asset", "crypto_pair", "crypto_perp", *SERIES}
    found = plans(large, names)
    assert {title: plan.full_scans for title, plan in found.items() if plan.full_scans} == {}
    assert all(plan.indexes for title, plan in found.items() if "first rows" not in title)
    use = index_use(large)
    assert use.not_served == []
    assert use.share == 1
    assert use.judged > len(found)
    # Where a code names one row, (code) alone is as good.
    assert {index for index in use.unused if "exchange_code" not in index} == set()


def test_a_query_that_no_index_serves_is_seen_on_every_engine(large):
    with large.connect(CANDLES) as connection:
        candles = TABLES[CANDLES]
        assert explain(connection, select(func.sum(candles.c.close))).full_scans == {CANDLES}
        assert explain(connection, select(candles).where(candles.c.close > 1e9)).full_scans == {CANDLES}
        served = explain(connection, select_data(candles, entity_ids=[BTC], start=START, end=START + STEP))
        assert served.uses_index
        assert served.indexes
        alias = candles.alias("again")
        again = select(func.count()).select_from(alias).scalar_subquery()
        assert explain(connection, select(candles.c.close, again).where(candles.c.entity_id == BTC)).full_scans == {
            CANDLES
        }
    with large.connect("crypto_pair") as connection:
        pair = TABLES["crypto_pair"]
        assert explain(connection, select(pair).where(pair.c.name == "BTC/USDT")).full_scans == {"crypto_pair"}


def test_without_its_index_a_query_counts_as_not_served(large):
    with large.migrating("crypto_meta") as connection:
        schema = large.schemas.get("crypto_meta")
        name = "ix_crypto_asset_symbol"
        on = {"sqlite": f"{name}", "postgresql": f"{schema}.{name}", "mysql": f"{name} ON {schema}.crypto_asset"}
        connection.exec_driver_sql(f"DROP INDEX {on[large.engine]}")
    large.dispose()  # sqlite3 keeps an EXPLAIN that it has prepared, and with it the plan of before
    try:
        use = index_use(large)
        assert use.not_served == ["crypto_asset: symbol"]
        assert use.share < 1
    finally:
        with large.migrating("crypto_meta") as connection:
            table = "crypto_asset" if schema is None else f"{schema}.crypto_asset"
            connection.exec_driver_sql(f"CREATE INDEX {name} ON {table} (symbol)")


def test_small_tables_are_not_judged(any_database):
    assert (index_use(any_database).share, index_use(any_database).judged) == (1.0, 0)
    store_entities(any_database, SMALL - 1)
    with any_database.connect("crypto_pair") as connection:
        assert connection.scalar(select(func.count()).select_from(TABLES["crypto_pair"])) == SMALL - 1
    assert {title.split(":")[0] for title in index_use(any_database).not_served} <= {"crypto_asset"}


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("entities", [None, [BTC], [BTC, ETH]])
def test_limited_ranges_are_the_same_rows_on_every_engine(any_database, order, entities):
    store_entities(any_database, 10)
    store_candles(any_database, each=20)
    everything = query_data(CANDLES, database=any_database, order=order)
    assert len(everything) == 100
    chosen = everything if entities is None else everything[everything["entity_id"].isin(entities)]
    for limit in (0, 1, 7, 1000):
        found = query_data(CANDLES, entity_ids=entities, limit=limit, order=order, database=any_database)
        assert found["id"].tolist() == chosen["id"].head(limit).tolist()
    within = chosen[chosen["timestamp"].between(START + 3 * STEP, START + 5 * STEP)]
    span = {"start_timestamp": START + 3 * STEP, "end_timestamp": START + 5 * STEP, "order": order}
    found = query_data(CANDLES, entity_ids=entities, database=any_database, **span)
    assert found["id"].tolist() == within["id"].tolist()
    found = query_data(CANDLES, entity_ids=entities, database=any_database, limit=4, **span)
    assert found["id"].tolist() == within["id"].head(4).tolist()


def test_the_newest_candles_are_the_same_on_every_engine(any_database):
    store_entities(any_database, 10)
    store_candles(any_database, each=20)
    newest = latest_candles(CANDLES, any_database)
    assert newest["timestamp"].unique().tolist() == [(START + 19 * STEP)]
    assert newest["entity_id"].tolist() == sorted(newest["entity_id"])
    assert len(newest) == 5
