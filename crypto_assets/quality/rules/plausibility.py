"""The rule `plausible`: prices that jump beyond reason, and feeds that got stuck, in candles that keep all other rules.

It warns and never fails: such candles happen (new listings, testnets), and what the exchange published is stored. Each
partition is examined once after it was collected or revised. Called by `orchestration.checks.definitions`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, func, or_, select

from crypto_assets.database.engines import Database
from crypto_assets.database.expressions import within, written_text
from crypto_assets.database.tables import QUALITY, TABLES
from crypto_assets.domain.intervals import Interval
from crypto_assets.domain.series import CandleTable
from crypto_assets.quality.rules.partition_findings import (
    PARTITIONS_PER_TRANSACTION,
    PLAUSIBLE,
    Examined,
    SymbolFindings,
    forget,
    fresh_partitions,
    load_findings,
    record_examined,
    start_of,
)

JUMP = 0.5
"""A price jumps if one close differs from the last by more than this share; of daily candles by `_DAILY_JUMP`."""
_DAILY_JUMP = 3.0
STUCK = 5
"""A feed is stuck if so many candles in a row have the same prices, volume (above 0) and number of trades."""


def look_for_implausible(database: Database, candle_table: CandleTable, now: datetime) -> list[SymbolFindings]:
    """Examines the partitions of a candle table that changed since; the findings of each symbol, old and new."""
    with database.connect(candle_table.name) as connection:
        fresh = fresh_partitions(connection, PLAUSIBLE, candle_table)
    for first in range(0, len(fresh), PARTITIONS_PER_TRANSACTION):
        with database.connect(candle_table.name) as connection:
            looked = [
                Examined(each, key, start_of(digest), _found(connection, candle_table, each, key))
                for each, key, digest in fresh[first : first + PARTITIONS_PER_TRANSACTION]
            ]
        with database.begin(QUALITY) as connection:
            record_examined(connection, PLAUSIBLE, candle_table, looked, now)
    with database.connect(candle_table.name) as connection:
        findings, outlived = load_findings(connection, PLAUSIBLE, candle_table)
    if outlived:
        with database.begin(QUALITY) as connection:
            forget(connection, PLAUSIBLE, candle_table, outlived)
    return findings


def _found(connection: Connection, candle_table: CandleTable, entity_id: str, key: str) -> dict[str, Any] | None:
    table = TABLES[candle_table.name]
    scope = within(table, entity_id, candle_table.partition_span(key))
    offends = or_(func.abs(table.c.change_pct) > (_DAILY_JUMP if candle_table.interval is Interval.D1 else JUMP))
    candles = select(written_text(table.c.timestamp).label("timestamp"), offends.label("jumps"), _stuck(table))
    rows = candles.where(*scope).subquery()
    found = select(rows.c.timestamp, rows.c.jumps, rows.c.stuck).where(or_(rows.c.jumps, rows.c.stuck))
    times = connection.execute(found.order_by(rows.c.timestamp)).all()
    if not times:
        return None
    return {
        "count": len(times),
        "jumps": sum(bool(row.jumps) for row in times),
        "stuck": sum(bool(row.stuck) for row in times),
        "first": times[0].timestamp,
    }


def _stuck(table: Table) -> ColumnElement[bool]:
    """Whether this candle and those before it, `STUCK` in all, are equal."""
    c = table.c
    over: Any = {"order_by": c.timestamp, "rows": (1 - STUCK, 0)}
    same = (
        func.min(column).over(**over) == func.max(column).over(**over)
        for column in (c.open, c.high, c.low, c.close, c.volume, c.trade_count)
    )
    condition = c.volume > 0
    for each in same:
        condition &= each
    return (condition & (func.count().over(**over) == STUCK)).label("stuck")
