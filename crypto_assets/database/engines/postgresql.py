"""PostgreSQL (tried on 15 and 18), through psycopg 3: a schema for each logical database.

Candle tables that are partitioned hold one partition a month, `cryptopair_1m_kdata_2024_08`. Called by `engines`.
"""

from __future__ import annotations

import re
import zlib
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import sqlalchemy
from psycopg.pq import TransactionStatus
from sqlalchemy import URL, Connection, Engine, event, text
from sqlalchemy.exc import DBAPIError

from crypto_assets.database.engines.base import BACKUP, BUSY_TIMEOUT_SECONDS, MIGRATION_TIMEOUT_SECONDS
from crypto_assets.database.engines.server import (
    STOPPED_TURN_SECONDS,
    TURN_SECONDS,
    ServerDatabase,
    month_starts,
    waited_in_vain,
)
from crypto_assets.database.errors import UnsupportedDatabase
from crypto_assets.database.tables import KDATA
from crypto_assets.domain.intervals import to_datetime
from crypto_assets.domain.urls import without_password

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from crypto_assets.domain.spans import Span

_LOCK_NOT_AVAILABLE = "55P03"

# Reading and writing rely on these settings, and a server, database or role may have others.
_SETTINGS = {
    "extra_float_digits": "3",  # doubles as texts that read back as the same bits
    "timezone": "'UTC'",
    "datestyle": "'ISO, YMD'",
    "intervalstyle": "'postgres'",
    "bytea_output": "'hex'",
    "client_encoding": "'UTF8'",
    "standard_conforming_strings": "on",
    "search_path": "pg_catalog, pg_temp",  # so that nobody's functions or tables stand in for ours
    "statement_timeout": "0",
    "lock_timeout": f"'{BUSY_TIMEOUT_SECONDS}s'",
    "idle_in_transaction_session_timeout": "0",  # a migration's lock waits for another connection
}
_TURN_SETTINGS = _SETTINGS | {
    "lock_timeout": f"'{TURN_SECONDS}s'",
    "idle_in_transaction_session_timeout": f"'{STOPPED_TURN_SECONDS}s'",
    "synchronous_commit": "off",  # after a power failure nobody needs what was written last
}
_VIRTUAL_SINCE = 18  # the version that computes generated columns when they are read
_CAN_SAY_VIRTUAL = int(sqlalchemy.__version__.split(".")[1]) >= 1  # SQLAlchemy 2.0 knows stored ones only
_LOCKS = zlib.crc32(b"crypto_assets") - 2**31
"""The first of the two numbers of our advisory locks, so that another program's are not taken for ours."""

# Codes of PostgreSQL's appendix A, by their beginning.
_SENTENCES = {
    "28": "{where} refuses this user or password; check CRYPTO_ASSETS_DATABASE.",
    "3D000": "{where} does not exist on the server; create it (CREATE DATABASE) or correct CRYPTO_ASSETS_DATABASE.",
    "42501": "The user of {place} lacks a right: {detail}. Grant it, or use the owner of the database.",
    "53100": "The disk of {place} is full; make room and run this again.",
    "53300": "{where} accepts no more connections; close some or raise max_connections.",
    "25006": "{where} is read-only; use the primary server, or lift default_transaction_read_only.",
    "42P01": "{where} lacks a table ({detail}); run crypto-assets migrate.",
    "3F000": "{where} lacks a schema ({detail}); run crypto-assets migrate.",
    "40": "Another process was in the way in {place} ({detail}), and this was undone; run it again.",
    "2BP01": "{where} holds what others made of a table that has to go ({detail}); drop that first, psql names it.",
    "57014": "{where} stopped a statement that took too long ({detail}); run it again.",
    "25P03": "{where} ended a transaction that waited too long; run it again.",
    "55P03": "Another process has been using {place} for too long; try again.",
    "57P": "{where} is shutting down or starting up; try again.",
}

_REFUSED = re.compile(
    "password authentication failed|no password supplied|no pg_hba.conf entry"
    '|role "[^"]*" (does not exist|is not permitted)'
)
"""What a server says when it refuses a login: an error of connecting has no code."""


class PostgresqlDatabase(ServerDatabase):
    """The schemas of one environment in one PostgreSQL database."""

    engine = "postgresql"
    default_isolation = None  # each connection is told before it says anything
    _count_connections = (
        "SELECT count(*), current_setting('max_connections') FROM pg_stat_activity"
        " WHERE backend_type = 'client backend'"
    )

    def __init__(self, url: URL, environment: str, provider: str, revision: str) -> None:
        if not url.database:
            shown = without_password(url.render_as_string(hide_password=True))
            raise UnsupportedDatabase(f"{shown} names no database; create one and add its name to the URL.")
        super().__init__(url.set(drivername="postgresql+psycopg"), environment, provider, revision)
        self.schemas = {unit: unit for unit in (*self.units, BACKUP)}

    @contextmanager
    def migration_lock(self) -> Iterator[None]:
        with self._stating_errors(), self._pool().connect() as connection, connection.begin():
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{MIGRATION_TIMEOUT_SECONDS}s'")
            self._lock_name(connection, "migration")
            # Nothing is read or written in this transaction: it keeps the lock until the other connection is done.
            yield

    def ensure_partitions(self, table: str, span: Span) -> int:
        with self._stating_errors(), self._pool().begin() as connection:
            existing = self._partitions(connection, table)
            if existing is None:
                return 0
            first, last = to_datetime(span.start), to_datetime(max(span.start, span.end - 1))
            missing = [month for month in month_starts(first, last) if f"{table}_{month:%Y_%m}" not in existing]
            if missing:
                # Made in turns, or two writers would make the same.
                self._lock_name(connection, f"partitions of {table}")
                existing = self._partitions(connection, table) or set()
            missing = [month for month in missing if f"{table}_{month:%Y_%m}" not in existing]
            for month in missing:
                # Made beside the table and then attached: that lets readers and writers of the other months go on.
                name = f"{KDATA}.{table}_{month:%Y_%m}"
                following = (month + timedelta(days=31)).replace(day=1)
                connection.exec_driver_sql(
                    f"CREATE TABLE {name} (LIKE {KDATA}.{table} INCLUDING DEFAULTS INCLUDING GENERATED)"
                )
                connection.exec_driver_sql(
                    f"ALTER TABLE {KDATA}.{table} ATTACH PARTITION {name}"
                    f" FOR VALUES FROM ('{month:%Y-%m-%d}') TO ('{following:%Y-%m-%d}')"
                )
        return len(missing)

    def _partitions(self, connection: Connection, table: str) -> set[str] | None:
        """The names of a table's partitions; None if it has none by definition."""
        kind = connection.execute(
            text("SELECT relkind FROM pg_class WHERE oid = to_regclass(:name)"), {"name": f"{KDATA}.{table}"}
        ).scalar()
        if kind not in ("p", b"p"):
            return None
        children = text(
            "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
            " WHERE inhparent = to_regclass(:name)"
        )
        return set(connection.scalars(children, {"name": f"{KDATA}.{table}"}))

    def _make_pool(self, *, for_turns: bool) -> Engine:
        made = super()._make_pool(for_turns=for_turns)
        pinning = _pinning(_TURN_SETTINGS if for_turns else _SETTINGS)

        # Before SQLAlchemy asks the first connection what the server is like, and writes texts accordingly.
        @event.listens_for(made, "connect", insert=True)
        def begin(driver: Any, _record: Any) -> None:
            driver.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
            driver.execute(pinning)

        # In each transaction and for it alone. PgBouncer lets no options through, and may give every transaction
        # another connection to the server, in which others find what was set for longer.
        @event.listens_for(made, "begin")
        def pin(connection: Connection) -> None:
            connection.exec_driver_sql(pinning)

        return made

    @contextmanager
    def _committing_each(self) -> Iterator[Connection]:
        # Not by the driver's autocommit, in which nothing can be set for one statement; nor by SQLAlchemy's
        # transactions, which alembic opens around what it does.
        pinning = _pinning(_SETTINGS)
        with self._stating_errors(), self._pool().connect() as connection:

            @event.listens_for(connection, "before_cursor_execute")
            def pin(on: Connection, _cursor: Any, statement: str, *_: Any) -> None:
                driver: Any = on.connection.driver_connection
                if statement != pinning and driver.info.transaction_status == TransactionStatus.IDLE:
                    _as_sqlalchemy(on, pinning, lambda: driver.execute(pinning))

            @event.listens_for(connection, "after_cursor_execute")
            def commit(on: Connection, _cursor: Any, statement: str, *_: Any) -> None:
                if statement != pinning:
                    _as_sqlalchemy(on, "COMMIT", on.connection.commit)

            yield connection

    def _connect_arguments(self) -> dict[str, Any]:
        return {
            "connect_timeout": self._connect_seconds(),
            "application_name": "crypto-assets",
            "client_encoding": "UTF8",
            "prepare_threshold": None,  # PgBouncer may send the next transaction where nothing was prepared
        }

    def _turn_arguments(self) -> dict[str, Any]:
        return self._connect_arguments() | {"tcp_user_timeout": TURN_SECONDS * 2000}  # in ms

    def _read_one_moment(self, connection: Connection) -> None:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")

    @contextmanager
    def _transaction(self, connection: Connection, names: Sequence[str]) -> Iterator[None]:
        with connection.begin():
            for name in names:
                try:
                    self._lock_name(connection, name)
                except DBAPIError as error:
                    if _code(error) == _LOCK_NOT_AVAILABLE:
                        raise waited_in_vain(name) from error
                    raise
            yield

    def _lock_name(self, connection: Connection, name: str) -> None:
        """Waits for the lock of that name, which the end of the transaction gives back."""
        number = zlib.crc32(f"{self.provider} {name}".encode()) - 2**31
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCKS}, {number})")

    def _has_schema(self, connection: Connection, schema: str) -> bool:
        return bool(connection.execute(text("SELECT to_regnamespace(:name)"), {"name": schema}).scalar())

    def schema_sql(self, unit: str) -> str:
        return f"CREATE SCHEMA IF NOT EXISTS {self.schemas[unit]}"

    def stores_generated_columns(self) -> bool:
        with self._stating_errors(), self._pool().connect() as connection:
            server = int((connection.dialect.server_version_info or (0,))[0])
        return server < _VIRTUAL_SINCE or not _CAN_SAY_VIRTUAL

    def _drop_schema(self, connection: Connection, schema: str) -> None:
        connection.exec_driver_sql(f"DROP SCHEMA IF EXISTS {schema} CASCADE")

    def _sentence(self, error: DBAPIError) -> str | None:
        code, detail = _code(error), str(error.orig).splitlines()[0].removeprefix("ERROR:").strip().rstrip(".")
        where = f"The database {self.location}"
        if code is None:
            if _REFUSED.search(str(error.orig)):
                return _SENTENCES["28"].format(where=where)
            if "does not exist" in str(error.orig) and 'database "' in str(error.orig):
                return _SENTENCES["3D000"].format(where=where)
            if error.connection_invalidated or type(error.orig).__name__ in ("OperationalError", "ConnectionTimeout"):
                return f"{where} cannot be reached: {detail}."
            return None
        for beginning, sentence in _SENTENCES.items():
            if code.startswith(beginning):
                return sentence.format(where=where, place=f"the database {self.location}", detail=detail)
        return None


def _pinning(settings: dict[str, str]) -> str:
    return "; ".join(f"SET LOCAL {name} = {value}" for name, value in settings.items())


def _as_sqlalchemy(connection: Connection, statement: str, execute: Callable[[], object]) -> None:
    """Raises an error of the driver as SQLAlchemy would have."""
    try:
        execute()
    except psycopg.Error as error:
        lost = bool(getattr(connection.connection.driver_connection, "broken", False))
        raise DBAPIError.instance(
            statement, None, error, psycopg.Error, connection_invalidated=lost, dialect=connection.dialect
        ) from error


def _code(error: DBAPIError) -> str | None:
    code: str | None = getattr(error.orig, "sqlstate", None)
    return code
