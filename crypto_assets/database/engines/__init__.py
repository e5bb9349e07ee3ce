"""Connections and transactions of one environment's database, on any engine.

    database = open_database("sqlite:///data/testnet", "testnet")
    with database.begin("cryptopair_1m_kdata") as connection:      # one transaction, committed at the end
        upsert(connection, TABLES["cryptopair_1m_kdata"], frame)
    with database.connect("crypto_quality") as connection:         # reads one moment, rolled back at the end
        ...

SQLAlchemy's Table objects work on every connection, and so do statements that join candles with entities or with the
ledger. What differs by engine is in the modules here, and how rows are written in `writes`. Creating and upgrading
belongs to `migrations`. Called by everything that stores or reads.
"""

from __future__ import annotations

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from crypto_assets.database.engines.base import Database
from crypto_assets.database.errors import UnsupportedDatabase
from crypto_assets.database.revisions import HEAD
from crypto_assets.domain.entities import PROVIDER
from crypto_assets.domain.urls import without_password

__all__ = ["Database", "open_database"]


def open_database(
    url: str,
    environment: str,
    provider: str = PROVIDER,
    revision: str = HEAD,
    *,
    unpublished: frozenset[str] = frozenset(),
) -> Database:
    """The database behind `url`: `sqlite:///directory`, `postgresql+psycopg://...` or `mysql+pymysql://...`.

    Opens nothing yet. `revision` is the schema that the caller expects to find, `unpublished` the columns of candles
    that the provider leaves out. Raises UnsupportedDatabase for a URL that cannot be served.
    """
    database = _opened(url, environment, provider, revision)
    database.unpublished = unpublished
    return database


def _opened(url: str, environment: str, provider: str, revision: str) -> Database:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # a port that is no number
        shown = without_password(url)
        raise UnsupportedDatabase(f"{shown!r} is not a database URL such as sqlite:///data/testnet.") from None
    backend = parsed.get_backend_name()
    # Each driver is loaded only where it is used.
    if backend == "sqlite":
        from crypto_assets.database.engines.sqlite import SqliteDatabase  # noqa: PLC0415

        return SqliteDatabase(parsed, environment, provider, revision)
    if backend == "postgresql":
        from crypto_assets.database.engines.postgresql import PostgresqlDatabase  # noqa: PLC0415

        return PostgresqlDatabase(parsed, environment, provider, revision)
    if backend in ("mysql", "mariadb"):
        from crypto_assets.database.engines.mysql import MysqlDatabase  # noqa: PLC0415

        return MysqlDatabase(parsed, environment, provider, revision)
    raise UnsupportedDatabase(
        f"{without_password(url)} is not supported; use sqlite:///directory,"
        " postgresql+psycopg://... or mysql+pymysql://..."
    )
