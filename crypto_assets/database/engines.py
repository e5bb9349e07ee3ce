"""Files, connections and transactions of one environment's database.

    database = Database("sqlite:///data/testnet", "testnet")
    with database.begin("cryptopair_1m_kdata") as connection:      # one transaction, committed at the end
        upsert(connection, TABLES["cryptopair_1m_kdata"], frame)
    with database.connect("crypto_quality") as connection:         # reads one snapshot, rolled back at the end
        ...

A connection's main file is the one that owns the named table; `crypto_meta` and `crypto_quality` are attached under
their schema names, so that the same Table objects, and set-based SQL across files, work on every connection. Names of
the main file's tables are written without a schema in plain SQL.

Here belongs how a database is opened. Creating and upgrading files belongs to `migrations`; nothing here creates one.
Only SQLite is served now: another engine gets a class with the same methods, chosen by the URL's scheme in
`open_database`. Called by `migrations`, `queries`, `quality`, `orchestration` and `cli`.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.pool import QueuePool

from crypto_assets.database.errors import DatabaseError, DatabaseNotReady, EnvironmentMismatch, UnsupportedDatabase
from crypto_assets.database.revisions import HEAD
from crypto_assets.database.tables import META, PHYSICAL_DATABASES, QUALITY, TABLES, physical_database
from crypto_assets.domain.entities import PROVIDER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from crypto_assets.settings import Settings

BUSY_TIMEOUT_SECONDS = 30
ATTACHED = (META, QUALITY)
"""What every connection can reach beside its main file; also the order in which `begin` locks them, after the rest."""

_IDLE_CONNECTIONS = 2


def open_database(settings: Settings, provider: str = PROVIDER) -> Database:
    """The database that the settings name. Opens no file. Raises UnsupportedDatabase for a URL it cannot serve."""
    return Database(settings.database_url, settings.environment, provider)


class Database:
    """A directory of SQLite files: `{directory}/{provider}/{provider}_{name}.db`.

    Safe to share between threads, and survives a fork. `dispose` closes what is open; it can be used again afterwards.
    """

    def __init__(self, url: str, environment: str, provider: str = PROVIDER) -> None:
        self.environment = str(environment)
        self.provider = provider
        self.directory = _sqlite_directory(url)
        self._engines: dict[str, Engine] = {}
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
        """A connection to read from; what it sees is one moment of each file. Never commits.

        Raises DatabaseNotReady where nothing was migrated, EnvironmentMismatch for another environment's database.
        """
        with self._engine(physical_database(name)).connect() as connection:
            yield connection

    @contextmanager
    def begin(self, name: str, also: Sequence[str] = ()) -> Iterator[Connection]:
        """A connection in one transaction that is committed at the end, rolled back if an exception passes.

        The write lock of the main file, and of the attached databases in `also`, is taken at once, waiting up to 30
        seconds: a transaction that reads first and writes later would otherwise fail at once when another writer was
        faster. Without `also`, attached databases can still be written, with that risk. Raises as `connect` does.
        """
        main = physical_database(name)
        locked = sorted({main, *map(physical_database, also)}, key=lambda each: (each in ATTACHED, each))
        with self._engine(main).begin() as connection:
            for each in locked:
                # A write that changes nothing takes the lock. BEGIN IMMEDIATE would lock the attached files too, and
                # every writer of candles would wait for every other.
                schema = "main" if each == main else each
                connection.exec_driver_sql(f'DELETE FROM "{schema}".alembic_version WHERE 0')
            yield connection

    def check_identity(self) -> None:
        """Raises EnvironmentMismatch if these files hold another environment's data; nothing if there are none yet."""
        path = self.path(META)
        if not path.exists():
            return
        connection = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=BUSY_TIMEOUT_SECONDS)
        try:
            if _has_table(connection, "main", "crypto_database_identity"):
                self._compare_identity(connection, "main")
        except sqlite3.DatabaseError as error:
            raise _unreadable(path, error) from error
        finally:
            connection.close()

    def dispose(self) -> None:
        """Closes all idle connections."""
        with self._lock:
            engines, self._engines = self._engines, {}
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
            record.info["files"] = _file_ids(paths)

        @event.listens_for(engine, "checkout")
        def notice_replaced_files(_connection: Any, record: Any, _proxy: Any) -> None:
            # A file that was deleted, replaced or attached since would otherwise be written to in vain.
            if record.info["files"] != _file_ids(paths):
                raise DisconnectionError("the database's files changed")

        use_explicit_transactions(engine)
        schema = str(TABLES[main].schema) if main in TABLES else main
        return engine.execution_options(schema_translate_map={schema: None})

    def _reachable_paths(self, main: str) -> list[Path]:
        return [self.path(name) for name in (main, *(each for each in ATTACHED if each != main))]

    def _open(self, main: str) -> sqlite3.Connection:
        path = self.path(main)
        if not path.exists():
            raise DatabaseNotReady(f"There is no database at {path}; run crypto-assets migrate.")
        connection = open_file(path)
        try:
            self._check_revision(connection, "main", path)
            for each in ATTACHED:
                if each != main and self.path(each).exists():
                    _attach(connection, each, self.path(each))
                    self._check_revision(connection, each, self.path(each))
            if main == META or self.path(META).exists():
                self._compare_identity(connection, "main" if main == META else META)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_revision(self, connection: sqlite3.Connection, schema: str, path: Path) -> None:
        found = None
        if _has_table(connection, schema, "alembic_version"):
            found = connection.execute(f'SELECT version_num FROM "{schema}".alembic_version').fetchone()
        if found is None:
            raise DatabaseNotReady(f"The database at {path} was never migrated; run crypto-assets migrate.")
        if found[0] != HEAD:
            raise DatabaseNotReady(
                f"The database at {path} stands at revision {found[0]}, this version of crypto-assets needs {HEAD};"
                " run crypto-assets migrate."
            )

    def _compare_identity(self, connection: sqlite3.Connection, schema: str) -> None:
        row = connection.execute(f'SELECT environment FROM "{schema}".crypto_database_identity').fetchone()
        if row is not None and row[0] != self.environment:
            raise EnvironmentMismatch(
                f"The database in {self.directory} holds {row[0]} data and cannot be used for {self.environment};"
                " choose another with CRYPTO_ASSETS_DATABASE."
            )


def open_file(path: Path, *, create: bool = False) -> sqlite3.Connection:
    """A connection to one file with our settings: WAL, 30 s of patience, foreign keys, no implicit transactions."""
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode={'rwc' if create else 'rw'}",
        uri=True,
        timeout=BUSY_TIMEOUT_SECONDS,
        isolation_level=None,
        check_same_thread=False,  # the pool hands a connection to one thread at a time
    )
    try:
        if create:
            connection.execute(
                "PRAGMA page_size = 8192"
            )  # heeded by an empty file only; rows cost a tenth less to write
        # Asked first: setting it needs a lock, and a file remembers it.
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
    except sqlite3.DatabaseError as error:
        connection.close()
        raise _unreadable(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _attach(connection: sqlite3.Connection, schema: str, path: Path) -> None:
    try:
        connection.execute(f'ATTACH ? AS "{schema}"', (f"{path.as_uri()}?mode=rw",))
        connection.execute(f'PRAGMA "{schema}".synchronous = NORMAL')  # every file has its own
    except sqlite3.DatabaseError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: sqlite3.DatabaseError) -> Exception:
    """A sentence for what is no database; `error` itself for what may pass, such as a lock."""
    if type(error) is not sqlite3.DatabaseError:
        return error
    return DatabaseError(f"{path} cannot be read ({error}); restore it from a backup.")


def use_explicit_transactions(engine: Engine, statement: str = "BEGIN") -> None:
    """Makes SQLAlchemy begin transactions itself: sqlite3's own would end them before DDL and skip them for reads."""

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(statement)


def _has_table(connection: sqlite3.Connection, schema: str, table: str) -> bool:
    query = f"SELECT 1 FROM \"{schema}\".sqlite_master WHERE type = 'table' AND name = ?"
    return connection.execute(query, (table,)).fetchone() is not None


def _file_ids(paths: list[Path]) -> list[tuple[int, int] | None]:
    ids: list[tuple[int, int] | None] = []
    for path in paths:
        try:
            status = path.stat()
            ids.append((status.st_dev, status.st_ino))
        except FileNotFoundError:
            ids.append(None)
    return ids


def _sqlite_directory(url: str) -> Path:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise UnsupportedDatabase(f"{url!r} is not a database URL such as sqlite:///data/testnet.") from None
    shown = parsed.render_as_string(hide_password=True)
    if parsed.get_backend_name() != "sqlite":
        raise UnsupportedDatabase(f"{shown} is not supported yet; use a directory such as sqlite:///data/testnet.")
    if not parsed.database or parsed.database == ":memory:" or parsed.host:
        raise UnsupportedDatabase(f"{shown} names no directory; use one such as sqlite:///data/testnet.")
    return Path(parsed.database).absolute()
