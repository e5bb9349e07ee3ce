"""Milliseconds of the standard queries: through the project's functions and as plain SQL, with the query plan.

CPU time: the file was just written, so nothing is waited for but other processes.
"""

from __future__ import annotations

import sqlite3
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import Select
from sqlalchemy.dialects import sqlite

from benchmarks.collecting import TABLE, open_benchmark
from crypto_assets.database.queries import latest_candles, query_data, select_data, select_latest
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.intervals import to_naive

REPEATS = 50
_LAST = 1000


class _Query(NamedTuple):
    what: str
    function: Callable[[], Any]
    statement: Select[Any]
    sql: str
    rows: int


def measure(directory: str, entity_id: str, entities: int, day: int, repeats: int = REPEATS) -> dict[str, Any]:
    """The median of `repeats` of each query on the database in `directory`; `day` is a midnight (ms) in the middle."""
    database, table = open_benchmark(directory), TABLES[TABLE]
    first = to_naive(day)
    last = first + timedelta(days=1, minutes=-1)
    newest = f"SELECT max(timestamp) FROM {TABLE} AS other WHERE other.entity_id = ids.entity_id"
    ids = (
        f"WITH RECURSIVE ids(entity_id) AS (SELECT min(entity_id) FROM {TABLE} UNION ALL SELECT (SELECT min(entity_id)"
        f" FROM {TABLE} AS other WHERE other.entity_id > ids.entity_id) FROM ids WHERE ids.entity_id IS NOT NULL)"
    )
    queries = [
        _Query(
            f"the last {_LAST:,} candles of a symbol",
            lambda: query_data(TABLE, entity_ids=entity_id, limit=_LAST, order="desc", database=database),
            select_data(table, entity_ids=[entity_id], limit=_LAST, order="desc"),
            f"SELECT * FROM {TABLE} WHERE entity_id = '{entity_id}' ORDER BY timestamp DESC LIMIT {_LAST}",
            _LAST,
        ),
        _Query(
            "a day of a symbol",
            lambda: query_data(
                TABLE, entity_ids=entity_id, start_timestamp=first, end_timestamp=last, database=database
            ),
            select_data(table, entity_ids=[entity_id], start=first, end=last),
            f"SELECT * FROM {TABLE} WHERE entity_id = '{entity_id}' AND timestamp BETWEEN '{first} ' AND '{last}.9'"
            " ORDER BY timestamp",
            1440,
        ),
        _Query(
            "the newest candle of every symbol",
            lambda: latest_candles(TABLE, database),
            select_latest(table),
            f"{ids} SELECT candle.* FROM ids JOIN {TABLE} AS candle"
            f" ON candle.entity_id = ids.entity_id AND candle.timestamp = ({newest})",
            entities,
        ),
    ]
    with closing(sqlite3.connect(database.path(TABLE))) as connection:
        results = [_measured(query, connection, repeats) for query in queries]
    database.dispose()
    return {"queries": results}


def _measured(query: _Query, connection: sqlite3.Connection, repeats: int) -> dict[str, Any]:
    counts = {len(query.function()), len(connection.execute(query.sql).fetchall())}
    if counts != {query.rows}:
        raise RuntimeError(f"{query.what}: {counts} rows instead of {query.rows}")
    return {
        "what": query.what,
        "rows": query.rows,
        "function_ms": _median_ms(query.function, repeats),
        "sql_ms": _median_ms(lambda: connection.execute(query.sql).fetchall(), repeats),
        "plan": _plan(query.statement, connection),
    }


def _median_ms(function: Callable[[], Any], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        before = time.process_time()
        function()
        times.append(time.process_time() - before)
    return statistics.median(times) * 1000


def _plan(statement: Select[Any], connection: sqlite3.Connection) -> str:
    """The lines of the plan that read the candle table; the index each uses is named in it."""
    text = str(
        statement.compile(
            dialect=sqlite.dialect(),
            compile_kwargs={"literal_binds": True, "render_postcompile": True},
            schema_translate_map={TABLES[TABLE].schema: "main"},
            render_schema_translate=True,
        )
    )
    lines = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}")]
    return "; ".join(line for line in dict.fromkeys(lines) if "INDEX" in line or "KEY" in line or TABLE in line)
