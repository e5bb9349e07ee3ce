"""What PostgreSQL and MySQL have in common: one pool of connections, a schema for each logical database.

What they differ in is in `postgresql` and `mysql`. Called by those two.
"""

from __future__ import annotations

import os
import threading
from abc import abstractmethod
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect
from sqlalchemy.engine.interfaces import IsolationLevel
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from crypto_assets.database.engines.base import BACKUP, BUSY_TIMEOUT_SECONDS, Database, PoolStatus
from crypto_assets.database.errors import DatabaseError
from crypto_assets.database.tables import CHANGES, META, QUALITY, TABLES, logical_database, physical_database
from crypto_assets.domain.urls import without_password

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

IDLE_CONNECTIONS = 5
TURN_SECONDS = 5
"""How long a turn waits for another one."""
STOPPED_TURN_SECONDS = 3
"""How long a turn that stopped half-way can keep others waiting: less than they wait."""

CONNECT_TIMEOUT_SECONDS = 10


class ServerDatabase(Database):
    """The schemas of one environment on a server."""

    default_isolation: IsolationLevel | None
    """Of transactions that say nothing else; None where the engine sees to it."""
    _count_connections: str
    """A query for all clients of the server, and how many it accepts."""

    def __init__(self, url: URL, environment: str, provider: str, revision: str) -> None:
        super().__init__(environment, provider, revision)
        self.location = without_password(url.render_as_string(hide_password=True))  # an option may hold one, too
        self.units = tuple(dict.fromkeys(str(table.schema) for table in TABLES.values()))
        self._url = url
        self._made: dict[bool, Engine] = {}  # by whether it is the one for turns
        self._accepted: set[str] = set()
        self._lock = threading.Lock()
        self._process = os.getpid()

    @contextmanager
    def connect(self, name: str) -> Iterator[Connection]:
        with self._stating_errors(), self._pool().connect() as connection:
            self._accept(connection, name)
            # The moment that is read begins with the caller's first statement.
            connection.rollback()
            self._read_one_moment(connection)
            yield connection

    @contextmanager
    def begin(self, name: str, also: Sequence[str] = ()) -> Iterator[Connection]:
        named = {each if each in self.units else physical_database(each) for each in (name, *also)}
        # In one order everywhere, or two processes would wait for each other.
        turns = sorted(named, key=lambda each: (each in (META, QUALITY), each))
        with self._stating_errors(), self._pool().connect() as connection, self._transaction(connection, turns):
            self._accept(connection, name)
            yield connection

    @contextmanager
    def turn(self, name: str) -> Iterator[Connection]:
        """A short transaction, committed at the end, whose row locks are all that keeps others out.

        Quicker than `begin`: on a connection that stays open and is not tried out before. Where the server has closed
        it meanwhile, the first statement fails and the next turn has a new one. No lock is waited for longer than
        TURN_SECONDS. After a power failure PostgreSQL may have forgotten the last of them. Raises as `begin`.
        """
        with self._stating_errors(), self._pool(for_turns=True).begin() as connection:
            self._accept(connection, name)
            yield connection

    def unit(self, name: str) -> str:
        if name in self.units:
            return name
        return logical_database(name) if name in TABLES else physical_database(name)

    def exists(self) -> bool:
        with self._stating_errors(), self._pool().connect() as connection:
            return inspect(connection).has_table("crypto_database_identity", self.schemas[META])

    def check_identity(self) -> None:
        with self._stating_errors(), self._pool().connect() as connection:
            if inspect(connection).has_table("crypto_database_identity", self.schemas[META]):
                self._compare_identity(connection, is_migrated=False)

    def revision(self, unit: str) -> str | None:
        with self._stating_errors(), self._pool().connect() as connection:
            return self._revision(connection, unit)

    @contextmanager
    def migrating(self, unit: str) -> Iterator[Connection]:
        # Every statement is committed by itself: no table stays locked for the rest of a revision, and MySQL knows no
        # other way. A revision's number is written when all of it is there; until then it can be run again.
        with self._committing_each() as connection:
            # Asked first: IF NOT EXISTS needs the right to create one even where it is there.
            if not self._has_schema(connection, self.schemas[unit]):
                connection.exec_driver_sql(self.schema_sql(unit))
            yield connection

    def strangers(self, unit: str) -> list[str] | None:
        schema = self.schemas[unit]
        with self._stating_errors(), self._pool().connect() as connection:
            if not self._has_schema(connection, schema):
                return None
            found = inspect(connection)
            names = {*found.get_table_names(schema), *found.get_view_names(schema)}
        if "alembic_version" not in names:
            return None
        own = (*TABLES.values(), CHANGES)
        ours = ("alembic_version", *(table.name for table in own if table.schema == unit))
        # PostgreSQL's partitions are tables that begin with the name of theirs.
        return sorted(name for name in names if name not in ours and not name.startswith(tuple(f"{o}_2" for o in ours)))

    def remove(self, unit: str) -> None:
        with self._committing_each() as connection:
            self._drop_schema(connection, self.schemas[unit])
        self._accepted.clear()

    @contextmanager
    def backups(self, unit: str | None = None) -> Iterator[Connection]:
        with self._stating_errors(), self._pool().connect() as connection:
            if unit is None:
                yield connection
                return
            with self._transaction(connection, [unit]):
                if not self._has_schema(connection, self.schemas[BACKUP]):
                    connection.exec_driver_sql(self.schema_sql(BACKUP))
                yield connection

    def pool_status(self) -> PoolStatus:
        pool = self._pool().pool
        own = (pool.checkedout(), pool.checkedin()) if isinstance(pool, QueuePool) else (0, 0)
        with self._stating_errors(), self._pool().connect() as connection:
            connections, limit = connection.exec_driver_sql(self._count_connections).one()
        return PoolStatus(*own, int(connections), int(limit))

    def dispose(self) -> None:
        with self._lock:
            made, self._made = self._made, {}
            self._accepted = set()
        for engine in made.values():
            engine.dispose()

    @contextmanager
    def _committing_each(self) -> Iterator[Connection]:
        """A connection on which every statement is committed by itself."""
        with self._stating_errors(), self._pool().connect() as connection:
            yield connection.execution_options(isolation_level="AUTOCOMMIT")

    def _pool(self, *, for_turns: bool = False) -> Engine:
        with self._lock:
            if self._made and self._process != os.getpid():
                # A connection is its parent's: the child forgets it without touching it.
                for engine in self._made.values():
                    engine.dispose(close=False)
                self._made = {}
            if for_turns not in self._made:
                self._process = os.getpid()
                self._made[for_turns] = self._make_pool(for_turns=for_turns)
            return self._made[for_turns]

    def _make_pool(self, *, for_turns: bool) -> Engine:
        with self._stating_misuse():
            made = self._engine(for_turns=for_turns)
        event.listen(made, "do_connect", lambda *asked: self._open(*asked, for_turns=for_turns))
        if not for_turns:
            event.listen(made, "connect", lambda connection, _: self._connected(connection))
        return made

    def _open(self, dialect: Any, _record: Any, arguments: Any, options: Any, *, for_turns: bool) -> Any:
        with self._stating_misuse(dialect.loaded_dbapi.ProgrammingError):
            return self._make_connection(dialect, arguments, options, for_turns=for_turns)

    def _make_connection(self, dialect: Any, arguments: Any, options: Any, *, for_turns: bool) -> Any:  # noqa: ARG002
        return dialect.connect(*arguments, **options)

    @contextmanager
    def _stating_misuse(self, *also: type[Exception]) -> Iterator[None]:
        """Says in a sentence that a driver does not know an option of the URL, or not such a value."""
        kinds: tuple[type[Exception], ...] = (TypeError, ValueError, *also)
        try:
            yield
        except kinds as error:
            said = f"has an option that cannot be used: {str(error).strip().rstrip('.')}"
            raise DatabaseError(f"The URL {self.location} {said}.") from error

    def _engine(self, *, for_turns: bool) -> Engine:
        return create_engine(
            self._url,
            pool_size=1 if for_turns else IDLE_CONNECTIONS,
            max_overflow=-1,
            pool_pre_ping=not for_turns,
            # A turn has ended its transaction by itself; rolling back once more would be a message to the server.
            pool_reset_on_return=None if for_turns else "rollback",
            isolation_level=self.default_isolation and ("READ COMMITTED" if for_turns else self.default_isolation),
            connect_args=self._turn_arguments() if for_turns else self._connect_arguments(),
            execution_options={"schema_translate_map": dict(self.schemas), **self.told},
        )

    def _connect_seconds(self) -> int:
        """How long a server may take to let us in; `connect_timeout` in the URL says otherwise."""
        said = self._url.query.get("connect_timeout")
        return int(said) if isinstance(said, str) and said.isdecimal() and int(said) else CONNECT_TIMEOUT_SECONDS

    def _connected(self, driver_connection: Any) -> None:
        """What is done to each new connection."""

    def _accept(self, connection: Connection, name: str) -> None:
        for unit in dict.fromkeys((META, self.unit(name), QUALITY)):
            if unit in self._accepted:
                continue
            found = self._revision(connection, unit)
            if found is None and unit == QUALITY and self.unit(name) != QUALITY:
                continue  # not made yet, and perhaps not needed
            self.check_revision(found, f"{unit} in {self.location}")
            if unit == META:
                self._compare_identity(connection, is_migrated=True)
            self._accepted.add(unit)

    def _revision(self, connection: Connection, unit: str) -> str | None:
        schema = self.schemas[unit]
        if not inspect(connection).has_table("alembic_version", schema):
            return None
        row = connection.exec_driver_sql(f"SELECT version_num FROM {self._quoted(schema)}.alembic_version").first()
        return None if row is None else str(row[0])

    def _compare_identity(self, connection: Connection, *, is_migrated: bool) -> None:
        table = f"{self._quoted(self.schemas[META])}.crypto_database_identity"
        found = connection.exec_driver_sql(f"SELECT environment FROM {table}").scalar()
        self.check_environment(found, is_migrated=is_migrated)

    def _quoted(self, name: str) -> str:
        return self._pool().dialect.identifier_preparer.quote(name)

    @contextmanager
    def _stating_errors(self) -> Iterator[None]:
        """Turns what a user can mend into a sentence; any other error of SQL passes as it is."""
        try:
            yield
        except DBAPIError as error:
            sentence = self._sentence(error)
            if sentence is None:
                raise
            raise DatabaseError(sentence) from error

    @abstractmethod
    def _connect_arguments(self) -> dict[str, Any]:
        """Arguments of the driver."""

    @abstractmethod
    def _turn_arguments(self) -> dict[str, Any]:
        """The same for `turn`: short waits, and no server that says nothing is waited for."""

    @abstractmethod
    def _read_one_moment(self, connection: Connection) -> None:
        """Makes all statements of the connection's transaction see the same moment."""

    @abstractmethod
    def _transaction(self, connection: Connection, names: Sequence[str]) -> AbstractContextManager[None]:
        """A transaction in which no other writer of `names` is; waits for each up to 30 seconds, in that order."""

    @abstractmethod
    def _has_schema(self, connection: Connection, schema: str) -> bool:
        """Whether a schema is there."""

    @abstractmethod
    def _drop_schema(self, connection: Connection, schema: str) -> None:
        """Drops a schema with all that is in it."""

    @abstractmethod
    def _sentence(self, error: DBAPIError) -> str | None:
        """What a user can do about an error; None where that is nothing."""


def month_starts(first: datetime, last: datetime) -> list[datetime]:
    """The first moments of the months from that of `first` to that of `last`, both included."""
    months = range(first.year * 12 + first.month - 1, last.year * 12 + last.month)
    return [datetime(month // 12, month % 12 + 1, 1) for month in months]  # noqa: DTZ001 - stored times are naive UTC


def waited_in_vain(name: str) -> DatabaseError:
    """The error of a writer that did not get its turn."""
    return DatabaseError(f"Another process has been writing {name} for {BUSY_TIMEOUT_SECONDS} seconds; try again.")
