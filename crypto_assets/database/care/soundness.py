"""Whether the engine finds its own files and structures sound, and how fast it answers.

Whether the stored candles are right belongs to `quality`. Called by `quality.vitals`, which adds the other vitals.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text

from crypto_assets.database.care.standard_queries import last_candles
from crypto_assets.database.engines import Database
from crypto_assets.database.engines.sqlite import SqliteDatabase
from crypto_assets.database.engines.sqlite_files import open_file
from crypto_assets.database.tables import TABLES

_ATTEMPTS = 3


@dataclass(frozen=True)
class Integrity:
    """How many files, tables or schemas were examined, and what is wrong, one line each."""

    examined: int
    faults: list[str]


def integrity(database: Database) -> Integrity:
    """What the engine's own check finds in what is there: SQLite's pages, PostgreSQL's catalogue, MySQL's tables.

    Raises DatabaseError where the database cannot be read at all.
    """
    if isinstance(database, SqliteDatabase):
        paths = [path for path in database.files().values() if path.exists()]
        return Integrity(len(paths), [fault for path in paths for fault in _file_faults(path)])
    units = [unit for unit in database.units if database.revision(unit) is not None]
    find = _invalid_structures if database.engine == "postgresql" else _faulty_tables
    return Integrity(len(units), [fault for unit in units for fault in find(database, unit)])


def query_milliseconds(database: Database, table: str) -> float:
    """How long the last 1,000 candles of one symbol take, in milliseconds: the best of three times."""
    with database.connect(table) as connection:
        statement = last_candles(connection, TABLES[table])
        taken = []
        for _ in range(_ATTEMPTS):
            started = time.perf_counter()
            connection.execute(statement).all()
            taken.append(time.perf_counter() - started)
    return 1000 * min(taken)


def _file_faults(path: Path) -> list[str]:
    try:
        with closing(open_file(path)) as connection:
            answer = [str(row[0]) for row in connection.execute("PRAGMA quick_check(5)")]
    except sqlite3.DatabaseError as error:
        answer = [str(error)]
    return [] if answer == ["ok"] else [f"{path.name}: {line}" for line in answer]


_INVALID = """
SELECT 'index ' || indexrelid::regclass::text FROM pg_index
JOIN pg_class ON pg_class.oid = indexrelid
WHERE relnamespace = to_regnamespace(:schema) AND NOT (indisvalid AND indisready)
UNION ALL
SELECT 'constraint ' || conname || ' of ' || conrelid::regclass::text FROM pg_constraint
WHERE connamespace = to_regnamespace(:schema) AND NOT convalidated
"""


def _invalid_structures(database: Database, unit: str) -> list[str]:
    with database.connect(unit) as connection:
        return [f"invalid {name}" for name in connection.scalars(text(_INVALID), {"schema": database.schemas[unit]})]


def _faulty_tables(database: Database, unit: str) -> list[str]:
    faults = []
    with database.connect(unit) as connection:
        quote = connection.dialect.identifier_preparer.quote
        for table in (name for name in TABLES if database.unit(name) == unit):
            answer = connection.exec_driver_sql(f"CHECK TABLE {quote(database.schemas[unit])}.{table} QUICK").all()
            # (table, operation, kind of message, message); the last one is the verdict.
            if str(answer[-1][-1]) not in ("OK", "Table is already up to date"):
                faults.append(f"{table}: {answer[-1][-1]}")
    return faults
