"""Maintenance on every engine: sizes, metrics, space given back, nothing lost."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select, text

from crypto_assets.database.care import maintenance, sizes
from crypto_assets.database.care.maintenance import TableState, maintain, measure, record
from crypto_assets.database.care.sizes import table_bytes
from crypto_assets.database.engines import open_database
from crypto_assets.database.tables import TABLES
from crypto_assets_tests.database.filled_tables import CANDLES, store_candles, store_entities

MOMENT = datetime(2024, 8, 4, 3, 0, tzinfo=UTC)


def metrics(database):
    table = TABLES["crypto_operational_metrics"]
    with database.connect(table.name) as connection:
        return connection.execute(select(table).order_by(table.c.id)).all()


@pytest.fixture
def some(any_database):
    store_entities(any_database, 10)
    store_candles(any_database, each=2000, symbols=("BTC", "ETH"))
    return any_database


def test_every_table_is_measured_with_all_its_rows(some):
    states = {state.table: state for state in maintain(some)}
    assert list(states) == list(TABLES)
    rows = {name: state.rows for name, state in states.items() if state.rows}
    expected = {CANDLES: 4000, "crypto_asset": 11, "crypto_pair": 10, "crypto_perp": 10}
    assert {name: count for name, count in rows.items() if name not in METADATA} == expected
    # A candle is a hundred and some bytes; the partitions that earlier tests left take some pages each.
    assert 60 < states[CANDLES].bytes_per_row < 10_000
    assert states["cryptoperp_1d_kdata"].bytes_per_row is None
    # A server frees pages when it has the time, so that sizes of two moments differ.
    again = [maintain(some) for _ in range(2)]
    first, second = ([(state.table, state.rows, state.compacted) for state in each] for each in again)
    assert first == second


METADATA = {"crypto_database_identity", "crypto_schema_migration"}


def test_a_partitioned_table_s_size_is_that_of_all_its_partitions(some):
    maintain(some)
    before = table_bytes(some)[CANDLES]
    store_candles(some, "cryptopair_15m_kdata", each=2000, symbols=("BTC", "ETH"))
    maintain(some)
    whole = table_bytes(some)["cryptopair_15m_kdata"]
    # The same rows in one piece.
    assert 0.2 < before / whole < 5


def test_nothing_is_measured_where_nothing_was_migrated(empty_url):
    database = open_database(empty_url, "sandbox")
    assert maintain(database) == []
    database.dispose()


def test_metrics_are_stored_once_for_a_moment_and_name_their_table(any_database):
    states = [TableState("crypto_pair", 10, 16384), TableState("crypto_perp", 0, 8192)]
    assert record(any_database, states, MOMENT, {"index_use_share": 1.0}) == 6
    assert record(any_database, states, MOMENT, {"index_use_share": 0.5}) == 6
    stored = metrics(any_database)
    assert {(row.metric_name, row.metric_tags.get("table"), row.metric_value) for row in stored} == {
        ("table_bytes", "crypto_pair", 16384.0),
        ("table_rows", "crypto_pair", 10.0),
        ("bytes_per_row", "crypto_pair", 1638.4),
        ("table_bytes", "crypto_perp", 8192.0),
        ("table_rows", "crypto_perp", 0.0),
        ("index_use_share", None, 0.5),
    }
    assert {(row.provider, row.timestamp) for row in stored} == {(None, MOMENT.replace(tzinfo=None))}
    assert "bytes_per_row_crypto_pair_2024-08-04T03:00:00.000" in {row.id for row in stored}
    record(any_database, states, MOMENT.replace(day=11))
    assert len(metrics(any_database)) == 11


def test_sqlite_gives_space_back_only_where_a_tenth_is_free(some):
    if some.engine != "sqlite":
        pytest.skip("files")
    maintain(some)
    full = table_bytes(some)[CANDLES]
    delete = TABLES[CANDLES].delete()
    with some.begin(CANDLES) as connection:
        connection.execute(delete.where(TABLES[CANDLES].c.trade_count < 100))
    assert not any(state.compacted for state in maintain(some))
    assert table_bytes(some)[CANDLES] == full
    with some.begin(CANDLES) as connection:
        connection.execute(delete.where(TABLES[CANDLES].c.trade_count < 1000))
    states = {state.table: state for state in maintain(some)}
    assert [name for name, state in states.items() if state.compacted] == [CANDLES]
    assert states[CANDLES].rows == 2000
    assert states[CANDLES].bytes < 0.6 * full
    assert not some.path(CANDLES).with_suffix(".db-wal").exists() or (
        some.path(CANDLES).with_suffix(".db-wal").stat().st_size == 0
    )


def test_sqlite_leaves_a_file_that_is_in_use_as_it_is(some, monkeypatch):
    if some.engine != "sqlite":
        pytest.skip("files")
    monkeypatch.setattr("crypto_assets.database.engines.sqlite_files.BUSY_TIMEOUT_SECONDS", 0.1)
    with some.begin(CANDLES) as connection:
        connection.execute(TABLES[CANDLES].delete())
        states = {state.table: state for state in maintain(some)}
    assert states[CANDLES].compacted is False
    assert states[CANDLES].rows == 4000


def test_sizes_without_dbstat_are_shares_of_the_file(some, monkeypatch):
    if some.engine != "sqlite":
        pytest.skip("files")
    maintain(some)
    exact = table_bytes(some)
    monkeypatch.setattr(sizes, "_DBSTAT", "SELECT name, 1 FROM no_such_table")
    shared = table_bytes(some)
    assert shared[CANDLES] == exact[CANDLES]
    assert shared["crypto_asset"] > 0
    own = [name for name in TABLES if some.unit(name) == "crypto_meta"]
    assert sum(shared[name] for name in own) <= some.path("crypto_meta").stat().st_size


def test_statistics_are_there_afterwards(some):
    maintain(some)
    schema = some.schemas.get("crypto_meta")
    query = {
        "sqlite": "SELECT count(*) FROM sqlite_stat1 WHERE tbl = 'crypto_pair'",
        "postgresql": "SELECT count(*) FROM pg_stats WHERE schemaname = 'crypto_meta' AND tablename = 'crypto_pair'",
        "mysql": f"SELECT count(*) FROM mysql.innodb_index_stats WHERE database_name = '{schema}'"
        " AND table_name = 'crypto_pair'",
    }[some.engine]
    with some.connect("crypto_pair") as connection:
        assert connection.scalar(text(query)) > 0


def test_mysql_optimizes_only_what_wastes_megabytes(some, monkeypatch):
    if some.engine != "mysql":
        pytest.skip("tablespaces")
    monkeypatch.setattr(maintenance, "_FREE_BYTES", -1)
    monkeypatch.setattr(maintenance, "FREE_SHARE", -1)
    assert all(state.compacted for state in maintain(some))
    monkeypatch.undo()
    assert not any(state.compacted for state in maintain(some))
    with some.connect(CANDLES) as connection:
        assert connection.scalar(select(func.count()).select_from(TABLES[CANDLES])) == 4000


def test_the_pool_says_what_is_in_use(any_database):
    any_database.dispose()
    with any_database.connect("crypto_pair"):
        during = any_database.pool_status()
    after = any_database.pool_status()
    assert (during.checked_out, after.checked_out) == (1, 0)
    assert after.idle >= 1
    assert after.connections >= 1
    assert (after.limit is None) == (any_database.engine == "sqlite")
    if after.limit is not None:
        assert after.connections <= after.limit


def test_measuring_changes_nothing(some):
    before = measure(some)
    assert measure(some) == before
    assert not any(state.compacted for state in before)
