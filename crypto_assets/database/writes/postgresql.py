"""PostgreSQL's way of writing: COPY, into a temporary table that each connection keeps, or straight into the table.

Candles of an entity in a range of which nothing is stored, as a new history is, go straight: that saves the stage and
the comparison. Called by `writes` only.
"""

from __future__ import annotations

import re
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
import pyarrow.compute as pc
from psycopg import errors
from sqlalchemy.exc import DBAPIError, IntegrityError

from crypto_assets.database.errors import DatabaseError
from crypto_assets.database.writes.counts import WriteCounts
from crypto_assets.database.writes.server import ServerWrite
from crypto_assets.database.writes.text_rows import text_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

_MONTH = re.compile(r"\d{4}-\d{2}(?=-\d{2} \d{2}:)")


class PostgresqlWrite(ServerWrite):
    """One frame on its way into a table of PostgreSQL."""

    def quoted(self, name: str) -> str:
        """A name as SQL writes it."""
        return f'"{name}"'

    def store(self, *, only_existing: bool) -> WriteCounts:
        """Writes what has to be written, as `writes.upsert` says."""
        if not only_existing and self.nothing_stored() and self._copied_into_table():
            return WriteCounts(inserted=self.rows)
        return super().store(only_existing=only_existing)

    def nothing_stored(self) -> bool:
        """Whether no candle of the frame's entity is stored between the frame's first and last time.

        Only such ranges are narrow enough to ask: of several entities, or by any other key, it says no.
        """
        if self.keys != ["entity_id", "timestamp"]:
            return False
        entities = self.texts["entity_id"].unique().to_pylist()
        if len(entities) > 1:
            return False
        span = pc.min_max(self.texts["timestamp"]).as_py()  # as texts, which are of one width
        found = self.connection.exec_driver_sql(
            f"SELECT EXISTS (SELECT FROM {self.target} WHERE entity_id = %s AND timestamp BETWEEN %s AND %s)",
            (entities[0], span["min"], span["max"]),
        )
        return not found.scalar()

    def _copied_into_table(self) -> bool:
        """Copies the rows into the table; False, and nothing is written, where one of their keys is stored after all.

        That is one which another transaction stored since `nothing_stored`.
        """
        try:
            with self.connection.begin_nested(), self._naming_the_month():
                self._copy(self.target)
        except IntegrityError as error:
            if isinstance(error.orig, errors.UniqueViolation):
                return False
            raise
        return True

    @property
    def stage(self) -> str:
        """The temporary table for these columns of the table. Frames of other columns have another."""
        return f"pg_temp.{self.table.name}_stage_{zlib.crc32(self.columns().encode()):08x}"

    def fill_stage(self) -> None:
        """Makes the stage, empty, and copies the rows there."""
        # Made once per connection, as each makes entries in the catalogue; a transaction's end empties it.
        self.connection.exec_driver_sql(
            f"CREATE TEMPORARY TABLE IF NOT EXISTS {self.stage.removeprefix('pg_temp.')} ON COMMIT DELETE ROWS"
            f" AS SELECT {self.columns()} FROM {self.target} WITH NO DATA"
        )
        if self.connection.exec_driver_sql(f"SELECT EXISTS (SELECT FROM {self.stage})").scalar():
            self.connection.exec_driver_sql(f"TRUNCATE {self.stage}")
        self._copy(self.stage)

    def _copy(self, target: str) -> None:
        statement = f"COPY {target} ({self.columns()}) FROM STDIN"
        driver = self.connection.connection.driver_connection
        if not isinstance(driver, psycopg.Connection):
            raise TypeError(f"{type(driver).__name__} is no connection of psycopg")
        try:
            with driver.cursor() as cursor, cursor.copy(statement) as copy:
                copy.write(memoryview(text_rows(self.texts, self.table)))
        except psycopg.Error as error:
            # As SQLAlchemy would have raised it.
            dialect = self.connection.dialect
            lost = driver.broken
            if lost:
                self.connection.invalidate(error)
            raise DBAPIError.instance(
                statement, None, error, psycopg.Error, connection_invalidated=lost, dialect=dialect
            ) from error

    def joined(self) -> str:
        """The staged rows beside the stored ones of their keys."""
        # OFFSET 0 keeps the planner from turning it into a join of its own choice.
        return f"{self.stage} s CROSS JOIN LATERAL (SELECT * FROM {self.target} t WHERE {self.same_key()} OFFSET 0) t"

    def differs(self) -> str:
        """The condition that a stored row has another value than the staged one of its key."""
        stored, staged = (", ".join(f"{row}.{self.quoted(name)}" for name in self.others) for row in "ts")
        return f"({stored}) IS DISTINCT FROM ({staged})"

    def insert(self, existing: int) -> int:  # noqa: ARG002 - ON CONFLICT finds those that are stored
        """Stores the rows whose key is not stored; how many. Raises DatabaseError where a month has no partition."""
        with self._naming_the_month():
            return self.connection.exec_driver_sql(
                f"INSERT INTO {self.target} ({self.columns()}) SELECT {self.columns()} FROM {self.stage}"
                f" ON CONFLICT ({', '.join(map(self.quoted, self.keys))}) DO NOTHING"
            ).rowcount

    @contextmanager
    def _naming_the_month(self) -> Iterator[None]:
        """Says which month has no partition, where that is why rows are refused."""
        try:
            yield
        except IntegrityError as error:
            month = _MONTH.search(str(error.orig))  # none where the time itself is missing
            if month and isinstance(error.orig, errors.CheckViolation) and "no partition" in str(error.orig):
                raise DatabaseError(
                    f"{self.table.name} has no partition for {month.group()};"
                    " call Database.ensure_partitions for the span before writing it."
                ) from error
            raise

    def update(self) -> int:
        """Rewrites the stored rows that differ; how many."""
        # As an insert whose every row is in conflict, since that looks up each key, whatever the planner believes. So
        # it has to name every column, or a required one would be missing.
        own = [column.name for column in self.table.columns if column.computed is None]
        values = ", ".join(f"{'s' if name in self.texts else 't'}.{self.quoted(name)}" for name in own)
        assigned = ", ".join(f"{name} = excluded.{name}" for name in map(self.quoted, self.others))
        return self.connection.exec_driver_sql(
            f"INSERT INTO {self.target} ({', '.join(map(self.quoted, own))})"
            f" SELECT {values} FROM {self.joined()} WHERE {self.differs()}"
            f" ON CONFLICT ({', '.join(map(self.quoted, self.keys))}) DO UPDATE SET {assigned}"
        ).rowcount
