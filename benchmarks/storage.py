"""Bytes on disk per stored row of a SQLite file."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def bytes_per_row(path: Path, table: str) -> float:
    """The size of the file and of its write-ahead log, after a checkpoint, by the rows of `table` in it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        (rows,) = connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()
        size = sum(file.stat().st_size for file in (path, Path(f"{path}-wal")) if file.exists())
    return size / int(rows)
