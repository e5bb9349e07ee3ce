"""Pieces of text in a server's database that processes on several machines change one at a time.

Here belongs that a change is applied to what the last one left, and that the connection for it comes back after the
server dropped it. What the text means belongs to the caller, and so does going on without the database. Made by
`orchestration.resources` for `collect.shared_budget`, whose texts are the accounts of request weight.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from crypto_assets.database.engines import open_database
from crypto_assets.database.engines.server import ServerDatabase
from crypto_assets.database.errors import DatabaseError, UnsupportedDatabase
from crypto_assets.database.tables import TABLES

_T = TypeVar("_T")

TABLE = "crypto_weight_ledger"

_TABLE = TABLES[TABLE]
# Made once: they are sent with every request to the exchange, and composing them takes longer than sending them.
_READ = select(_TABLE.c.state).where(_TABLE.c.host == bindparam("name")).with_for_update()
_WRITE = (
    update(_TABLE)
    .where(_TABLE.c.host == bindparam("name"))
    .values(state=bindparam("after"), updated_timestamp=bindparam("moment"))
)


class SharedState:
    """The rows of `crypto_weight_ledger` in the database at `url`, a server. For one thread at a time.

    Connects when it is first needed. Raises UnsupportedDatabase for SQLite.
    """

    def __init__(self, url: str, environment: str) -> None:
        database = open_database(url, environment)
        if not isinstance(database, ServerDatabase):
            raise UnsupportedDatabase(f"{database.location} is no server: other machines cannot share it.")
        self._database = database

    @property
    def location(self) -> str:
        """The URL without its password."""
        return self._database.location

    def change(self, name: str, apply: Callable[[str], tuple[_T, str]]) -> _T:
        """Changes the text called `name` while nobody else can; returns what `apply` returns beside the text to keep.

        A name without a text has an empty one. `apply` may be called again when the connection was lost. Raises
        DatabaseError where the server cannot be used, or the text was not to be had for five seconds.
        """
        try:
            return self._change(name, apply)
        except (DatabaseError, DBAPIError) as error:
            cause = error.__cause__ if isinstance(error, DatabaseError) else error
            if not isinstance(cause, DBAPIError) or not cause.connection_invalidated:
                raise
            # The server has closed it while it was idle, or was started again. The next one is new.
            return self._change(name, apply)

    def _change(self, name: str, apply: Callable[[str], tuple[_T, str]]) -> _T:
        while True:
            with self._database.turn(TABLE) as connection:
                before = connection.execute(_READ, {"name": name}).scalar()
                if before is not None:
                    result, after = apply(before)
                    if after != before:
                        connection.execute(_WRITE, {"name": name, "after": after, "moment": datetime.now(UTC)})
                    return result
            self._make(name)

    def _make(self, name: str) -> None:
        """The row, in a transaction of its own: with locks of a search that found nothing, two would deadlock."""
        row = {"host": name, "state": "", "updated_timestamp": datetime.now(UTC)}
        try:
            with self._database.turn(TABLE) as connection:
                connection.execute(insert(_TABLE).values(row))
        except IntegrityError:
            return  # somebody else was quicker

    def close(self) -> None:
        """Closes the connection; a new one is made when it is needed."""
        self._database.dispose()
