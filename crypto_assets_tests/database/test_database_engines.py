from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError

from crypto_assets.database.engines import open_database
from crypto_assets.database.errors import DatabaseError, DatabaseNotReady, EnvironmentMismatch, UnsupportedDatabase
from crypto_assets.database.migrations import migrate
from crypto_assets.database.revisions import HEAD
from crypto_assets.database.tables import TABLES
from crypto_assets.database.writes import upsert
from crypto_assets_tests.database.database_frames import CANDLES, assets, candles, pairs


def count(database, name):
    with database.connect(name) as connection:
        return connection.execute(select(func.count()).select_from(TABLES[name])).scalar_one()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("oracle://user:secret@host/db", "not supported"),
        ("mysql+pymysql://user:secret@host/?prefix=a-b", "prefix=a-b"),
        ("sqlite://", "no directory"),
        ("sqlite:///:memory:", "no directory"),
        ("data/live", "not a database URL"),
    ],
)
def test_an_unsupported_url_is_refused_in_one_sentence_without_its_password(url, sentence):
    with pytest.raises(UnsupportedDatabase, match=sentence) as caught:
        open_database(url, "live")
    assert "secret" not in str(caught.value)


def test_files_are_named_after_provider_and_database(tmp_path):
    database = open_database(f"sqlite:///{tmp_path}", "live")
    assert database.path("crypto_pair") == tmp_path / "binance" / "binance_crypto_meta.db"
    assert database.path(CANDLES) == tmp_path / "binance" / "binance_cryptopair_1m_kdata.db"
    assert len(set(database.files().values())) == 19


def test_a_relative_url_is_relative_to_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert open_database("sqlite:///data/live", "live").directory == tmp_path / "data" / "live"


def test_opening_what_was_never_migrated_says_so_and_creates_nothing(tmp_path):
    database = open_database(f"sqlite:///{tmp_path}/data", "live")
    with pytest.raises(DatabaseNotReady, match="run crypto-assets migrate"), database.connect(CANDLES):
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_older_revision_is_refused_until_migrated(database):
    migrate(database, ["crypto_meta"], "0001")
    with pytest.raises(DatabaseNotReady, match=rf"revision 0001.*needs {HEAD}"), database.connect(CANDLES):
        pass
    migrate(database)
    assert count(database, CANDLES) == 0


def test_another_environment_is_refused_on_every_connection(database):
    other = open_database(f"sqlite:///{database.directory}", "live")
    for name in (CANDLES, "crypto_meta", "crypto_quality"):
        with pytest.raises(EnvironmentMismatch, match=r"sandbox data.*live"), other.connect(name):
            pass
    with pytest.raises(EnvironmentMismatch):
        other.check_identity()
    database.check_identity()


def test_every_file_of_a_connection_is_wal_patient_and_keeps_foreign_keys(database):
    with database.connect(CANDLES) as connection:
        for schema in ("main", "crypto_meta", "crypto_quality"):
            assert connection.exec_driver_sql(f"PRAGMA {schema}.journal_mode").scalar_one() == "wal"
            assert connection.exec_driver_sql(f"PRAGMA {schema}.synchronous").scalar_one() == 1
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == 30_000
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1


def test_a_pair_needs_its_currencies(database):
    with pytest.raises(IntegrityError), database.begin("crypto_pair") as connection:
        upsert(connection, TABLES["crypto_pair"], pairs("BTC"))


def test_one_statement_reaches_candles_entities_and_quality(database):
    with database.begin("crypto_meta") as connection:
        upsert(connection, TABLES["crypto_asset"], assets("BTC", "USDT"))
        upsert(connection, TABLES["crypto_pair"], pairs("BTC"))
    pair, candle, log = TABLES["crypto_pair"], TABLES[CANDLES], TABLES["crypto_data_quality_log"]
    with database.begin(CANDLES, also=["crypto_quality"]) as connection:
        upsert(connection, candle, candles())
        joined = select(func.count()).select_from(candle.join(pair, pair.c.entity_id == candle.c.entity_id))
        assert connection.execute(joined).scalar_one() == 5
        assert connection.execute(select(func.count()).select_from(log)).scalar_one() == 0
        filled = """INSERT INTO crypto_quality.crypto_kdata_coverage
            (entity_id, provider, level, "partition", expected, present, verified_at, digest, source)
            SELECT entity_id, provider, level, '2024-08-01', count(*), count(*), max(timestamp), '', ''
            FROM cryptopair_1m_kdata GROUP BY entity_id, provider, level"""
        connection.execute(text(filled))
    assert count(database, "crypto_kdata_coverage") == 1


def test_reads_never_commit_and_failed_transactions_leave_nothing(database):
    with database.connect(CANDLES) as connection:
        upsert(connection, TABLES[CANDLES], candles())
    with pytest.raises(RuntimeError), database.begin(CANDLES, also=["crypto_meta"]) as connection:  # noqa: PT012
        upsert(connection, TABLES[CANDLES], candles())
        upsert(connection, TABLES["crypto_asset"], assets("BTC"))
        connection.exec_driver_sql("CREATE TABLE surprise (x)")
        raise RuntimeError
    assert count(database, CANDLES) == count(database, "crypto_asset") == 0
    with database.connect(CANDLES) as connection:
        assert (
            connection.exec_driver_sql("SELECT count(*) FROM sqlite_master WHERE name = 'surprise'").scalar_one() == 0
        )


def test_a_reader_sees_one_moment_and_does_not_wait_for_the_writer(database):
    statement = select(func.count()).select_from(TABLES[CANDLES])
    with database.connect(CANDLES) as reader:
        assert reader.execute(statement).scalar_one() == 0
        with database.begin(CANDLES) as writer:
            upsert(writer, TABLES[CANDLES], candles())
            assert reader.execute(statement).scalar_one() == 0
        assert reader.execute(statement).scalar_one() == 0
    assert count(database, CANDLES) == 5


def test_writers_of_different_candle_tables_do_not_wait_for_each_other(database):
    with database.begin(CANDLES) as first, database.begin("cryptopair_1h_kdata") as second:
        upsert(first, TABLES[CANDLES], candles())
        upsert(second, TABLES["cryptopair_1h_kdata"], candles())
        with database.begin("crypto_meta") as third:
            upsert(third, TABLES["crypto_asset"], assets("BTC"))


def test_transactions_that_read_then_write_take_turns(database):
    def add_one():
        for _ in range(10):
            with database.begin(CANDLES) as connection:
                stored = connection.execute(select(func.count()).select_from(TABLES[CANDLES])).scalar_one()
                frame = candles(count=1)
                frame["timestamp"] += stored * (frame["timestamp"][0] - frame["timestamp"][0].floor("D") + minute)
                upsert(connection, TABLES[CANDLES], frame)

    minute = candles(count=2)["timestamp"].diff().iloc[1]
    threads = [threading.Thread(target=add_one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(database, CANDLES) == 40


def test_a_replaced_or_deleted_file_is_noticed(database, migrated_directory):
    with database.begin(CANDLES) as connection:
        upsert(connection, TABLES[CANDLES], candles())
    shutil.rmtree(database.directory)
    with pytest.raises(DatabaseNotReady), database.connect(CANDLES):
        pass
    shutil.copytree(migrated_directory, database.directory)
    assert count(database, CANDLES) == 0


def test_quality_is_attached_once_it_exists(tmp_path):
    database = open_database(f"sqlite:///{tmp_path}/data", "sandbox")
    migrate(database, ["crypto_meta", CANDLES])
    assert count(database, CANDLES) == 0
    migrate(database)
    with database.connect(CANDLES) as connection:
        ledger = select(func.count()).select_from(TABLES["crypto_kdata_gap"])
        assert connection.execute(ledger).scalar_one() == 0


def test_a_database_can_be_used_after_a_fork(database):
    code = f"""
import os, sys
from crypto_assets.database.engines import open_database
database = open_database("sqlite:///{database.directory}", "sandbox")
def stored():
    with database.connect("{CANDLES}") as connection:
        return connection.exec_driver_sql("SELECT count(*) FROM {CANDLES}").scalar_one()
stored()
child = os.fork()
if child == 0:
    os._exit(stored())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) + stored())
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_times_do_not_depend_on_the_machines_time_zone(database):
    code = f"""
from crypto_assets.database.engines import open_database
from crypto_assets.database.queries import query_data
database = open_database("sqlite:///{database.directory}", "sandbox")
print(query_data("{CANDLES}", end_timestamp="2024-08-01T09:01+09:00", database=database)["timestamp"].max())
"""
    with database.begin(CANDLES) as connection:
        upsert(connection, TABLES[CANDLES], candles())
    for zone in ("UTC", "Asia/Tokyo", "America/New_York"):
        ran = subprocess.run([sys.executable, "-c", code], env={"TZ": zone}, capture_output=True, text=True, check=True)
        assert ran.stdout == "2024-08-01 00:01:00\n"


def test_a_file_that_another_process_keeps_to_itself_is_named(database):
    with closing(sqlite3.connect(database.path("crypto_meta"), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with (  # noqa: PT012 - the first only shortens the wait
            pytest.raises(DatabaseError, match=r"has been using the database at .*binance_crypto_meta\.db"),
            database.connect("crypto_meta") as connection,
        ):
            connection.exec_driver_sql("PRAGMA busy_timeout = 0")
            connection.exec_driver_sql("DELETE FROM alembic_version WHERE 0")
