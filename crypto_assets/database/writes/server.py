"""How rows reach a server: as one text into a temporary table, then compared and moved by three statements.

    stage   the frame's rows, without constraints, seen by this connection only
    compare how many of them are stored under their key, and how many of those differ
    insert  what is not stored
    update  what differs, and nothing else

A frame that is stored already costs one statement that reads. What PostgreSQL and MySQL say differently is in
`postgresql` and `mysql`. Called by those two.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from crypto_assets.database.tables import key_columns
from crypto_assets.database.writes.counts import WriteCounts
from crypto_assets.database.writes.text_rows import text_columns

if TYPE_CHECKING:
    import pandas as pd
    from sqlalchemy import Connection, Table


class ServerWrite(ABC):
    """One frame on its way into one table. In its SQL `t` is the table and `s` the stage."""

    def __init__(self, connection: Connection, table: Table, frame: pd.DataFrame) -> None:
        self.connection = connection
        self.table = table
        self.keys = key_columns(table)
        self.texts = text_columns(frame, table, self.keys)
        self.others = [name for name in self.texts if name not in self.keys]
        self.rows = len(self.texts[self.keys[0]])
        schemas: Any = connection.get_execution_options().get("schema_translate_map") or {}
        self.schema = str(schemas.get(table.schema, table.schema))
        self.target = f"{self.quoted(self.schema)}.{self.quoted(table.name)}"

    def store(self, *, only_existing: bool) -> WriteCounts:
        """Writes what has to be written, as `writes.upsert` says."""
        self.fill_stage()
        existing, differing = self._compare()
        inserted = 0
        if existing < self.rows and not only_existing:
            inserted = self.insert(existing)
            if existing + inserted < self.rows:
                # Another transaction stored some of these keys in between.
                present, differing = self._compare()
                existing = present - inserted
        changed = self.update() if differing else 0
        return WriteCounts(inserted, changed, existing - changed)

    def columns(self, prefix: str = "") -> str:
        """The frame's columns, in its order."""
        return ", ".join(f"{prefix}{self.quoted(name)}" for name in self.texts)

    def same_key(self) -> str:
        """The condition that a row of the table has a staged row's key."""
        return " AND ".join(f"t.{name} = s.{name}" for name in map(self.quoted, self.keys))

    def _compare(self) -> tuple[int, int]:
        differs = f"count(CASE WHEN {self.differs()} THEN 1 END)" if self.others else "0"
        counts = self.connection.exec_driver_sql(f"SELECT count(*), {differs} FROM {self.joined()}").one()
        return int(counts[0]), int(counts[1])

    @abstractmethod
    def quoted(self, name: str) -> str:
        """A name as SQL writes it."""

    @abstractmethod
    def fill_stage(self) -> None:
        """Makes the stage, empty, and brings the rows there."""

    @abstractmethod
    def joined(self) -> str:
        """The staged rows beside the stored ones of their keys, each looked up through the key.

        Told explicitly: no engine has statistics of the stage, and both have chosen plans that compare all with all.
        """

    @abstractmethod
    def differs(self) -> str:
        """The condition that a stored row has another value than the staged one of its key."""

    @abstractmethod
    def insert(self, existing: int) -> int:
        """Stores the rows whose key is not stored, `existing` being those whose key is; how many it stored."""

    @abstractmethod
    def update(self) -> int:
        """Rewrites the stored rows that differ; how many."""
