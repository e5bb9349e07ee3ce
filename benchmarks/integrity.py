"""What it costs to look at a candle table: six-hourly, deeply, and as people do with pandas. In a process of its own.

The table is filled with made-up candles as a collection fills it, and verified as a collection does it in the end. CPU
time of this process, by turns, so that a busy minute hits each. SQLite: on a server most of the work is done elsewhere.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pandas as pd
from sqlalchemy import Connection, Table, func, select, update

from benchmarks.engine_candles import ENTITIES, START, TABLE, batches, prepare
from benchmarks.processes import cpu_seconds
from crypto_assets.database.engines import Database
from crypto_assets.database.expressions import within
from crypto_assets.database.tables import TABLES
from crypto_assets.database.writes import upsert
from crypto_assets.domain.intervals import DAY_MS, Interval, partition_keys
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets.domain.spans import Span
from crypto_assets.quality.gaps.ledger import USUAL, our_clock
from crypto_assets.quality.verification.examination import QUALITY, Examination, examine
from crypto_assets.quality.verification.partitions import PARTITIONS_PER_TRANSACTION, SymbolPartitions

CHANGED_DAYS = (1, 10)
_MINUTES_A_DAY = 1440
_SUMMED = (
    *("open", "high", "low", "close", "volume", "volume_quote", "trade_count"),
    *("change_pct", "turnover_rate", "is_high_volatility", "is_high_volume"),
)
"""What an exchange's candle says and what follows from it: whoever looks for changes reads all of it."""


def measure(url: str, days: int, repeats: int) -> dict[str, Any]:
    """CPU seconds of each way of looking at `days` of every symbol, medians, and how many rows there are.

    Raises RuntimeError where one of them finds anything wrong, or looks at other partitions than it should.
    """
    database = prepare(url, days * _MINUTES_A_DAY)
    table, rows = TABLES[TABLE], days * _MINUTES_A_DAY * len(ENTITIES)
    changes = {f"changed {count}": count for count in CHANGED_DAYS if count <= days}
    seconds: dict[str, list[float]] = defaultdict(list)
    for name, fill in (("stored", _store), ("verified", _verify)):
        before = cpu_seconds()
        fill(database, days)
        seconds[name].append(cpu_seconds() - before)
    for number in range(repeats):
        ways: dict[str, Callable[[], Any]] = {
            "floor": partial(_count_and_sum, database, table, rows, ["close"]),
            "every value": partial(_count_and_sum, database, table, rows, _SUMMED),
            "deep": partial(_look, database, days * len(ENTITIES), rows, deep=True),
            **({} if number else {"pandas": partial(_load_sort_diff, database, table, rows)}),  # half a minute
            "unchanged": partial(_look, database, 0, rows),
            **{name: partial(_look, database, count * len(ENTITIES), rows) for name, count in changes.items()},
        }
        for name, way in ways.items():
            if name in changes:
                _touch(database, table, Span(START, START + changes[name] * DAY_MS))
            before = cpu_seconds()
            way()
            seconds[name].append(cpu_seconds() - before)
    database.dispose()
    return {"rows": rows, "seconds": {name: statistics.median(each) for name, each in seconds.items()}}


def _store(database: Database, days: int) -> None:
    for symbol in range(len(ENTITIES)):
        for frame in batches(symbol, days * _MINUTES_A_DAY):
            with database.begin(TABLE) as connection:
                upsert(connection, TABLES[TABLE], frame)


def _verify(database: Database, days: int) -> None:
    """As the end of a collection of all days does it."""
    clock = START + days * DAY_MS
    keys = partition_keys(Interval.M1.partition_scheme, START, clock)
    for entity_id in ENTITIES:
        for first in range(0, len(keys), PARTITIONS_PER_TRANSACTION):
            with database.begin(TABLE, also=[QUALITY]) as connection:
                series = SymbolPartitions(connection, KDATA_TABLES[TABLE], entity_id)
                look = series.verify_asked(keys[first : first + PARTITIONS_PER_TRANSACTION], clock)
                series.account(look, our_clock(), USUAL)


def _look(database: Database, partitions: int, rows: int, *, deep: bool = False) -> None:
    found: Examination = examine(database, KDATA_TABLES[TABLE], our_clock(), USUAL, deep=deep)
    wrong = [each for each in found.findings.values() if each.count] or found.altered
    wrong = wrong or [each for each in found.completeness if each.missing]
    if wrong or (found.looked_at, found.rows) != (partitions, rows):
        raise RuntimeError(f"{found.looked_at} partitions of {partitions}, {found.rows} rows of {rows}: {wrong}")


def _count_and_sum(database: Database, table: Table, rows: int, summed: Sequence[str]) -> None:
    sums = [func.sum(table.c[name]) for name in summed]
    with database.connect(TABLE) as connection:
        if connection.execute(select(func.count(), *sums).select_from(table)).one()[0] != rows:
            raise RuntimeError("rows are missing")


def _touch(database: Database, table: Table, span: Span) -> None:
    """Rewrites the candles of `span` of every symbol, as somebody else might: whether they differ is not known then."""
    with database.begin(TABLE) as connection:
        for entity_id in ENTITIES:
            connection.execute(update(table).where(*within(table, entity_id, span)).values(close=table.c.close))


def _load_sort_diff(database: Database, table: Table, rows: int) -> None:
    """A symbol at a time, kindly: prices and volume only, their types told."""
    with database.connect(TABLE) as connection:
        found = sum(_by_hand(connection, table, entity_id) for entity_id in ENTITIES)
    if found != rows:
        raise RuntimeError(f"{found} of {rows} rows were loaded")


def _by_hand(connection: Connection, table: Table, entity_id: str) -> int:
    columns = [table.c[name] for name in ("timestamp", "open", "high", "low", "close", "volume")]
    statement = select(*columns).where(table.c.entity_id == entity_id)
    candles = pd.read_sql(statement, connection).sort_values("timestamp")
    steps = candles["timestamp"].diff().dropna()
    prices = candles[["open", "high", "low", "close"]]
    wrong = (steps != pd.Timedelta(minutes=1)).sum() + candles["timestamp"].duplicated().sum()
    wrong += candles.isna().to_numpy().sum() + (candles["high"] < prices.max(axis=1)).sum()
    wrong += (candles["low"] > prices.min(axis=1)).sum() + (candles["volume"] < 0).sum()
    if wrong:
        raise RuntimeError(f"{wrong} findings in {entity_id}")
    return len(candles)
