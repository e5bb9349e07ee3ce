"""MySQL 8 and MariaDB (tried on 10.11), through PyMySQL: a MySQL database for each logical database.

Their names are the same on every server; `?prefix=ci_` in the URL puts something before them where several
environments share one. Partitioned candle tables hold one partition a month, between one for everything earlier and
one for everything later, both empty unless somebody wrote without asking. Called by `engines`.
"""

from __future__ import annotations

import re
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, text
from sqlalchemy.exc import DBAPIError

from crypto_assets.database.engines.base import BACKUP, BUSY_TIMEOUT_SECONDS, MIGRATION_TIMEOUT_SECONDS
from crypto_assets.database.engines.mysql_connection import (
    TLS_PARAMETERS,
    FileRequested,
    MysqlConnection,
    tls_options,
)
from crypto_assets.database.engines.server import (
    STOPPED_TURN_SECONDS,
    TURN_SECONDS,
    ServerDatabase,
    month_starts,
    waited_in_vain,
)
from crypto_assets.database.errors import DatabaseError, UnsupportedDatabase
from crypto_assets.database.tables import KDATA
from crypto_assets.domain.intervals import to_datetime

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from crypto_assets.domain.spans import Span

PREFIX_PARAMETER = "prefix"
_PREFIX = re.compile(r"\w{0,16}", re.ASCII)  # leaves room for the longest of our names below MySQL's 64
_EARLIER, _LATER = "earlier", "later"

# Reading and writing rely on these settings, and a server may have others. It would then silently leave out rows
# (sql_select_limit), accept rows of unknown entities, make tables without transactions, or hang up after each.
_SETTINGS = (
    "time_zone = '+00:00', sql_mode = 'TRADITIONAL', foreign_key_checks = 1, unique_checks = 1,"
    " sql_select_limit = 18446744073709551615, sql_auto_is_null = 0, sql_safe_updates = 0,"
    " completion_type = 'NO_CHAIN',"
    " default_storage_engine = 'InnoDB', default_tmp_storage_engine = 'InnoDB', div_precision_increment = 4,"
    # For a month of candles as one text: by default MySQL silently cuts at a kilobyte.
    " group_concat_max_len = 16777216,"
    f" innodb_lock_wait_timeout = {BUSY_TIMEOUT_SECONDS}, lock_wait_timeout = {BUSY_TIMEOUT_SECONDS}"
)
_LEAST_PACKET = 4 * 2**20
"""Bytes of `max_allowed_packet`, at which group_concat is cut as well: some times a month of candles."""

# Numbers of MySQL's and MariaDB's error reference.
_SENTENCES = {
    (1044, 1142, 1227, 1370, 1419): "The user of {place} lacks a right: {detail}. Grant it.",
    (1045, 1698): "{where} refuses this user or password; check CRYPTO_ASSETS_DATABASE.",
    (1049,): "{where} names a database that does not exist; create it, or name none: the project makes its own.",
    (1040,): "{where} accepts no more connections; close some or raise max_connections.",
    (1021, 1114): "The disk of {place} is full; make room and run this again.",
    (1146,): "{where} lacks a table ({detail}); run crypto-assets migrate.",
    (1290, 1792, 1836): "{where} is read-only; use the primary server.",
    (1020, 1213): "Another process was in the way in {place}, and this was undone; run it again.",
    (1317, 1927, 1969, 3024): "{where} stopped a statement ({detail}); run it again.",
    (1205,): "Another process has been writing {place} for too long; try again.",
    (2003, 2006, 2013, 2014): "{where} cannot be reached: {detail}.",
    (2026,): "{where} has no TLS, which ssl_... in its URL demands; nothing was sent to it.",
}
_FILE_REQUESTED = (
    "{where} asked for the file {file!r} of this machine, as no honest server does, and did not get it; find out who"
    " answers there, and let ssl_ca in the URL make sure of it."
)


class MysqlDatabase(ServerDatabase):
    """The MySQL databases of one environment on one server."""

    engine = "mysql"
    loads_rows = True
    """Whether connections that write may load rows as one text; the server, too, has to allow it."""
    default_isolation = "REPEATABLE READ"
    _count_connections = "SELECT count(*), @@max_connections FROM information_schema.processlist"

    def __init__(self, url: URL, environment: str, provider: str, revision: str) -> None:
        prefix = url.query.get(PREFIX_PARAMETER, "")
        if not isinstance(prefix, str) or not _PREFIX.fullmatch(prefix):
            raise UnsupportedDatabase(f"prefix={prefix} in the URL must be at most 16 letters, digits and underscores.")
        self._tls = tls_options(url)
        url = url.set(drivername="mysql+pymysql")
        super().__init__(url, environment, provider, revision)
        self._url = url.difference_update_query([PREFIX_PARAMETER, *TLS_PARAMETERS])
        self.schemas = {unit: f"{prefix}{unit}" for unit in (*self.units, BACKUP)}
        self._prefix = prefix

    @contextmanager
    def migration_lock(self) -> Iterator[None]:
        with (
            self._stating_errors(),
            self._pool().connect() as connection,
            self._named_lock(connection, "migration", MIGRATION_TIMEOUT_SECONDS),
        ):
            yield

    def ensure_partitions(self, table: str, span: Span) -> int:
        first, last = to_datetime(span.start), to_datetime(max(span.start, span.end - 1))
        wanted = month_starts(first, last)
        with self._committing_each() as connection:
            existing = self._partitions(connection, table)
            if not existing or all(f"p{month:%Y_%m}" in existing for month in wanted):
                return 0
            with self._named_lock(connection, f"partitions of {table}", BUSY_TIMEOUT_SECONDS):
                return self._add_partitions(connection, table, wanted)

    def _add_partitions(self, connection: Connection, table: str, wanted: list[datetime]) -> int:
        """Splits what is earlier or later than all months so far; the months in between are made too, as it must be."""
        name = f"{self._quoted(self.schemas[KDATA])}.{self._quoted(table)}"
        months = sorted(
            datetime.strptime(each, "p%Y_%m")  # noqa: DTZ007 - stored times are naive UTC
            for each in self._partitions(connection, table)
            if each not in (_EARLIER, _LATER)
        )
        made = 0
        if not months or wanted[-1] > months[-1]:
            start = wanted[0] if not months else months[-1] + timedelta(days=31)
            added = month_starts(start, wanted[-1])
            parts = [*(_partition(month) for month in added), f"PARTITION {_LATER} VALUES LESS THAN (MAXVALUE)"]
            if not months:
                parts.insert(0, f"PARTITION {_EARLIER} VALUES LESS THAN ('{added[0]:%Y-%m-%d}')")
            connection.exec_driver_sql(f"ALTER TABLE {name} REORGANIZE PARTITION {_LATER} INTO ({', '.join(parts)})")
            made += len(added)
        if months and wanted[0] < months[0]:
            added = month_starts(wanted[0], months[0] - timedelta(days=1))
            parts = [
                f"PARTITION {_EARLIER} VALUES LESS THAN ('{added[0]:%Y-%m-%d}')",
                *(_partition(month) for month in added),
            ]
            connection.exec_driver_sql(f"ALTER TABLE {name} REORGANIZE PARTITION {_EARLIER} INTO ({', '.join(parts)})")
            made += len(added)
        return made

    def _partitions(self, connection: Connection, table: str) -> set[str]:
        query = text(
            "SELECT partition_name FROM information_schema.partitions"
            " WHERE table_schema = :schema AND table_name = :table AND partition_name IS NOT NULL"
        )
        return set(connection.scalars(query, {"schema": self.schemas[KDATA], "table": table}))

    def _connect_arguments(self) -> dict[str, Any]:
        seconds = self._connect_seconds()
        return {
            "connect_timeout": seconds,
            # For a server that accepts and then says nothing; lifted once connected: statements may take long.
            "read_timeout": seconds,
            "write_timeout": seconds,
            "charset": "utf8mb4",
            **self._tls,
            "init_command": f"SET SESSION {_SETTINGS}",
        }

    def _turn_arguments(self) -> dict[str, Any]:
        # Unlike the others these connections keep their limits. The server closes one that is silent for so long,
        # inside a transaction or not: MySQL has no limit for open transactions alone.
        arguments = self._connect_arguments()
        arguments["init_command"] += (
            f", innodb_lock_wait_timeout = {TURN_SECONDS}, wait_timeout = {STOPPED_TURN_SECONDS}"
        )
        return arguments

    def _make_connection(self, _dialect: Any, arguments: Any, options: Any, *, for_turns: bool) -> MysqlConnection:
        return MysqlConnection(*arguments, may_load=self.loads_rows and not for_turns, **options)

    def _connected(self, driver_connection: Any) -> None:
        with driver_connection.cursor() as cursor:
            cursor.execute("SELECT @@max_allowed_packet")
            self.check_packet(int(cursor.fetchone()[0]))
        driver_connection._read_timeout = driver_connection._write_timeout = None  # noqa: SLF001 - no other way

    def check_packet(self, allowed: int) -> None:
        """Raises DatabaseError where the server's `max_allowed_packet`, in bytes, cuts what has to be read whole."""
        if allowed < _LEAST_PACKET:
            raise DatabaseError(
                f"The database {self.location} sends at most {allowed:,} bytes at once; raise max_allowed_packet to"
                f" {_LEAST_PACKET:,} or more."
            )

    def _read_one_moment(self, connection: Connection) -> None:
        """Nothing to do: with REPEATABLE READ the first read decides what all others see."""

    @contextmanager
    def _transaction(self, connection: Connection, names: Sequence[str]) -> Iterator[None]:
        with ExitStack() as locks:
            for name in names:
                locks.enter_context(self._named_lock(connection, name, BUSY_TIMEOUT_SECONDS))
            locks.enter_context(connection.begin())
            # Locks no gaps between rows: writers of other tables meet in the quality tables. The server's
            # transaction has not begun before the first statement that reads or writes a table.
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
            yield

    @contextmanager
    def _named_lock(self, connection: Connection, name: str, seconds: int) -> Iterator[None]:
        lock = f"{self._prefix}{self.provider}_{name}"[:64]
        taken = connection.execute(text("SELECT GET_LOCK(:lock, :seconds)"), {"lock": lock, "seconds": seconds})
        if not taken.scalar():
            raise waited_in_vain(name)
        connection.commit()
        try:
            yield
        finally:
            if not connection.invalidated and not connection.closed:
                connection.execute(text("DO RELEASE_LOCK(:lock)"), {"lock": lock})
                connection.commit()

    def _has_schema(self, connection: Connection, schema: str) -> bool:
        exists = text("SELECT 1 FROM information_schema.schemata WHERE schema_name = :schema")
        return connection.execute(exists, {"schema": schema}).first() is not None

    def schema_sql(self, unit: str) -> str:
        with self._stating_errors(), self._pool().connect() as connection:
            is_mariadb = connection.dialect.is_mariadb  # type: ignore[attr-defined]
        # Compared byte by byte, trailing spaces too, as on the other engines.
        collation = "utf8mb4_nopad_bin" if is_mariadb else "utf8mb4_0900_bin"
        name = self._quoted(self.schemas[unit])
        return f"CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8mb4 COLLATE {collation}"

    def _drop_schema(self, connection: Connection, schema: str) -> None:
        connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {self._quoted(schema)}")

    def _sentence(self, error: DBAPIError) -> str | None:
        if (requested := _file_requested(error)) is not None:
            return _FILE_REQUESTED.format(where=f"The database {self.location}", file=requested.file)
        arguments = getattr(error.orig, "args", ())
        code, detail = (arguments[0], str(arguments[-1]).rstrip(".")) if arguments else (None, "")
        for codes, sentence in _SENTENCES.items():
            if code in codes:
                return sentence.format(
                    where=f"The database {self.location}", place=f"the database {self.location}", detail=detail
                )
        return None


def _file_requested(error: BaseException | None) -> FileRequested | None:
    """The request of a file that an error came of.

    SQLAlchemy before 2.1 rolls a first connection back whatever went wrong, and then says only that it is closed.
    """
    while error is not None and not isinstance(error, FileRequested):
        error = error.__cause__ or error.__context__
    return error


def _partition(month: datetime) -> str:
    following = (month + timedelta(days=31)).replace(day=1)
    return f"PARTITION p{month:%Y_%m} VALUES LESS THAN ('{following:%Y-%m-%d}')"
