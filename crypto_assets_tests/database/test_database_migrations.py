from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.schema import CreateTable

from crypto_assets.database import migrations
from crypto_assets.database.engines import open_database
from crypto_assets.database.errors import DatabaseError, EnvironmentMismatch
from crypto_assets.database.migrations import current_revisions, migrate
from crypto_assets.database.queries import query_data
from crypto_assets.database.revisions import REVISIONS
from crypto_assets.database.tables import CHANGES, PHYSICAL_DATABASES, TABLES, physical_database
from crypto_assets.database.writes import upsert
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets_tests.database.database_frames import CANDLES, assets, candles, pairs


def schema(connection: sqlite3.Connection) -> dict[str, object]:
    """All that SQLite knows of a file's tables, whatever the order of columns."""
    tables = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name <> 'alembic_version'"
    ).fetchall()
    found: dict[str, object] = {}
    for name, sql in tables:
        lines = {re.sub(r"\s+", " ", line).strip(" ,") for line in sql.splitlines()[1:]}
        found[name] = {
            "columns": {row[1]: row[2:] for row in connection.execute(f"PRAGMA table_xinfo({name})")},
            "generated": {line for line in lines if "GENERATED" in line},
            "without_rowid": "WITHOUT ROWID" in sql,
            "foreign_keys": {row[2:] for row in connection.execute(f"PRAGMA foreign_key_list({name})")},
            "unique": {line for line in lines if "UNIQUE" in line},
            "indexes": {
                row[0]
                for row in connection.execute(
                    "SELECT sql FROM sqlite_master WHERE tbl_name = ? AND type = 'index'", (name,)
                )
            },
        }
    return found


@pytest.mark.parametrize("name", PHYSICAL_DATABASES)
def test_migrated_files_equal_the_table_definitions(migrated_directory, tmp_path, name):
    tables = [table for table in TABLES.values() if physical_database(table.name) == name]
    tables += [CHANGES] if name in KDATA_TABLES else []
    engine = create_engine(f"sqlite:///{tmp_path}/declared.db")
    with engine.begin() as connection:
        declared = connection.execution_options(schema_translate_map={tables[0].schema: None})
        for table in sorted(tables, key=lambda table: len(table.foreign_keys)):
            declared.execute(CreateTable(table))
            for index in table.indexes:
                index.create(declared)
    engine.dispose()
    migrated_file = open_database(f"sqlite:///{migrated_directory}", "sandbox").path(name)
    with closing(sqlite3.connect(tmp_path / "declared.db")) as one, closing(sqlite3.connect(migrated_file)) as other:
        assert schema(other) == schema(one)
        assert schema(one).keys() == {table.name for table in tables}


def test_the_listed_revisions_are_the_scripts():
    scripts = sorted((Path(migrations.__file__).parent / "versions").glob("0*.py"))
    assert tuple(path.name[:4] for path in scripts) == REVISIONS
    previous = None
    for path in scripts:
        text = path.read_text()
        assert f'revision = "{path.name[:4]}"' in text
        assert f"down_revision = {previous!r}".replace("'", '"') in text
        imported = set(re.findall(r"from (crypto_assets\S+)", text))
        assert imported == {"crypto_assets.database.migrations.operations"}, "it is frozen: no table of today"
        previous = path.name[:4]


def test_every_revision_goes_up_down_and_up_with_rows_present(database):
    with database.begin("crypto_meta") as connection:
        upsert(connection, TABLES["crypto_asset"], assets("BTC", "USDT").assign(data_quality_score=0.5))
        upsert(connection, TABLES["crypto_pair"], pairs("BTC").assign(unit_multiplier=1000))
    with database.begin(CANDLES) as connection:
        upsert(connection, TABLES[CANDLES], candles())
    stored = query_data(CANDLES, database=database)
    with closing(sqlite3.connect(database.path("crypto_meta"))) as connection:
        before = schema(connection)

    for revision in (*reversed(REVISIONS[:-1]), *REVISIONS[1:]):
        assert all(result.after == revision for result in migrate(database, revision=revision))
        assert set(current_revisions(database).values()) == {revision}
        with pytest.raises(EnvironmentMismatch):
            migrate(open_database(f"sqlite:///{database.directory}", "live"), revision=revision)

    assert query_data(CANDLES, database=database).equals(stored)
    pair = query_data("crypto_pair", database=database)
    assert pair["unit_multiplier"].tolist() == [1], "a downgrade forgets what the older revision has no place for"
    assert query_data("crypto_asset", database=database)["data_quality_score"].tolist() == [1.0, 1.0]
    with closing(sqlite3.connect(database.path("crypto_meta"))) as connection:
        assert schema(connection) == before
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []

    migrate(database, revision="base")
    assert set(current_revisions(database).values()) == {None}
    migrate(database)
    assert query_data(CANDLES, database=database).empty


def test_a_second_migration_changes_nothing(database):
    results = migrate(database)
    assert len(results) == 19
    assert not any(result.changed for result in results)


def test_only_the_named_databases_are_migrated(tmp_path):
    database = open_database(f"sqlite:///{tmp_path}/data", "sandbox")
    assert [result.name for result in migrate(database, [CANDLES, "crypto_pair"])] == ["crypto_meta", CANDLES]
    assert {name for name, revision in current_revisions(database).items() if revision} == {"crypto_meta", CANDLES}


def test_another_environment_is_refused_before_anything_is_touched(database):
    database.path(CANDLES).unlink()
    with pytest.raises(EnvironmentMismatch):
        migrate(open_database(f"sqlite:///{database.directory}", "live"))
    assert not database.path(CANDLES).exists()


def test_a_revision_of_a_newer_version_is_left_alone(database):
    with closing(sqlite3.connect(database.path(CANDLES), isolation_level=None)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(DatabaseError, match="9999"):
        migrate(database)


def test_an_unknown_revision_or_unusable_directory_is_named(database, tmp_path):
    with pytest.raises(ValueError, match="0001, 0002"):
        migrate(database, revision="0042")
    (tmp_path / "file").write_text("")
    with pytest.raises(DatabaseError, match="cannot be used"):
        migrate(open_database(f"sqlite:///{tmp_path}/file", "live"))


def test_a_failed_migration_leaves_the_file_as_it_was(database):
    migrate(database, ["crypto_quality"], "0001")
    with closing(sqlite3.connect(database.path("crypto_quality"), isolation_level=None)) as connection:
        connection.execute("CREATE TABLE crypto_kdata_coverage (x)")
    with pytest.raises(Exception, match="already exists"):
        migrate(database)
    with closing(sqlite3.connect(database.path("crypto_quality"))) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("0001",)]
        assert schema(connection).keys() == {"crypto_kdata_coverage"}


def test_migrating_prints_nothing_and_leaves_logging_alone(tmp_path):
    code = f"""
import logging
before = (logging.root.level, list(logging.root.handlers), logging.getLogger("alembic").level)
from crypto_assets.database.engines import open_database
from crypto_assets.database.migrations import migrate
migrate(open_database("sqlite:///{tmp_path}/data", "sandbox"), ["crypto_meta"])
assert before == (logging.root.level, list(logging.root.handlers), logging.getLogger("alembic").level)
assert not logging.getLogger("alembic").disabled
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("", "")
