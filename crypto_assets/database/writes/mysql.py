"""MySQL's and MariaDB's way of writing: LOAD DATA into a temporary table. Called by `writes` only.

Neither stores infinities, and a zero loses its sign; every other double comes back bit for bit, subnormal ones too.
"""

from __future__ import annotations

import pyarrow.compute as pc
from sqlalchemy import Double
from sqlalchemy.exc import DBAPIError

from crypto_assets.database.engines.mysql_connection import MysqlConnection
from crypto_assets.database.writes.server import ServerWrite
from crypto_assets.database.writes.text_rows import text_rows

_NO_LOCAL_FILES = frozenset((1148, 2068, 3948, 3950, 4166))
"""How servers and clients say that LOAD DATA LOCAL is switched off."""
_REFUSED = "crypto_assets_local_files_refused"


class MysqlWrite(ServerWrite):
    """One frame on its way into a table of MySQL or MariaDB."""

    def quoted(self, name: str) -> str:
        """A name as SQL writes it."""
        return f"`{name}`"

    @property
    def stage(self) -> str:
        """The temporary table."""
        return f"{self.quoted(self.schema)}.{self.quoted(f'{self.table.name}_stage')}"

    def fill_stage(self) -> None:
        """Makes the stage, empty, and loads the rows there. Raises ValueError for infinities."""
        self._refuse_infinities()
        self._make_stage()
        if not self.connection.info.get(_REFUSED):
            try:
                self.load()
            except DBAPIError as error:
                if error.orig is None or error.orig.args[0] not in _NO_LOCAL_FILES:
                    raise
                self.connection.info[_REFUSED] = True
            else:
                # LOAD DATA LOCAL only warns where it cuts a text or clamps a number.
                if not self.connection.exec_driver_sql("SELECT @@warning_count").scalar():
                    return
                self._make_stage()
        self._insert_into_stage()

    def _refuse_infinities(self) -> None:
        for name, text in self.texts.items():
            if isinstance(self.table.c[name].type, Double) and pc.any(pc.match_substring(text, "inf")).as_py():
                raise ValueError(f"column {name!r} of {self.table.name}: MySQL cannot store an infinite number")

    def _make_stage(self) -> None:
        # TRUNCATE would commit.
        self.connection.exec_driver_sql(f"DROP TEMPORARY TABLE IF EXISTS {self.stage}")
        self.connection.exec_driver_sql(
            f"CREATE TEMPORARY TABLE {self.stage} AS SELECT {self.columns()} FROM {self.target} WHERE FALSE"
        )

    def load(self) -> None:
        """Loads the rows into the stage, from memory."""
        driver = self.connection.connection.driver_connection
        if not isinstance(driver, MysqlConnection):
            raise TypeError(f"{type(driver).__name__} is no connection that can be offered rows")
        with driver.offering(memoryview(text_rows(self.texts, self.table))) as name:
            self.connection.exec_driver_sql(
                f"LOAD DATA LOCAL INFILE %s INTO TABLE {self.stage} CHARACTER SET utf8mb4 ({self.columns()})", (name,)
            )

    def _insert_into_stage(self) -> None:
        """The same by INSERT: slower, but allowed everywhere, and it refuses what does not fit."""
        rows = list(zip(*(text.to_pylist() for text in self.texts.values()), strict=True))
        places = ", ".join(["%s"] * len(self.texts))
        self.connection.exec_driver_sql(f"INSERT INTO {self.stage} ({self.columns()}) VALUES ({places})", rows)

    def joined(self) -> str:
        """The staged rows beside the stored ones of their keys."""
        return f"{self.stage} s STRAIGHT_JOIN {self.target} t FORCE INDEX (PRIMARY) ON {self.same_key()}"

    def differs(self) -> str:
        """The condition that a stored row has another value than the staged one of its key."""
        return f"NOT ({' AND '.join(f't.{name} <=> s.{name}' for name in map(self.quoted, self.others))})"

    def insert(self, existing: int) -> int:
        """Stores the rows whose key is not stored; how many."""
        statement = f"INSERT INTO {self.target} ({self.columns()}) SELECT {self.columns('s.')} FROM {self.stage} s"
        if not existing:
            return self.connection.exec_driver_sql(statement).rowcount
        return self.connection.exec_driver_sql(
            f"{statement} LEFT JOIN {self.target} t FORCE INDEX (PRIMARY) ON {self.same_key()}"
            f" WHERE t.{self.quoted(self.keys[0])} IS NULL"
        ).rowcount

    def update(self) -> int:
        """Rewrites the stored rows that differ; how many."""
        assigned = ", ".join(f"t.{name} = s.{name}" for name in map(self.quoted, self.others))
        statement = f"UPDATE {self.joined()} SET {assigned} WHERE {self.differs()}"
        return self.connection.exec_driver_sql(statement).rowcount
