"""`Database`: what every engine can do. How an engine does it is in the modules beside this one.

Subclassed by `sqlite` and `server`; whatever reads or writes is handed one by `open_database`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crypto_assets.database.errors import DatabaseNotReady, EnvironmentMismatch
from crypto_assets.database.revisions import HEAD, REVISIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from crypto_assets.domain.spans import Span

BUSY_TIMEOUT_SECONDS = 30
"""How long a writer waits for another one before it gives up."""

BACKUP = "crypto_backup"
"""Where copies of tables are kept, by the name that statements give it. No unit: nothing migrates or removes it."""

MIGRATION_TIMEOUT_SECONDS = 300
"""How long a migration waits for another process's."""


@dataclass(frozen=True)
class PoolStatus:
    """Connections: this process's own, in use and idle, and all that the server has of the most it accepts.

    SQLite has no server: `connections` are this process's, `limit` is None.
    """

    checked_out: int
    idle: int
    connections: int
    limit: int | None


class Database(ABC):
    """One environment's tables on one engine. Safe to share between threads, and survives a fork.

    `dispose` closes what is open; it can be used again afterwards. What was found at the right revision once is used
    without asking again: a running process goes on while a newer revision, which only adds, is applied.
    """

    engine: str
    """sqlite, postgresql or mysql."""
    location: str
    """Where it is, as people are told: a directory or a URL without its password."""
    units: tuple[str, ...]
    """What is migrated as one: a file on SQLite, a schema on a server; `crypto_meta` first."""
    schemas: Mapping[str, str]
    """The schema of each logical database and of the backups as SQL names it; empty on SQLite, where it is the file."""

    def __init__(self, environment: str, provider: str, revision: str) -> None:
        self.environment = str(environment)
        self.provider = provider
        self.expected_revision = revision
        self.unpublished: frozenset[str] = frozenset()
        """The columns of candles that the provider does not publish. Set before anything is read."""

    @property
    def told(self) -> dict[str, Any]:
        """What each connection knows of whose data it reads: see `expressions.provider_of` and `unpublished_by`."""
        return {"provider": self.provider, "unpublished": self.unpublished}

    @abstractmethod
    def connect(self, name: str) -> AbstractContextManager[Connection]:
        """A connection to read from; what it sees is one moment. Never commits.

        `name` is a table or a logical database. Raises DatabaseNotReady where nothing was migrated, EnvironmentMismatch
        for another environment's database, DatabaseError where it cannot be reached.
        """

    @abstractmethod
    def begin(self, name: str, also: Sequence[str] = ()) -> AbstractContextManager[Connection]:
        """A connection in one transaction that is committed at the end, rolled back if an exception passes.

        Writers of one table (a candle table, or any of another logical database) take turns, waiting up to 30 seconds,
        so that what a transaction has read still holds when it writes. `also` names what else it writes, for which the
        same goes. Raises as `connect`.
        """

    @abstractmethod
    def unit(self, name: str) -> str:
        """The unit that holds `name`, a table or a logical database. Raises ValueError for an unknown one."""

    @abstractmethod
    def exists(self) -> bool:
        """Whether there is anything at all yet. Raises DatabaseError where that cannot be found out."""

    @abstractmethod
    def check_identity(self) -> None:
        """Raises EnvironmentMismatch if another environment's data is stored here; nothing if there is none yet."""

    @abstractmethod
    def revision(self, unit: str) -> str | None:
        """The revision a unit stands at; None where there is nothing yet."""

    @abstractmethod
    def migration_lock(self) -> AbstractContextManager[None]:
        """Held by one process at a time. Raises DatabaseError after five minutes of waiting."""

    @abstractmethod
    def migrating(self, unit: str) -> AbstractContextManager[Connection]:
        """A connection that changes the schema of one unit, made first where it is missing."""

    @abstractmethod
    def ensure_partitions(self, table: str, span: Span) -> int:
        """Makes the monthly partitions that `span` needs, where the table has any; the number of those it made."""

    @abstractmethod
    def strangers(self, unit: str) -> list[str] | None:
        """The tables and views of a unit that are not ours, in order; None if nothing there was ever migrated."""

    @abstractmethod
    def remove(self, unit: str) -> None:
        """Deletes a unit: the file, or the schema with all that is in it."""

    @abstractmethod
    def backups(self, unit: str | None = None) -> AbstractContextManager[Connection]:
        """A connection that reaches the schema `crypto_backup` and the tables of `unit`, both by their schemas' names.

        With a unit (one that is there, at any revision) it is one transaction in which nobody else writes the unit, and
        the place of the backups is made where it is missing; MySQL commits at once what creates or drops a table.
        Without one it is for reading, and `crypto_backup` may not be there. Raises as `begin`, whom the data belong to
        aside: that is not looked at.
        """

    @abstractmethod
    def pool_status(self) -> PoolStatus:
        """How many connections there are at this moment. Raises DatabaseError where the server cannot be reached."""

    @abstractmethod
    def dispose(self) -> None:
        """Closes all idle connections."""

    def stores_generated_columns(self) -> bool:
        """Whether the engine cannot compute them when they are read."""
        return False

    def schema_sql(self, unit: str) -> str:  # noqa: ARG002 - on SQLite opening the file makes it
        """The statement that makes a unit; empty where none is needed."""
        return ""

    def check_revision(self, found: str | None, where: str) -> None:
        """Raises DatabaseNotReady unless `found` is what this process expects."""
        if found is None:
            raise DatabaseNotReady(f"The database {where} was never migrated; run crypto-assets migrate.")
        if found == self.expected_revision:
            return
        if found not in REVISIONS:
            raise DatabaseNotReady(
                f"The database {where} stands at revision {found}, which this version of crypto-assets does not know;"
                " use the version that made it, or a newer one."
            )
        raise DatabaseNotReady(
            f"The database {where} stands at revision {found}, this version of crypto-assets needs"
            f" {self.expected_revision}; run crypto-assets migrate{'' if found < HEAD else ' with a newer version'}."
        )

    def check_environment(self, found: str | None, *, is_migrated: bool) -> None:
        """Raises EnvironmentMismatch for another environment, DatabaseNotReady where what is migrated names none."""
        if found is None and is_migrated:
            raise DatabaseNotReady(
                f"The database {self.location} does not say whose data it holds; run crypto-assets migrate."
            )
        if found is not None and found != self.environment:
            raise EnvironmentMismatch(
                f"The database {self.location} holds {found} data and cannot be used for {self.environment};"
                " choose another with CRYPTO_ASSETS_DATABASE."
            )
