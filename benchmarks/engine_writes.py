"""Rows per second and CPU per row of one way of writing, on one engine, in a process of its own.

CPU time is this process's: on a server it is the client's share alone, and what counts there is the wall clock.
"""

from __future__ import annotations

import time
from typing import Any

import pandas as pd

from benchmarks.engine_candles import TABLE, batches, prepare
from benchmarks.engine_ways import UNKEYED, WAYS, make_unkeyed
from benchmarks.processes import cpu_seconds
from crypto_assets.database.care.maintenance import maintain
from crypto_assets.database.engines import Database
from crypto_assets.database.tables import KDATA, TABLES

SYMBOLS = 2
_WARM_UP, _WARM_UP_ROWS = 2, 1_000  # a third symbol


def measure(url: str, way: str, rows: int) -> dict[str, Any]:
    """Writes `rows` candles of two symbols in turn, 10,000 in each transaction; ours then again, unchanged."""
    each = rows // SYMBOLS
    database = prepare(url, each)
    _empty(database)
    make_unkeyed(database)
    frames = [
        frame for pair in zip(*(batches(symbol, each) for symbol in range(SYMBOLS)), strict=True) for frame in pair
    ]
    _write(database, way, batches(_WARM_UP, _WARM_UP_ROWS))
    result = _write(database, way, frames)
    if way == "ours":
        result["again"] = _write(database, way, frames)
        state = next(state for state in maintain(database) if state.table == TABLE)
        result["bytes_per_row"] = state.bytes_per_row
    _check_count(database, way, rows + _WARM_UP_ROWS)
    database.dispose()
    return result


def _write(database: Database, way: str, frames: list[pd.DataFrame]) -> dict[str, Any]:
    write = WAYS[way]
    rows = sum(map(len, frames))
    log = _log_position(database)
    before, wall = cpu_seconds(), time.perf_counter()
    for frame in frames:
        with database.begin(TABLE) as connection:
            write(connection, frame)
    cpu, wall = cpu_seconds() - before, time.perf_counter() - wall
    return {
        "rows": rows,
        "microseconds": cpu / rows * 1e6,
        "rows_per_second": rows / wall,
        "log_bytes_per_row": (_log_position(database) - log) / rows,
    }


def _log_position(database: Database) -> int:
    """Bytes that PostgreSQL has ever written to its log; 0 on other engines."""
    if database.engine != "postgresql":
        return 0
    with database.connect(TABLE) as connection:
        return int(connection.exec_driver_sql("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").scalar_one())


def _empty(database: Database) -> None:
    if database.engine != "sqlite":  # whose directory is new each time
        with database.migrating(KDATA) as connection:
            connection.exec_driver_sql(f"TRUNCATE TABLE {database.schemas[KDATA]}.{TABLE}")


def _check_count(database: Database, way: str, expected: int) -> None:
    table = TABLES[TABLE] if way in ("ours", "executemany") else UNKEYED
    with database.connect(TABLE) as connection:
        count = len(connection.execute(table.select().with_only_columns(table.c.timestamp)).all())
    if count != expected:
        raise RuntimeError(f"{way}: {count} of {expected} rows were stored")
