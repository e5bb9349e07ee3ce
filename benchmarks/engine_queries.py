"""Milliseconds of the four standard queries on one engine, through the project's functions. In a process of its own.

Each run asks for another symbol and another time, so that no two find the same pages warm. Wall time: a server's work
is in it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.engine_candles import ENTITIES, START, TABLE
from crypto_assets.database.engines import open_database
from crypto_assets.database.queries import latest_candles, query_data
from crypto_assets.domain.intervals import to_naive

LAST = 1_000
_WARM_UP, _RUNS = 3, 50
_RANGE_MINUTES, _DAY_MINUTES = 15, 1_440


@dataclass(frozen=True)
class _Query:
    what: str
    ask: Callable[[str, int], pd.DataFrame]  # of a symbol, and from a minute on
    rows: int
    spans: int  # minutes that it may begin within: what it asks for is stored


def measure(url: str, minutes: int) -> dict[str, Any]:
    """p50 and p95 of 50 runs of each query, of a table with so many minutes of every symbol."""
    database = open_database(url, "sandbox")

    def between(first: int, count: int, **options: Any) -> pd.DataFrame:
        start, end = _moment(first), _moment(first + count - 1)
        return query_data(TABLE, start_timestamp=start, end_timestamp=end, database=database, **options)

    day = min(_DAY_MINUTES, minutes)
    everybody = len(ENTITIES)
    queries = [
        _Query(
            f"the last {LAST:,} candles of a symbol",
            lambda entity, _: query_data(TABLE, entity_ids=entity, limit=LAST, order="desc", database=database),
            min(LAST, minutes),
            minutes,
        ),
        _Query(
            "a day of a symbol",
            lambda entity, first: between(first, day, entity_ids=entity),
            day,
            minutes - day,
        ),
        _Query("the newest candle of every symbol", lambda *_: latest_candles(TABLE, database), everybody, minutes),
        _Query(
            f"{_RANGE_MINUTES} minutes of every symbol",
            lambda _, first: between(first, _RANGE_MINUTES),
            _RANGE_MINUTES * everybody,
            minutes - _RANGE_MINUTES,
        ),
    ]
    results = [_measured(query) for query in queries]
    database.dispose()
    return {"queries": results}


def _measured(query: _Query) -> dict[str, Any]:
    chance = random.Random(query.what)
    times = []
    for _ in range(_WARM_UP + _RUNS):
        entity, first = chance.choice(ENTITIES), chance.randint(0, query.spans)
        before = time.perf_counter()
        rows = len(query.ask(entity, first))
        times.append(time.perf_counter() - before)
        if rows != query.rows:
            raise RuntimeError(f"{query.what}: {rows} rows instead of {query.rows}")
    p50, p95 = np.percentile(times[_WARM_UP:], [50, 95]) * 1000
    return {"what": query.what, "p50": float(p50), "p95": float(p95)}


def _moment(minute: int) -> datetime:
    return to_naive(START) + timedelta(minutes=minute)
