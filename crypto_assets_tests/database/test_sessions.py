"""What a session means is ours to say: hostile servers, databases and roles, and PgBouncer in between."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

import numpy as np
import pandas as pd
import psycopg
import pytest
from sqlalchemy import select
from sqlalchemy.engine import make_url

from crypto_assets.database.care.maintenance import maintain
from crypto_assets.database.engines import Database, open_database
from crypto_assets.database.engines.mysql import MysqlDatabase
from crypto_assets.database.errors import DatabaseError
from crypto_assets.database.migrations import migrate
from crypto_assets.database.revisions import HEAD
from crypto_assets.database.shared_state import SharedState
from crypto_assets.database.tables import META, QUALITY, TABLES
from crypto_assets.database.writes import WriteCounts, upsert
from crypto_assets.domain.spans import Span
from crypto_assets_tests.database.database_frames import CANDLES, assets, candles, pairs
from crypto_assets_tests.database.pgbouncer import pgbouncer
from crypto_assets_tests.database_servers import database_of_its_own

TABLE = TABLES[CANDLES]
AUGUST = Span(1_722_470_400_000, 1_725_148_800_000)
HOSTILE = {
    "extra_float_digits": "0",
    "timezone": "'Asia/Kathmandu'",
    "datestyle": "'SQL, DMY'",
    "intervalstyle": "'sql_standard'",
    "bytea_output": "'escape'",
    "client_encoding": "'LATIN1'",
    "standard_conforming_strings": "off",
    "search_path": "evil, pg_catalog",
    "statement_timeout": "100",
    "lock_timeout": "1",
    "idle_in_transaction_session_timeout": "400",
    "default_transaction_isolation": "'serializable'",
}
PINNED = {
    "extra_float_digits": "3",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
    "search_path": "pg_catalog, pg_temp",
    "statement_timeout": "0",
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "0",
}


def awkward(count: int = 132):
    """Candles whose doubles need all their seventeen digits, under a name that is not ASCII."""
    frame = candles(count=count)
    values = np.random.default_rng(1).uniform(0.1, 1e5, (5, count)) / 3
    low, *_, high = np.sort(values[:4], axis=0)
    return frame.assign(open=low, high=high, low=low, close=high, volume=values[4], name="BTC/€")


def store_and_read(database: Database) -> None:
    with database.begin("crypto_asset") as connection:
        upsert(connection, TABLES["crypto_asset"], assets("BTC", "USDT"))
        upsert(connection, TABLES["crypto_pair"], pairs("BTC"))
    database.ensure_partitions(CANDLES, AUGUST)
    frame = awkward()
    with database.begin(CANDLES, also=[QUALITY]) as connection:
        assert upsert(connection, TABLE, frame) == WriteCounts(inserted=132)
    with database.begin(CANDLES) as connection:
        assert upsert(connection, TABLE, frame) == WriteCounts(unchanged=132)
        assert upsert(connection, TABLE, frame[:5].assign(close=1 / 3)) == WriteCounts(changed=5)
        assert upsert(connection, TABLE, frame) == WriteCounts(changed=5, unchanged=127)
    with database.connect(CANDLES) as connection:
        query = select(TABLE.c.timestamp, TABLE.c.open, TABLE.c.volume, TABLE.c.name).order_by(TABLE.c.timestamp)
        rows = connection.execute(query).all()
    times = pd.DatetimeIndex(frame["timestamp"]).to_pydatetime().tolist()
    assert [row.timestamp.replace(tzinfo=None) for row in rows] == times
    assert [(row.open, row.volume) for row in rows] == list(zip(frame["open"], frame["volume"], strict=True))
    assert {row.name for row in rows} == {"BTC/€"}


def shown(connection) -> dict[str, str]:
    return {name: connection.exec_driver_sql(f"SHOW {name}").scalar() for name in PINNED}


def check_pinned(database: Database) -> None:
    for connected in (database.connect(META), database.begin(META), database.migrating(META)):
        with connected as connection:
            assert shown(connection) == PINNED
    with database.connect(META) as connection:
        assert connection.exec_driver_sql("SHOW transaction_isolation").scalar() == "repeatable read"
    with database.begin(META) as connection:
        assert connection.exec_driver_sql("SHOW transaction_isolation").scalar() == "read committed"


@contextmanager
def hostile_database(server) -> Iterator[str]:
    with database_of_its_own(server) as url, psycopg.connect(plain(url), autocommit=True) as connection:
        connection.execute("CREATE SCHEMA evil")
        connection.execute(
            "CREATE FUNCTION evil.to_char(timestamp, text) RETURNS text LANGUAGE sql AS 'SELECT ''evil'''"
        )
        for name, value in HOSTILE.items():
            connection.execute(f'ALTER DATABASE "{make_url(url).database}" SET {name} = {value}')
        yield url


def plain(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def test_a_database_that_sets_everything_otherwise_changes_nothing(servers):
    with hostile_database(servers["postgresql"]()) as url:
        database = open_database(url, "sandbox")
        migrate(database)
        store_and_read(database)
        check_pinned(database)
        assert maintain(database)
        database.dispose()


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_the_same_through_pgbouncer(servers, mode):
    server = servers["postgresql"]()
    with hostile_database(server) as direct, pgbouncer(server, mode) as bouncer:
        url = bouncer.set(database=make_url(direct).database).render_as_string(hide_password=False)
        database = open_database(url, "sandbox")
        migrate(database)
        if mode == "transaction":
            spoil(url)
        store_and_read(database)
        check_pinned(database)
        with closing(SharedState(url, "sandbox")) as state:
            for _ in range(3):
                state.change("host", lambda kept: (None, f"{kept}."))
            assert state.change("host", lambda kept: (kept, kept)) == "..."
        database.dispose()
        if mode == "transaction":
            with psycopg.connect(plain(url), prepare_threshold=None) as other:
                assert other.execute("SHOW extra_float_digits").fetchone() == ("-15",), "nothing was left behind"


def spoil(url: str) -> None:
    """Others leave their own settings on all connections of the pool, as whoever says SET there does."""
    others = [psycopg.connect(plain(url), prepare_threshold=None) for _ in range(3)]
    for other in others:
        other.execute("SET extra_float_digits = -15")
        other.execute("SET search_path = evil, pg_catalog")
        other.execute("SET statement_timeout = 1")
    for other in others:
        other.commit()
        other.close()


MYSQL_PINNED = {
    "time_zone": "+00:00",
    "foreign_key_checks": 1,
    "unique_checks": 1,
    "sql_select_limit": 2**64 - 1,
    "sql_auto_is_null": 0,
    "sql_safe_updates": 0,
    "completion_type": "NO_CHAIN",
    "default_storage_engine": "InnoDB",
    "div_precision_increment": 4,
    "group_concat_max_len": 2**24,
    "innodb_lock_wait_timeout": 30,
    "character_set_client": "utf8mb4",
    "character_set_results": "utf8mb4",
}


class HostileMysql(MysqlDatabase):
    """A server whose sessions begin with other settings: what is global is everybody's on the tests' server."""

    def _connect_arguments(self):
        ours = super()._connect_arguments()
        theirs = (
            "SET SESSION time_zone = '+05:45', sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES', foreign_key_checks = 0,"
            " unique_checks = 0, sql_select_limit = 3, sql_auto_is_null = 1, sql_safe_updates = 1,"
            " completion_type = 'RELEASE', default_storage_engine = 'MyISAM', div_precision_increment = 0,"
            " group_concat_max_len = 10,"
        )
        return ours | {"init_command": ours["init_command"].replace("SET SESSION", theirs)}


def test_a_mysql_that_sets_everything_otherwise_changes_nothing(servers):
    with database_of_its_own(servers["mysql"]()) as url:
        database = HostileMysql(make_url(url), "sandbox", "binance", HEAD)
        migrate(database)
        store_and_read(database)
        for connected in (database.connect(META), database.begin(META), database.migrating(META)):
            with connected as connection:
                found = {name: connection.exec_driver_sql(f"SELECT @@{name}").scalar() for name in MYSQL_PINNED}
                assert found == MYSQL_PINNED
                mode = connection.exec_driver_sql("SELECT @@sql_mode").scalar()
                assert "STRICT_ALL_TABLES" in mode
                assert "ANSI_QUOTES" not in mode
        database.dispose()


def test_a_mysql_that_would_cut_texts_is_refused_in_one_sentence(servers):
    database = open_database(servers["mysql"]().render_as_string(hide_password=False), "sandbox")
    with pytest.raises(DatabaseError, match=r"at most 1,048,576 bytes at once; raise max_allowed_packet"):
        database.check_packet(2**20)


def test_a_file_of_sqlite_that_was_taken_out_of_its_journal_is_put_back(database):
    with closing(sqlite3.connect(database.path(META))) as other:
        assert other.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
    with database.connect(CANDLES) as connection:
        assert connection.exec_driver_sql("PRAGMA crypto_meta.journal_mode").scalar() == "wal"
