"""SQLite: a directory of files, `{directory}/{provider}/{provider}_{name}.db`.

A connection's main file is the one that owns the named table; `crypto_meta` and `crypto_quality` are attached under
their schema names, so that the same Table objects, and set-based SQL across files, work on every connection. Names of
the main file's tables are written without a schema in plain SQL. Called by `engines`.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.pool import NullPool, QueuePool

from crypto_assets.database.engines.base import (
    BACKUP,
    BUSY_TIMEOUT_SECONDS,
    MIGRATION_TIMEOUT_SECONDS,
    Database,
    PoolStatus,
)
from crypto_assets.database.engines.sqlite_files import (
    attach,
    file_ids,
    file_revision,
    has_table,
    open_file,
    unreadable,
    use_explicit_transactions,
)
from crypto_assets.database.errors import DatabaseError, DatabaseNotReady, UnsupportedDatabase
from crypto_assets.database.tables import CHANGES, META, PHYSICAL_DATABASES, QUALITY, TABLES, physical_database
from crypto_assets.domain.series import KDATA_TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from crypto_assets.domain.spans import Span

ATTACHED = (META, QUALITY)
"""What every connection can reach beside its main file; also the order in which `begin` locks them, after the rest."""

_IDLE_CONNECTIONS = 2


class SqliteDatabase(Database):
    """The files of one environment."""

    engine = "sqlite"
    units = PHYSICAL_DATABASES

    def __init__(self, url: URL, environment: str, provider: str, revision: str) -> None:
        super().__init__(environment, provider, revision)
        self.directory = _directory(url)
        self.location = str(self.directory)
        self.schemas = {}
        self._engines: dict[str, Engine] = {}
        self._accepted: set[tuple[int, int]] = set()
        self._lock = threading.Lock()
        self._process = os.getpid()

    def path(self, name: str) -> Path:
        """The file that holds `name`, a table or a logical database. Raises ValueError for an unknown name."""
        return self.directory / self.provider / f"{self.provider}_{physical_database(name)}.db"

    def files(self) -> dict[str, Path]:
        """Every file by the name of its database, whether it exists or not."""
        return {name: self.path(name) for name in PHYSICAL_DATABASES}

    @contextmanager
    def connect(self, name: str) -> Iterator[Connection]:
        with self._stating_errors(self.path(name)), self._engine(physical_database(name)).connect() as connection:
            yield connection

    @contextmanager
    def begin(self, name: str, also: Sequence[str] = ()) -> Iterator[Connection]:
        main = physical_database(name)
        locked = sorted({main, *map(physical_database, also)}, key=lambda each: (each in ATTACHED, each))
        with self._stating_errors(self.path(name)), self._engine(main).begin() as connection:
            for each in locked:
                # A write that changes nothing takes the lock: a transaction that reads first and writes later would
                # otherwise fail at once when another writer was faster. BEGIN IMMEDIATE would lock the attached files
                # too, and every writer of candles would wait for every other.
                schema = "main" if each == main else each
                connection.exec_driver_sql(f'DELETE FROM "{schema}".alembic_version WHERE 0')
            yield connection

    def unit(self, name: str) -> str:
        return physical_database(name)

    def exists(self) -> bool:
        return self.path(META).exists()

    def check_identity(self) -> None:
        path = self.path(META)
        if not path.exists():
            return
        with self._stating_errors(path), closing(open_file(path)) as connection:
            if has_table(connection, "main", "crypto_database_identity"):
                self._compare_identity(connection, "main", is_migrated=False)

    def revision(self, unit: str) -> str | None:
        path = self.path(unit)
        if not path.exists():
            return None
        with self._stating_errors(path), closing(open_file(path)) as connection:
            return file_revision(connection, "main")

    @contextmanager
    def migration_lock(self) -> Iterator[None]:
        try:
            (self.directory / self.provider).mkdir(parents=True, exist_ok=True)
            with FileLock(self.directory / ".migrate.lock", timeout=MIGRATION_TIMEOUT_SECONDS):
                yield
        except Timeout:
            raise DatabaseError(
                f"Another process has been migrating {self.directory} for {MIGRATION_TIMEOUT_SECONDS} seconds."
            ) from None
        except OSError as error:
            raise DatabaseError(f"The directory {self.directory} cannot be used: {error.strerror}.") from error

    @contextmanager
    def migrating(self, unit: str) -> Iterator[Connection]:
        path = self.path(unit)
        engine = create_engine("sqlite://", creator=lambda: open_file(path, create=True), poolclass=NullPool)
        use_explicit_transactions(engine, "BEGIN IMMEDIATE")
        with self._stating_errors(path), engine.begin() as connection:
            yield connection
        engine.dispose()

    def ensure_partitions(self, table: str, span: Span) -> int:  # noqa: ARG002 - each table is a file of its own
        return 0

    def strangers(self, unit: str) -> list[str] | None:
        path = self.path(unit)
        if not path.exists():
            return None
        with self._stating_errors(path), closing(open_file(path)) as connection:
            query = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'"
            names = {row[0] for row in connection.execute(query)}
        if "alembic_version" not in names:
            return None
        ours = {"alembic_version", *(name for name in TABLES if physical_database(name) == unit)}
        return sorted(names - ours - ({CHANGES.name} if unit in KDATA_TABLES else set()))

    def remove(self, unit: str) -> None:
        self.dispose()
        try:
            for suffix in ("", "-wal", "-shm"):
                Path(f"{self.path(unit)}{suffix}").unlink(missing_ok=True)
        except OSError as error:
            raise DatabaseError(f"The database at {self.path(unit)} cannot be deleted: {error.strerror}.") from error

    @contextmanager
    def backups(self, unit: str | None = None) -> Iterator[Connection]:
        path = self.directory / self.provider / f"{self.provider}_{BACKUP}.db"

        def opened() -> sqlite3.Connection:
            # Neither file is the main one, so that both are named by their schemas.
            connection = sqlite3.connect(
                ":memory:", uri=True, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
            )
            try:
                if unit is not None:
                    open_file(path, create=True).close()
                    attach(connection, unit, self.path(unit))
                if path.exists():
                    attach(connection, BACKUP, path)
            except BaseException:
                connection.close()
                raise
            return connection

        engine = create_engine("sqlite://", creator=opened, poolclass=NullPool)
        use_explicit_transactions(engine, "BEGIN" if unit is None else "BEGIN IMMEDIATE")
        with self._stating_errors(path), engine.begin() as connection:
            yield connection
        engine.dispose()

    def pool_status(self) -> PoolStatus:
        with self._lock:
            pools = [pool for engine in self._engines.values() if isinstance(pool := engine.pool, QueuePool)]
        checked_out, idle = sum(pool.checkedout() for pool in pools), sum(pool.checkedin() for pool in pools)
        return PoolStatus(checked_out, idle, checked_out + idle, None)

    def dispose(self) -> None:
        """Closes all idle connections."""
        with self._lock:
            engines, self._engines = self._engines, {}
            self._accepted.clear()
        for engine in engines.values():
            engine.dispose()

    def _engine(self, main: str) -> Engine:
        with self._lock:
            if self._process != os.getpid():
                # SQLite connections do not survive a fork: the child forgets them without touching them.
                for engine in self._engines.values():
                    engine.dispose(close=False)
                self._engines, self._process = {}, os.getpid()
            if main not in self._engines:
                self._engines[main] = self._make_engine(main)
            return self._engines[main]

    def _make_engine(self, main: str) -> Engine:
        engine = create_engine(
            "sqlite://",
            creator=lambda: self._open(main),
            poolclass=QueuePool,
            pool_size=_IDLE_CONNECTIONS,
            max_overflow=-1,
        )
        paths = self._reachable_paths(main)

        @event.listens_for(engine, "connect")
        def remember_files(_connection: Any, record: Any) -> None:
            record.info["files"] = file_ids(paths)

        @event.listens_for(engine, "checkout")
        def notice_replaced_files(_connection: Any, record: Any, _proxy: Any) -> None:
            # A file that was deleted, replaced or attached since would otherwise be written to in vain.
            if record.info["files"] != file_ids(paths):
                raise DisconnectionError("the database's files changed")

        use_explicit_transactions(engine)
        schema = str(TABLES[main].schema) if main in TABLES else main
        return engine.execution_options(schema_translate_map={schema: None}, **self.told)

    def _reachable_paths(self, main: str) -> list[Path]:
        return [self.path(name) for name in (main, *(each for each in ATTACHED if each != main))]

    def _open(self, main: str) -> sqlite3.Connection:
        path = self.path(main)
        if not path.exists():
            self._accepted.clear()
            raise DatabaseNotReady(f"There is no database at {path}; run crypto-assets migrate.")
        connection = open_file(path)
        try:
            self._accept(connection, "main", path)
            for each in ATTACHED:
                if each != main and self.path(each).exists():
                    attach(connection, each, self.path(each))
                    self._accept(connection, each, self.path(each))
            if main == META or self.path(META).exists():
                self._compare_identity(connection, "main" if main == META else META, is_migrated=True)
        except BaseException:
            connection.close()
            raise
        return connection

    def _accept(self, connection: sqlite3.Connection, schema: str, path: Path) -> None:
        """Looks at a file's revision, once: later ones only add."""
        file = file_ids([path])[0]
        if file is None or file not in self._accepted:
            self.check_revision(file_revision(connection, schema), f"at {path}")
            if file is not None:
                self._accepted.add(file)

    def _compare_identity(self, connection: sqlite3.Connection, schema: str, *, is_migrated: bool) -> None:
        row = connection.execute(f'SELECT environment FROM "{schema}".crypto_database_identity').fetchone()
        self.check_environment(None if row is None else row[0], is_migrated=is_migrated)

    @contextmanager
    def _stating_errors(self, path: Path) -> Iterator[None]:
        """Turns what a user can mend into a sentence; any other error of SQL passes as it is."""
        try:
            yield
        except (DBAPIError, sqlite3.DatabaseError) as error:
            stated = unreadable(path, (error.orig if isinstance(error, DBAPIError) else None) or error)
            if isinstance(stated, DatabaseError):
                raise stated from error
            raise


def _directory(url: URL) -> Path:
    if not url.database or url.database == ":memory:" or url.host:
        raise UnsupportedDatabase(f"{url} names no directory; use one such as sqlite:///data/testnet.")
    return Path(url.database).absolute()
