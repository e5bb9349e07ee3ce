"""Databases that cannot be used: one clear sentence each, a non-zero exit, and nothing lost."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import uuid
from contextlib import contextmanager, suppress

import psycopg
import pytest
from sqlalchemy import func, select
from sqlalchemy.engine import make_url

from crypto_assets.database.engines import open_database
from crypto_assets.database.errors import DatabaseError
from crypto_assets.database.migrations import current_revisions, migrate
from crypto_assets.database.revisions import HEAD
from crypto_assets.database.tables import META, TABLES
from crypto_assets_tests.cli.command_runs import run_command, sentence
from crypto_assets_tests.database.database_frames import assets
from crypto_assets_tests.database_servers import packaged_postgresql

COMMANDS = [("migrate",), ("migrate", "status"), ("query", "crypto_asset")]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "url", ["postgresql+psycopg://me:secret@127.0.0.1:1/x", "mysql+pymysql://me:secret@127.0.0.1:1/"]
)
def test_an_unreachable_server(command, url):
    said = sentence(run_command(*command, url=url))
    assert "cannot be reached" in said
    assert "127.0.0.1:1" in said
    assert "secret" not in said


@pytest.mark.parametrize("scheme", ["postgresql+psycopg", "mysql+pymysql"])
def test_a_server_that_accepts_and_says_nothing(scheme):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = f"127.0.0.1:{silent.getsockname()[1]}"
        url = f"{scheme}://me:secret@{where}/{'x' if scheme.startswith('p') else ''}?connect_timeout=2"
        said = sentence(run_command("migrate", "status", url=url))
    assert "cannot be reached" in said
    assert where in said


def test_a_wrong_password_of_mysql(servers):
    url = servers["mysql"]().set(password="wrong-secret").render_as_string(hide_password=False)  # noqa: S106 - wrong
    said = sentence(run_command("migrate", url=url))
    assert "refuses this user or password" in said
    assert "wrong-secret" not in said


@pytest.fixture(scope="module")
def strict_postgresql():
    """A PostgreSQL that asks `limited` for a password: the package's own server, as others trust every local user."""
    server = packaged_postgresql(f"strict-{uuid.uuid4().hex[:8]}")
    rules = server.pgdata / "pg_hba.conf"
    rules.write_text("local all limited scram-sha-256\n" + rules.read_text())
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("CREATE ROLE limited LOGIN PASSWORD 'right'")
        connection.execute("CREATE DATABASE other")
    yield make_url(server.get_uri()).set(drivername="postgresql+psycopg", username="limited", database="other")
    server.cleanup()


def test_a_wrong_password_of_postgresql(strict_postgresql):
    for password in ("wrong-secret", None):
        url = strict_postgresql.set(password=password).render_as_string(hide_password=False)
        said = sentence(run_command("migrate", url=url))
        assert "refuses this user or password" in said
        assert "wrong-secret" not in said


def test_a_user_that_postgresql_does_not_know(servers):
    url = servers["postgresql"]().set(username="nobody_here").render_as_string(hide_password=False)
    assert "refuses this user or password" in sentence(run_command("migrate", "status", url=url))


def test_missing_rights_in_postgresql(strict_postgresql):
    url = strict_postgresql.set(password="right").render_as_string(hide_password=False)  # noqa: S106 - a test's own
    said = sentence(run_command("migrate", url=url))
    assert "lacks a right" in said
    assert "permission denied for database other" in said


def test_missing_rights_in_mysql(servers):
    server, name = servers["mysql"](), f"ca_{uuid.uuid4().hex[:10]}"
    admin = open_database(server.render_as_string(hide_password=False), "sandbox")
    with admin._pool().connect() as connection:  # noqa: SLF001 - to make a user
        connection.exec_driver_sql(f"CREATE USER {name}@'%%' IDENTIFIED BY 'right'")
        try:
            url = server.set(username=name, password="right").update_query_dict({"prefix": f"{name}_"})  # noqa: S106
            said = sentence(run_command("migrate", url=url.render_as_string(hide_password=False)))
            assert "lacks a right" in said
            assert name in said
        finally:
            connection.exec_driver_sql(f"DROP USER {name}@'%%'")
    admin.dispose()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql+psycopg://{host}/no_such_database", "does not exist"),
        ("oracle://host/x", "is not supported; use sqlite:///directory, postgresql"),
        ("mysql+pymysql://root@127.0.0.1/?prefix=a-b", "letters, digits and underscores"),
    ],
)
def test_a_database_that_is_not_there_or_not_served(url, said, servers):
    if "{host}" in url:
        url = servers["postgresql"]().set(database="no_such_database").render_as_string(hide_password=False)
    assert said in sentence(run_command("migrate", url=url))


@pytest.mark.parametrize(
    "command",
    [("migrate",), ("query", "crypto_asset"), ("rollback", "--backups"), ("rollback", "--restore", "X", "--dry-run")],
)
def test_a_database_of_another_environment(database_url, command):
    said = sentence(run_command(*command, url=database_url, CRYPTO_ASSETS_ENVIRONMENT="live"))
    assert "holds sandbox data and cannot be used for live" in said


@pytest.mark.parametrize("command", [("migrate",), ("query", "crypto_asset")])
def test_a_newer_revision_than_the_code_knows(empty_url, command):
    database = open_database(empty_url, "sandbox")
    migrate(database)
    with database.migrating(META) as connection:
        schema = f"{database.schemas[META]}." if database.schemas else ""
        connection.exec_driver_sql(f"UPDATE {schema}alembic_version SET version_num = '0999'")
    database.dispose()
    assert "0999, which this version of crypto-assets does not know" in sentence(run_command(*command, url=empty_url))


def test_what_was_never_migrated(empty_url):
    assert "run crypto-assets migrate" in sentence(run_command("query", "crypto_asset", url=empty_url))


@contextmanager
def small_disk(directory, options="size=1m"):
    """A disk of its own below `directory`; skips the test where this user may not mount one."""
    directory.mkdir(exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def test_a_full_disk_while_migrating_leaves_files_that_the_next_run_finishes(tmp_path):
    disk = tmp_path / "disk"
    with small_disk(disk):
        url = f"sqlite:///{disk}/data"
        # Without room for its shared memory, SQLite only speaks of an I/O error.
        assert re.search("is full; make room|whether the disk is full", sentence(run_command("migrate", url=url)))
        database = open_database(url, "sandbox")
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        assert set(current_revisions(database).values()) > {HEAD}, "some are done, the rest is not there"
        assert run_command("migrate", url=url).exit_code == 0
        assert set(current_revisions(database).values()) == {HEAD}
        database.dispose()


def test_a_full_disk_while_writing_keeps_what_was_committed(tmp_path):
    disk = tmp_path / "disk"
    table = TABLES["crypto_asset"]
    with small_disk(disk, "size=8m"), _opened(disk) as database:
        migrate(database)
        stored = 0
        with pytest.raises(DatabaseError, match="is full"):  # noqa: PT012 - until it is
            while True:
                rows = assets(*(f"X{stored + number}" for number in range(1000))).to_dict("records")
                with database.begin(META) as connection:
                    connection.execute(table.insert(), rows)
                stored += 1000
        assert stored > 0
        with database.connect(META) as connection:
            assert connection.scalar(select(func.count()).select_from(table)) == stored
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"


@contextmanager
def _opened(disk):
    database = open_database(f"sqlite:///{disk}/data", "sandbox")
    yield database
    database.dispose()


def test_a_read_only_disk(tmp_path):
    disk = tmp_path / "disk"
    with small_disk(disk, "size=64m"):
        url = f"sqlite:///{disk}/data"
        assert run_command("migrate", "--to", "0002", url=url).exit_code == 0
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        said = sentence(run_command("migrate", url=url))
        assert "read-only" in said.lower()
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        shown = run_command("migrate", "status", "--json", url=url)
        assert {row["revision"] for row in json.loads(shown.stdout)} == {"0002"}


EVERY_COMMAND = [
    *(("migrate",), ("migrate", "status"), ("migrate", "--dry-run"), ("migrate", "--sql")),
    *(("migrate", "--to", "0001", "--yes"), ("migrate", "--to", "0001", "--dry-run")),
    *(("rollback", "--schema", "--yes"), ("rollback", "--schema", "--dry-run"), ("rollback", "--data", "--yes")),
    *(("rollback", "--restore", "20200101T000000Z"), ("query", "crypto_asset"), ("archive", "list")),
]


@pytest.mark.parametrize("trouble", ["read-only", "full"])
def test_every_command_says_in_one_sentence_that_the_disk_is_the_trouble(tmp_path, migrated_directory, trouble):
    disk = tmp_path / "disk"
    with small_disk(disk, "size=32m"):
        shutil.copytree(migrated_directory, disk / "data")
        url = f"sqlite:///{disk}/data"
        if trouble == "full":
            with (disk / "filling").open("wb") as filling, suppress(OSError):
                while True:
                    filling.write(bytes(65536))
        else:
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        before = {path: path.read_bytes() for path in disk.rglob("*.db")}
        for command in EVERY_COMMAND:
            said = sentence(run_command(*command, url=url))
            assert re.search("can be written|disk is full|Read-only file system|No space left", said)
        for command in (("health",), ("health", "--json")):
            looked = run_command(*command, url=url)
            assert looked.exit_code == 1
            assert isinstance(looked.exception, SystemExit)
        assert "binance_crypto_meta.db cannot be" in json.loads(looked.stdout)[0]["figure"]
        assert {path: path.read_bytes() for path in disk.rglob("*.db")} == before


def test_a_damaged_file_is_named(tmp_path, migrated_directory):
    shutil.copytree(migrated_directory, tmp_path / "data")
    file = tmp_path / "data/binance/binance_crypto_operations.db"
    with file.open("r+b") as damaged:
        damaged.seek(8192)
        damaged.write(b"\xff" * (file.stat().st_size - 8192))
    for command in (("migrate", "--to", "0001", "--yes"), ("rollback", "--schema", "--yes")):
        said = sentence(run_command(*command, url=f"sqlite:///{tmp_path}/data"))
        assert "binance_crypto_operations.db cannot be read (database disk image is malformed)" in said
