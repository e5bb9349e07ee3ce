"""Maintenance: statistics for the planner, unused space given back, sizes stored as measurements.

    states = maintain(database)                       # tidies every table, then measures it
    record(database, states, moment, {"index_use_share": 1.0})

Making partitions ahead of need and moving old candles away belong to the caller. Called by
`orchestration.assets.operations` and the benchmarks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from crypto_assets.database.care.sizes import table_bytes
from crypto_assets.database.engines import Database
from crypto_assets.database.engines.sqlite import SqliteDatabase
from crypto_assets.database.engines.sqlite_files import open_file, unreadable
from crypto_assets.database.queries import row_count
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.intervals import naive_utc

FREE_SHARE = 0.1
"""Above this share of unused space a file or table is written anew."""

_FREE_BYTES = 16 * 2**20
"""MySQL keeps some megabytes free in each file for what comes next; less than this is none to win back."""

_ANALYSIS_LIMIT = 1000
"""Entries of each index that SQLite looks at: enough for its planner, and no reading of the whole file."""

METRICS = "crypto_operational_metrics"


@dataclass(frozen=True)
class TableState:
    """What a table holds and takes, and whether it was written anew to give space back."""

    table: str
    rows: int
    bytes: int
    compacted: bool = False

    @property
    def bytes_per_row(self) -> float | None:
        """Bytes on disk by row, indexes and all; None for a table without rows."""
        return self.bytes / self.rows if self.rows else None


def maintain(database: Database) -> list[TableState]:
    """Refreshes statistics and gives unused space back, table by table, then says what each holds.

    Readers and writers may go on meanwhile; what is locked all the time is left as it is until the next time. Parts of
    the database that were never migrated are left out. Raises DatabaseError where the database cannot be reached.
    """
    compacted: set[str] = set()
    for unit in database.units:
        if database.revision(unit) is not None:
            own = [name for name in TABLES if database.unit(name) == unit]
            compacted |= _tidy(database, unit, own)
    return measure(database, compacted)


def measure(database: Database, compacted: set[str] | None = None) -> list[TableState]:
    """The state of every table that is there; counts all rows, changes nothing. Raises as `maintain` does."""
    states = []
    for name, size in table_bytes(database).items():
        with database.connect(name) as connection:
            rows = row_count(connection, TABLES[name])
        states.append(TableState(name, rows, size, name in (compacted or set())))
    return states


def record(
    database: Database, states: list[TableState], moment: datetime, figures: Mapping[str, float] | None = None
) -> int:
    """Stores the states as of `moment` (UTC) in `crypto_operational_metrics`, and `figures` of the whole; their number.

    The same moment again replaces what was stored for it. Raises DatabaseError where that cannot be written.
    """
    measured: list[tuple[str, float, dict[str, str]]] = [(name, value, {}) for name, value in (figures or {}).items()]
    for state in states:
        tags = {"table": state.table}
        measured += [("table_bytes", state.bytes, tags), ("table_rows", state.rows, tags)]
        if state.bytes_per_row is not None:
            measured.append(("bytes_per_row", state.bytes_per_row, tags))
    rows = [_metric(name, value, tags, moment) for name, value, tags in measured]
    table = TABLES[METRICS]
    with database.begin(METRICS) as connection:
        connection.execute(table.delete().where(table.c.id.in_([row["id"] for row in rows])))
        if rows:
            connection.execute(table.insert(), rows)
    return len(rows)


def _metric(name: str, value: float, tags: dict[str, str], moment: datetime) -> dict[str, Any]:
    naive = naive_utc(moment)
    return {
        "id": "_".join([name, *tags.values(), naive.isoformat(timespec="milliseconds")]),
        "metric_name": name,
        "provider": None,
        "metric_value": float(value),
        "metric_tags": tags,
        "timestamp": naive,
    }


def _tidy(database: Database, unit: str, tables: list[str]) -> set[str]:
    """Tidies a unit; the tables that were written anew."""
    if isinstance(database, SqliteDatabase):
        return set(tables) if _tidy_file(database.path(unit)) else set()
    with database.migrating(unit) as connection:
        connection.commit()
        connection.execution_options(isolation_level="AUTOCOMMIT")  # as VACUUM must be
        schema = connection.dialect.identifier_preparer.quote(database.schemas[unit])
        if database.engine == "postgresql":
            for table in tables:
                # A table whose schema another process is changing is left for the next time; we do not wait for it.
                connection.exec_driver_sql(f"VACUUM (ANALYZE, SKIP_LOCKED) {schema}.{table}")
            return set()
        return {table for table in tables if _tidy_mysql(connection, database.schemas[unit], schema, table)}


def _tidy_file(path: Path) -> bool:
    with closing(open_file(path)) as connection:
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            connection.execute(f"PRAGMA analysis_limit = {_ANALYSIS_LIMIT}").fetchone()
            connection.execute("ANALYZE")
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            free = connection.execute("PRAGMA freelist_count").fetchone()[0]
            wasteful = free > FREE_SHARE * pages
            if wasteful:
                connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.OperationalError as error:
            # The next time does it: a busy file, or a disk without room for a second copy.
            if "locked" not in str(error) and "full" not in str(error):
                raise unreadable(path, error) from error
            return False
    return bool(wasteful)


def _tidy_mysql(connection: Connection, schema: str, quoted: str, table: str) -> bool:
    connection.exec_driver_sql(f"ANALYZE TABLE {quoted}.{table}").all()
    # Each partition is a file of its own and keeps something free.
    query = text(
        "SELECT coalesce(sum(CASE WHEN data_free > :some THEN data_free END), 0), coalesce(sum(data_length), 0)"
        " FROM information_schema.partitions WHERE table_schema = :schema AND table_name = :table"
    )
    free, size = connection.execute(query, {"schema": schema, "table": table, "some": _FREE_BYTES}).one()
    wasteful = float(free) > FREE_SHARE * float(free + size)
    if wasteful:
        # What goes wrong is told in a row, not as an error.
        told = connection.exec_driver_sql(f"OPTIMIZE TABLE {quoted}.{table}").mappings().all()
        wasteful = all(str(row["Msg_type"]).lower() != "error" for row in told)
    return bool(wasteful)
