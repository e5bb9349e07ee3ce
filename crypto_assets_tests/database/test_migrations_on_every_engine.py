"""Migrations on SQLite, PostgreSQL and MySQL: what they make, and what is left when they are interrupted."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
import threading
import warnings
from contextlib import closing, contextmanager
from datetime import datetime
from functools import partial
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, MetaData, event, func, inspect, select
from sqlalchemy.engine import make_url

from crypto_assets.database.engines import Database, open_database
from crypto_assets.database.errors import DatabaseError, DatabaseNotReady, EnvironmentMismatch
from crypto_assets.database.migrations import PARTITIONED, current_revisions, migrate, migration_sql, plan_migration
from crypto_assets.database.revisions import HEAD, REVISIONS
from crypto_assets.database.tables import CHANGES, KDATA, META, TABLES, metadata
from crypto_assets.domain.spans import Span
from crypto_assets_tests.database.database_frames import CANDLES, assets, pairs

KILL_AT = 40
AUGUST = Span(1_722_470_400_000, 1_725_148_800_000)


@contextmanager
def opened(url: str, environment: str = "sandbox", **options: Any):
    database = open_database(url, environment, **options)
    yield database
    database.dispose()


def add_candle(database: Database, minute: int = 0) -> None:
    with database.begin(META) as connection:
        for table, frame in (("crypto_asset", assets("BTC", "USDT")), ("crypto_pair", pairs("BTC"))):
            if not connection.scalar(select(func.count()).select_from(TABLES[table])):
                connection.execute(TABLES[table].insert(), frame.to_dict("records"))
    database.ensure_partitions(CANDLES, AUGUST)
    row = {
        "entity_id": "cryptopair_binance_btcusdt",
        "provider": "binance",
        "name": "BTC/USDT",
        "timestamp": datetime(2024, 8, 1, minute // 60, minute % 60),  # noqa: DTZ001 - naive UTC, as stored
        "close": 0.1 + minute,
        "volume": 3.0,
        "volume_quote": 0.3,
    }
    with database.begin(CANDLES) as connection:
        connection.execute(TABLES[CANDLES].insert(), row)


def candle_rows(database: Database) -> list[tuple[Any, ...]]:
    table = TABLES[CANDLES]
    with database.connect(CANDLES) as connection:
        return [tuple(row) for row in connection.execute(select(table).order_by(table.c.timestamp))]


def differences(database: Database) -> list[Any]:
    """What alembic would still change to make a server's schemas equal to the tables of the code.

    Of SQLite's files `test_database_migrations` compares the text.
    """
    found: list[Any] = []
    for unit in database.units if database.schemas else ():
        names = {table.name for table in (*TABLES.values(), CHANGES) if table.schema == unit}
        with database.migrating(unit) as connection:
            context = MigrationContext.configure(
                connection,
                opts={
                    "include_schemas": True,
                    "include_name": partial(is_included, names, database.schemas[unit]),
                    "include_object": partial(is_compared, names),
                },
            )
            with warnings.catch_warnings():
                warnings.filterwarnings(
                    "ignore", "Computed default on"
                )  # it compares their text, as each engine has it
                differing = compare_metadata(context, declared_tables(database))
            found += [each for each in differing if not is_known(each, database)]
    return found


def declared_tables(database: Database) -> MetaData:
    """The tables of the code in the database's schemas, without comments, which are not migrated."""
    declared = MetaData(naming_convention=metadata.naming_convention)
    for table in (*TABLES.values(), CHANGES):
        copied = table.to_metadata(
            declared,
            schema=database.schemas[str(table.schema)],
            referred_schema_fn=lambda _table, _schema, _constraint, referred: database.schemas[referred],
        )
        copied.comment = None
        for column in copied.columns:
            column.comment = None
        for index in list(copied.indexes):
            # Of the two definitions of these the engine's own is declared; a copy forgets which.
            if index.name.endswith("_active") and ("is_active" in index.columns) is not (database.engine == "mysql"):
                copied.indexes.remove(index)
    return declared


def is_included(names: set[str], schema: str, name: str | None, kind: str, _parents: Any) -> bool:
    return name == schema if kind == "schema" else kind != "table" or name in names


def is_compared(names: set[str], item: Any, _name: str, kind: str, _reflected: bool, _other: Any) -> bool:
    return kind != "table" or item.name in names


def is_known(difference: Any, database: Database) -> bool:
    """What MySQL cannot have: foreign keys of partitioned tables; and MariaDB's JSON is text."""
    if isinstance(difference, list):
        return all(is_known(each, database) for each in difference)
    if difference[0] == "add_fk":
        return database.engine == "mysql" and difference[1].parent.name.split("_")[1] in PARTITIONED
    return difference[0] == "modify_type" and database.engine == "mysql" and "JSON" in repr(difference[-1])


@pytest.mark.parametrize("revision", [HEAD])
def test_what_is_migrated_equals_the_table_definitions(any_database, revision):
    assert differences(any_database) == []
    assert set(current_revisions(any_database).values()) == {revision}


def test_generated_columns_say_what_the_documentation_says(any_database):
    add_candle(any_database, minute=61)
    with any_database.connect(CANDLES) as connection:
        row = connection.execute(select(TABLES[CANDLES])).mappings().one()
    assert row["id"] == "cryptopair_binance_btcusdt_2024-08-01T01:01:00.000"
    assert (row["code"], row["level"]) == ("btcusdt", "1m")
    assert (row["turnover"], row["volume_base"], row["vwap"]) == (0.3, 3.0, 0.3 / 3.0)


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_every_revision_goes_up_down_and_up_with_rows_present(empty_url, engine):
    # SQLite's own is among the migrations of SQLite: a file a table, and other things to compare.
    with opened(empty_url) as database:
        migrate(database)
        add_candle(database)
        stored = candle_rows(database)
        for revision in (*reversed(REVISIONS[:-1]), HEAD):
            migrate(database, revision=revision)
            assert set(current_revisions(database).values()) == {revision}
            with pytest.raises(EnvironmentMismatch), opened(empty_url, "live") as other:
                migrate(other, revision=revision)
        assert candle_rows(database) == stored
        assert differences(database) == []
        migrate(database, revision="base")
        assert set(current_revisions(database).values()) == {None}
        migrate(database)
        assert candle_rows(database) == []


def test_the_printed_sql_does_what_migrate_does(empty_url):
    with opened(empty_url) as database:
        script = migration_sql(database)
        assert not database.exists(), "printing changes nothing"
        run_script(database, empty_url, script)
        assert not any(planned.changed for planned in plan_migration(database))
        with pytest.raises(DatabaseError, match="sandbox data"):
            open_database(empty_url, "live").check_identity()
        add_candle(database)
        ids = [row[TABLES[CANDLES].columns.keys().index("id")] for row in candle_rows(database)]
        assert ids == ["cryptopair_binance_btcusdt_2024-08-01T00:00:00.000"]
        for revision in ("0001", "head"):
            run_script(database, empty_url, migration_sql(database, revision=revision))
            with pytest.raises(DatabaseError, match="sandbox data"):
                open_database(empty_url, "live").check_identity()
        assert not any(planned.changed for planned in plan_migration(database))
        assert len(candle_rows(database)) == 1


def run_script(database: Database, url: str, script: str) -> None:
    """What somebody does who runs the SQL by hand."""
    if database.engine == "sqlite":
        with database.migration_lock():
            pass
        _, *parts = re.split(r"^-- (\w+): \w+ to \w+$", script, flags=re.MULTILINE)
        for name, part in zip(parts[::2], parts[1::2], strict=True):
            with closing(sqlite3.connect(database.path(name))) as connection:
                connection.executescript(part)
    elif database.engine == "postgresql":
        import psycopg  # noqa: PLC0415 - only here

        plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(plain, autocommit=True) as connection:
            connection.execute(script)
    else:
        run_mysql_script(url, script)


def run_mysql_script(url: str, script: str) -> None:
    import pymysql  # noqa: PLC0415 - only here

    parsed = make_url(url)
    with closing(
        pymysql.connect(
            host=parsed.host,
            port=parsed.port or 3306,
            user=parsed.username,
            password=parsed.password or "",
            client_flag=pymysql.constants.CLIENT.MULTI_STATEMENTS,
            autocommit=True,
        )
    ) as connection:
        cursor = connection.cursor()
        cursor.execute(script)
        while cursor.nextset():
            pass


def test_a_dry_run_plans_and_touches_nothing(empty_url):
    with opened(empty_url) as database:
        planned = plan_migration(database)
        assert all((unit.before, unit.after) == (None, HEAD) for unit in planned)
        assert not database.exists()


def test_each_change_leaves_a_record(empty_url):
    with opened(empty_url) as database:
        migrate(database, revision="0002")
        migrate(database)
        migrate(database)
        with database.connect(META) as connection:
            rows = connection.execute(select(TABLES["crypto_schema_migration"])).all()
    assert sorted(row.database for row in rows) == sorted(database.units)
    assert {(row.revision_before, row.revision_after) for row in rows} == {("0002", HEAD)}
    assert all(row.version and row.seconds >= 0 for row in rows)


KILLED = """
import os, signal
from sqlalchemy import Engine, event
from crypto_assets.database.engines import open_database
from crypto_assets.database.migrations import migrate
statements = 0
@event.listens_for(Engine, "before_cursor_execute")
def count(connection, cursor, statement, parameters, context, executemany):
    global statements
    statements += statement.lstrip().startswith(("CREATE", "ALTER", "INSERT", "UPDATE"))
    if statements == {at}:
        os.kill(os.getpid(), signal.SIGKILL)
migrate(open_database({url!r}, "sandbox"))
"""


@pytest.mark.parametrize("at", [2, KILL_AT])
def test_a_killed_migration_is_no_whole_database_and_the_next_one_finishes_it(empty_url, at):
    killed = subprocess.run([sys.executable, "-c", KILLED.format(at=at, url=empty_url)], check=False)
    assert killed.returncode == -9
    with opened(empty_url) as database:
        assert set(current_revisions(database).values()) != {HEAD}
        with pytest.raises(DatabaseNotReady), database.connect("crypto_security"):
            pass
        migrate(database)
        assert set(current_revisions(database).values()) == {HEAD}
        assert differences(database) == []
        add_candle(database)


@pytest.mark.parametrize("at", [4])
@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_an_interrupted_downgrade_is_no_whole_database_and_an_upgrade_puts_all_back(empty_url, engine, at):
    with opened(empty_url) as database:
        migrate(database)
        killing = KILLED.replace('("CREATE", "ALTER", "INSERT", "UPDATE")', '"DROP", "ALTER"').replace(
            'startswith("DROP", "ALTER")', 'startswith(("DROP", "ALTER"))'
        )
        killing = killing.replace('"sandbox"))', '"sandbox"), revision="0001")')
        killed = subprocess.run([sys.executable, "-c", killing.format(at=at, url=empty_url)], check=False)
        assert killed.returncode == -9
        assert set(current_revisions(database).values()) != {HEAD}
        migrate(database)
        assert differences(database) == []
        add_candle(database)


def test_a_database_that_lost_its_name_is_refused_until_it_is_migrated(any_database):
    identity = TABLES["crypto_database_identity"]
    with any_database.begin(META) as connection:
        connection.execute(identity.delete())
    any_database.dispose()
    with pytest.raises(DatabaseNotReady, match="whose data"), any_database.connect(META):
        pass
    assert not any(result.changed for result in migrate(any_database))
    with any_database.connect(META) as connection:
        assert connection.scalar(select(identity.c.environment)) == "sandbox"


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_a_lost_connection_is_one_sentence_and_the_next_run_finishes(empty_url, engine):
    lost = threading.Event()

    def cut(connection, cursor, statement, *_):
        if "crypto_price_consistency" in statement and statement.lstrip().startswith("CREATE") and not lost.is_set():
            lost.set()
            end_session(empty_url, connection)

    event.listen(Engine, "before_cursor_execute", cut)
    try:
        with opened(empty_url) as database:
            with pytest.raises(DatabaseError, match=r"cannot be reached|shutting down"):
                migrate(database)
            assert lost.is_set()
            assert database.revision("crypto_quality") in (None, "0001")
            migrate(database)
            assert differences(database) == []
    finally:
        event.remove(Engine, "before_cursor_execute", cut)


def end_session(url: str, connection: Any) -> None:
    driver = connection.connection.driver_connection
    if connection.dialect.name == "postgresql":
        import psycopg  # noqa: PLC0415 - only here

        plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(plain, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", (driver.info.backend_pid,))
    else:
        run_mysql_script(url, f"KILL {driver.thread_id()}")


def test_a_running_reader_and_writer_see_no_error_while_a_revision_is_added(empty_url):
    errors: list[BaseException] = []
    done = threading.Event()
    ready = [threading.Event(), threading.Event()]

    def repeat(step, signal) -> None:
        minute = 0
        try:
            while not done.is_set() or not signal.is_set():
                step(minute)
                minute += 1
                signal.set()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test must show it
            errors.append(error)
            signal.set()

    with opened(empty_url) as database:
        migrate(database, revision=REVISIONS[-2])
        with opened(empty_url, revision=REVISIONS[-2]) as old:
            threads = [
                threading.Thread(target=repeat, args=(lambda _: candle_rows(old), ready[0])),
                threading.Thread(target=repeat, args=(lambda minute: add_candle(old, minute), ready[1])),
            ]
            for thread in threads:
                thread.start()
            for each in ready:
                each.wait()
            migrate(database)
            written = len(candle_rows(old))
            done.set()
            for thread in threads:
                thread.join()
            assert errors == []
            assert len(candle_rows(database)) >= written > 0
    with opened(empty_url, revision=REVISIONS[-2]) as late, pytest.raises(DatabaseNotReady, match=HEAD):
        late.connect(META).__enter__()


def test_a_newer_revision_than_the_code_knows_is_refused(empty_url):
    with opened(empty_url) as database:
        migrate(database)
        with database.migrating(META) as connection:
            schema = database.schemas.get(META)
            connection.exec_driver_sql(
                f"UPDATE {f'{schema}.' if schema else ''}alembic_version SET version_num = '0999'"
            )
        database.dispose()
        for use in (lambda: database.connect(META).__enter__(), lambda: migrate(database)):
            with pytest.raises(DatabaseError, match=r"0999.*does not know.*newer"):
                use()


def test_tables_are_partitioned_where_the_setting_says_so(empty_url, engine):
    if engine == "sqlite":
        pytest.skip("a SQLite table is a file of its own")
    with opened(empty_url) as database:
        migrate(database, partitioned=["1h"])
        assert database.ensure_partitions("cryptopair_1h_kdata", AUGUST) == 1
        assert database.ensure_partitions("cryptopair_1h_kdata", AUGUST) == 0
        assert database.ensure_partitions("cryptopair_1h_kdata", Span(AUGUST.start - 86_400_000 * 70, AUGUST.end)) == 3
        assert database.ensure_partitions(CANDLES, AUGUST) == 0
        add_candle(database)
        with database.connect(CANDLES) as connection:
            keys = inspect(connection).get_foreign_keys("cryptopair_1h_kdata", database.schemas[KDATA])
        assert bool(keys) is (engine == "postgresql"), "MySQL refuses foreign keys of partitioned tables"
