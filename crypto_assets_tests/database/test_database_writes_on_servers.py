"""What is particular about writing to servers: their texts, their refusals, what a second run costs, many at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import func, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError

from crypto_assets.database.engines.mysql import MysqlDatabase
from crypto_assets.database.errors import DatabaseError
from crypto_assets.database.revisions import HEAD
from crypto_assets.database.tables import TABLES
from crypto_assets.database.writes import WriteCounts, upsert
from crypto_assets.database.writes.mysql import MysqlWrite
from crypto_assets.database.writes.postgresql import PostgresqlWrite
from crypto_assets.database.writes.text_rows import text_columns, text_rows
from crypto_assets.domain.spans import Span
from crypto_assets_tests.database.database_frames import CANDLES, assets, candles, pairs

TABLE = TABLES[CANDLES]
ASSETS = TABLES["crypto_asset"]
AUGUST = Span(1_722_470_400_000, 1_725_148_800_000)
BASES = ("BTC", "ETH", "ADA", "SOL")
UNKNOWN = "cryptopair_binance_nousdt"


@pytest.fixture
def database(any_database):
    with any_database.begin("crypto_asset") as connection:
        upsert(connection, ASSETS, assets(*BASES, "USDT"))
        upsert(connection, TABLES["crypto_pair"], pairs(*BASES))
    any_database.ensure_partitions(CANDLES, AUGUST)
    return any_database


def written(database, frame, table=TABLE, **options):
    with database.begin(table.name) as connection:
        return upsert(connection, table, frame, **options)


def test_rows_become_one_text_that_copy_and_load_data_read():
    frame = assets("A", "B").assign(
        name=["tab\there", "line\nend\r"],
        full_name=pd.Categorical(["back\\slash", None]),
        end_date=pd.Series([pd.NaT, pd.Timestamp("2024-08-01T00:00:00.000001")]),
        data_quality_score=[np.nan, 5e-324],
        is_stablecoin=[True, False],
    )[["id", "name", "full_name", "end_date", "data_quality_score", "is_stablecoin"]]
    text = text_rows(text_columns(frame, ASSETS, ["id"]), ASSETS).to_pybytes().decode()
    assert text == (
        "crypto_binance_a\ttab\\there\tback\\\\slash\t\\N\t\\N\t1\n"
        "crypto_binance_b\tline\\nend\\r\t\\N\t2024-08-01 00:00:00.000001\t5e-324\t0\n"
    )


def test_of_repeated_keys_only_the_last_row_is_sent():
    frame = pd.concat([candles(count=3), candles(count=2).assign(close=7.0)])
    texts = text_columns(frame, TABLE, ["entity_id", "timestamp"])
    assert texts["close"].to_pylist() == ["102.5", "7", "7"]


def test_a_transaction_can_write_the_same_table_many_times(database):
    with database.begin(CANDLES) as connection:
        assert upsert(connection, TABLE, candles(count=5)) == WriteCounts(inserted=5)
        assert upsert(connection, TABLE, candles(count=8)) == WriteCounts(inserted=3, unchanged=5)
        assert upsert(connection, TABLE, candles(count=2).assign(close=1.0)) == WriteCounts(changed=2)
    with database.connect(CANDLES) as connection:
        upsert(connection, TABLE, candles(count=20))
        assert connection.scalar(select(func.count()).select_from(TABLE)) == 20
    assert written(database, candles(count=8)) == WriteCounts(changed=2, unchanged=6)


def test_a_failed_write_leaves_the_connection_usable(database):
    for _ in range(2):
        with pytest.raises(IntegrityError), database.begin(ASSETS.name) as connection:
            upsert(connection, ASSETS, assets("X").assign(symbol=None))
        assert written(database, assets("Y"), ASSETS).inserted + 1 in (1, 2)


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.assign(provider="p" * 33),
        lambda frame: frame.assign(trade_count=2**31),
    ],
)
def test_what_does_not_fit_is_refused_not_cut(database, change):
    if database.engine == "sqlite":
        pytest.skip("SQLite has no limits")
    with pytest.raises(DBAPIError):
        written(database, change(candles()))
    with database.connect(CANDLES) as connection:
        assert connection.scalar(select(func.count()).select_from(TABLE)) == 0


def stored(database, table=TABLE):
    with database.connect(table.name) as connection:
        return connection.scalar(select(func.count()).select_from(table))


def stages(connection):
    return connection.exec_driver_sql("SELECT count(*) FROM pg_class WHERE relname LIKE '%%_stage_%%'").scalar()


@pytest.mark.parametrize("known", [0, 3])  # PostgreSQL writes an entity in one way, several in another
@pytest.mark.parametrize("name", [CANDLES, "cryptopair_1d_kdata"])
def test_a_candle_of_an_unknown_symbol_is_refused(database, name, known):
    if database.engine == "sqlite" or (database.engine == "mysql" and name == CANDLES):
        pytest.skip("no foreign key between files, nor on MySQL's partitions")
    table = TABLES[name]
    frame = pd.concat([candles(count=known, minutes=1440), candles(UNKNOWN, minutes=1440)])
    with pytest.raises(IntegrityError):
        written(database, frame, table)
    assert stored(database, table) == 0


@pytest.mark.parametrize("others", [0, 3])
def test_a_month_without_a_partition_is_named(database, others):
    frame = pd.concat(
        [candles("cryptopair_binance_ethusdt", count=others), candles(), candles(start="2031-05-31")]
    ).reset_index(drop=True)
    if database.engine != "postgresql":
        assert written(database, frame).inserted == 10 + others
        return
    with pytest.raises(DatabaseError, match=r"no partition for 2031-05; call Database\.ensure_partitions"):
        written(database, frame)
    assert stored(database) == 0


def test_candles_of_an_empty_range_need_no_stage(database):
    if database.engine != "postgresql":
        pytest.skip("others stage every frame")
    first, second = candles(count=50), candles(start="2024-08-02", count=50)
    database.dispose()  # a connection keeps its stages
    with database.begin(CANDLES) as connection:
        before = stages(connection)
        assert upsert(connection, TABLE, first) == WriteCounts(inserted=50)
        assert upsert(connection, TABLE, second) == WriteCounts(inserted=50)
        assert upsert(connection, TABLE, second, only_existing=True) == WriteCounts(unchanged=50)
        assert stages(connection) == before + 1
    assert written(database, pd.concat([first, second])) == WriteCounts(unchanged=100)
    assert written(database, first.assign(close=1.0)) == WriteCounts(changed=50)
    assert written(database, candles(start="2024-08-01T00:49", count=3)) == WriteCounts(inserted=2, changed=1)


class Overtaken(PostgresqlWrite):
    """A write just before which another program stores `theirs`, without waiting for its turn."""

    database, theirs, asked = None, None, 0

    def nothing_stored(self):
        nothing = super().nothing_stored()
        with self.database.connect(CANDLES) as other:
            upsert(other, TABLE, self.theirs)
            other.commit()
        self.asked += 1
        assert nothing
        return nothing


def test_a_range_that_another_program_fills_in_between_is_still_counted_truly(database):
    if database.engine != "postgresql":
        pytest.skip("others stage every frame")
    before, frame = candles(start="2024-08-02", count=4), candles(count=20)
    with database.begin(CANDLES) as connection:
        assert upsert(connection, TABLE, before) == WriteCounts(inserted=4)  # kept by what is undone afterwards
        write = Overtaken(connection, TABLE, frame)
        write.database = database
        write.theirs = pd.concat([frame[3:5], frame[9:10].assign(close=7.0)])
        assert write.store(only_existing=False) == WriteCounts(inserted=17, changed=1, unchanged=2)
        assert write.asked == 1
    assert stored(database) == 24
    assert written(database, pd.concat([before, frame])) == WriteCounts(unchanged=24)


def test_generated_ids_hold_the_time_to_the_millisecond_cut_not_rounded(database):
    entity = "cryptopair_binance_btcusdt"
    generator = np.random.default_rng(1)
    times = np.datetime64("1970-01-01", "us") + generator.integers(0, 4_000_000_000_000_000, 3_000)
    parts = [times[:1_000], times[1_000:2_000].astype("datetime64[ms]"), times[2_000:].astype("datetime64[m]")]
    edges = ["1999-12-31T23:59:59.999999", "2000-02-29T00:00:00.000001", "2024-08-01T00:05:00.500", "2024-12-09"]
    times = np.unique(np.concatenate([*parts, np.array(edges, "datetime64[us]")]).astype("datetime64[us]"))
    for name, texts in (
        ("cryptopair_1h_kdata", np.datetime_as_string(times.astype("datetime64[ms]"))),
        ("cryptopair_1d_kdata", np.datetime_as_string(times.astype("datetime64[D]"))),
    ):
        table = TABLES[name]
        frame = candles(entity, count=len(times)).assign(timestamp=times)
        assert written(database, frame, table).inserted == len(times)
        with database.connect(name) as connection:
            ids = connection.scalars(select(table.c.id).order_by(table.c.timestamp)).all()
        assert ids == [f"{entity}_{text}" for text in texts]


class WithoutLoading(MysqlDatabase):
    loads_rows = False


class CountedLoads(MysqlWrite):
    """A write that counts how often it tries to load."""

    loads = 0

    def load(self):
        type(self).loads += 1
        super().load()


@pytest.mark.parametrize("engine", ["mysql"])
def test_where_no_rows_may_be_loaded_they_are_inserted(database, database_url):
    forbidding = WithoutLoading(make_url(database_url), "sandbox", "binance", HEAD)
    frame = candles(count=50).assign(name="tab\there \\N 'é🚀'")
    with forbidding.begin(CANDLES) as connection:
        assert CountedLoads(connection, TABLE, frame).store(only_existing=False) == WriteCounts(inserted=50)
        assert CountedLoads(connection, TABLE, frame).store(only_existing=False) == WriteCounts(unchanged=50)
        assert set(connection.scalars(select(TABLE.c.name))) == {"tab\there \\N 'é🚀'"}
    assert CountedLoads.loads == 1  # asked once, then remembered
    forbidding.dispose()


def test_running_the_same_day_again_writes_almost_no_log(database):
    if database.engine != "postgresql":
        pytest.skip("measured by PostgreSQL's write-ahead log")
    frame = candles(count=5_000)

    def log_bytes():
        with database.connect(CANDLES) as connection:
            return int(connection.exec_driver_sql("SELECT pg_current_wal_insert_lsn() - '0/0'").scalar())

    assert written(database, frame) == WriteCounts(inserted=5_000)
    costs = []
    for _ in range(5):  # the least: other tests write to the same server
        before = log_bytes()
        assert written(database, frame) == WriteCounts(unchanged=5_000)
        costs.append((log_bytes() - before) / len(frame))
    assert min(costs) < 100


def test_writers_at_the_same_time_neither_fail_nor_lose_a_row(database):
    def write(number):
        own = f"cryptopair_binance_{BASES[number].lower()}usdt"
        counts = WriteCounts()
        for part in range(4):
            shared = candles(start="2024-08-20", count=50).assign(close=float(number))
            mine = candles(entity=own, start=f"2024-08-0{part + 1}", count=200)
            counts += written(database, pd.concat([mine, shared]))
        return counts

    with ThreadPoolExecutor(4) as threads:
        counts = sum(threads.map(write, range(4)), WriteCounts())
    assert counts.inserted == 4 * 4 * 200 + 50
    with database.connect(CANDLES) as connection:
        assert connection.scalar(select(func.count()).select_from(TABLE)) == counts.inserted
        shared = connection.scalars(select(TABLE.c.close).where(TABLE.c.timestamp >= pd.Timestamp("2024-08-20"))).all()
    assert len(shared) == 50
    assert len(set(shared)) == 1
