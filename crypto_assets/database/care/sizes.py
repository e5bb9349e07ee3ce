"""How many bytes each table takes, indexes included, as the engine counts them.

Counting rows belongs to `queries`, what is done about sizes to `database.care.maintenance`. Called by that, by
`quality.vitals` and `collect.estimate`. Sizes are bytes on the disk of the database.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing

from sqlalchemy import text

from crypto_assets.database.engines import Database
from crypto_assets.database.engines.sqlite import SqliteDatabase
from crypto_assets.database.engines.sqlite_files import open_file
from crypto_assets.database.tables import TABLES


def table_bytes(database: Database) -> dict[str, int]:
    """The bytes of every table that is there, by name. Raises DatabaseError where the database cannot be read."""
    if isinstance(database, SqliteDatabase):
        return _sqlite_bytes(database)
    stored: dict[str, int] = {}
    for unit in database.units:
        if database.revision(unit) is None:
            continue
        with database.connect(unit) as connection:
            # Of a partitioned table all partitions.
            query = _POSTGRESQL if database.engine == "postgresql" else _MYSQL
            stored |= {str(name): int(size) for name, size in connection.execute(text(query), _schema(database, unit))}
    return {name: stored[name] for name in TABLES if name in stored}


_POSTGRESQL = """
SELECT coalesce(parent.relname, own.relname), sum(pg_total_relation_size(own.oid))
FROM pg_class AS own
LEFT JOIN pg_inherits ON inhrelid = own.oid
LEFT JOIN pg_class AS parent ON parent.oid = inhparent
WHERE own.relnamespace = to_regnamespace(:schema) AND own.relkind IN ('r', 'p')
GROUP BY 1
"""
_MYSQL = """
SELECT table_name, coalesce(data_length, 0) + coalesce(index_length, 0)
FROM information_schema.tables WHERE table_schema = :schema
"""


def _schema(database: Database, unit: str) -> dict[str, str]:
    return {"schema": database.schemas[unit]}


def _sqlite_bytes(database: SqliteDatabase) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for name, path in database.files().items():
        if not path.exists():
            continue
        own = [table for table in TABLES if database.unit(table) == name]
        with closing(open_file(path)) as connection:
            # A file of one table is that table; looking at its pages would mean to read them all.
            sizes |= {own[0]: _file_bytes(connection)} if len(own) == 1 else _shares(connection, own)
    return {name: sizes[name] for name in TABLES if name in sizes}


def _file_bytes(connection: sqlite3.Connection) -> int:
    """The size of the file with what is still in its log."""
    pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    return int(pages * size)


def _shares(connection: sqlite3.Connection, tables: list[str]) -> dict[str, int]:
    there = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    own = [table for table in tables if table in there]
    try:
        pages = dict(connection.execute(_DBSTAT).fetchall())
    except sqlite3.OperationalError:
        # SQLite was built without dbstat: the file's size is shared out by rows.
        rows = {table: connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0] for table in own}
        total = sum(rows.values()) or 1
        return {table: _file_bytes(connection) * rows[table] // total for table in own}
    return {table: pages.get(table, 0) for table in own}


_DBSTAT = """
SELECT sqlite_master.tbl_name, sum(dbstat.pgsize)
FROM dbstat JOIN sqlite_master ON sqlite_master.name = dbstat.name
WHERE dbstat.aggregate = TRUE GROUP BY 1
"""
