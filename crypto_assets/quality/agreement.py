"""Hourly candles beside the sixty minutes they cover: the first open, extremes, last close and sums must agree.

Compared where all sixty minutes are stored, once for every partition that was collected of either table. The exchange's
own early history disagrees: of ten pairs 6,646 hours before 2025, nearly all of them before 2021 and in the open alone
(a public study of Binance's archives, see docs/decisions/0014). Called by `orchestration.checks`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, Row, Table, select

from crypto_assets.database.engines import Database
from crypto_assets.database.errors import DatabaseNotReady
from crypto_assets.database.expressions import epoch_milliseconds
from crypto_assets.database.tables import QUALITY, TABLES
from crypto_assets.domain.entities import KDATA_TABLES, kdata_table
from crypto_assets.domain.intervals import Interval, PartitionScheme, format_time, partition_keys, partition_span
from crypto_assets.domain.spans import Span, merge
from crypto_assets.quality.coverage import covered_partitions
from crypto_assets.quality.gaps import within
from crypto_assets.quality.standing import Standing, load_standing, store_standing

CHECK = "agrees_with_minutes"
RELIABLE_SINCE = "2021-01-01"
"""Before it hours that disagree are the exchange's own more often than not."""

_MINUTES = 60
_FIELDS = ("open", "high", "low", "close", "volume", "volume_quote", "trade_count")

Hours = dict[int, npt.NDArray[np.float64]]


def compare_hours(database: Database, table_name: str, now: datetime, tolerance: float) -> list[Standing]:
    """Compares the hours that were collected since the last time; what is known of every series of an hourly table.

    `tolerance` is a share of the larger of two values. Found is told by month.
    """
    market_type, hourly = KDATA_TABLES[table_name]
    minutes_table = kdata_table(market_type, Interval.M1)
    with database.connect(table_name) as connection:
        hours_covered = covered_partitions(connection, market_type, hourly)
        minutes_covered = covered_partitions(connection, market_type, Interval.M1)
        known = load_standing(connection, CHECK, table_name)
    changed = []
    for entity_id in sorted(hours_covered.keys() & minutes_covered.keys()):
        standing = known.setdefault(entity_id, Standing(entity_id))
        hours, minutes = hours_covered[entity_id], minutes_covered[entity_id]
        days = standing.fresh(Interval.M1.value, minutes)
        months = {key for key in hours if key in {f"{day[:7]}-01" for day in days}}
        months.update(standing.fresh(hourly.value, hours))
        if not days and not months:
            continue
        found = {}
        for month in sorted(months):
            found[month] = _compare(database, table_name, minutes_table, entity_id, month, minutes, tolerance)
        standing.looked_at(hourly.value, hours, found)
        standing.looked_at(Interval.M1.value, minutes, {})
        changed.append(standing)
    if changed:
        with database.begin(QUALITY) as connection:
            store_standing(connection, CHECK, table_name, changed, now)
    return sorted(known.values(), key=lambda each: each.entity_id)


def _compare(
    database: Database,
    hourly: str,
    minutes: str,
    entity_id: str,
    month: str,
    days: Mapping[str, Row[Any]],
    tolerance: float,
) -> dict[str, Any] | None:
    span = Span(*partition_span(PartitionScheme.MONTHLY, month))
    collected = [Span(*partition_span(PartitionScheme.DAILY, key)) for key in _days(span, days)]
    try:
        with database.connect(minutes) as connection:
            made = _made_of_minutes(connection, TABLES[minutes], entity_id, merge(collected))
    except DatabaseNotReady:
        return None
    with database.connect(hourly) as connection:
        stored = _rows(connection, TABLES[hourly], entity_id, span)
    published = {int(row[0]): row[1:] for row in stored}
    differing = [
        (time, [name for name, bad in zip(_FIELDS, _differs(published[time], row, tolerance), strict=True) if bad])
        for time, row in sorted(made.items())
        if time in published and _differs(published[time], row, tolerance).any()
    ]
    if not differing:
        return None
    first, fields = differing[0]
    return {"count": len(differing), "first": format_time(first), "fields": fields}


def _days(month: Span, days: Mapping[str, Row[Any]]) -> list[str]:
    return [key for key in partition_keys(PartitionScheme.DAILY, *month) if key in days]


def _made_of_minutes(connection: Connection, table: Table, entity_id: str, spans: Sequence[Span]) -> Hours:
    """The hours of which every minute is stored, by open time: the seven values as their minutes make them."""
    made: Hours = {}
    for span in spans:
        rows = _rows(connection, table, entity_id, span)
        if not len(rows):
            continue
        starts = rows[:, 0] - rows[:, 0] % Interval.H1.milliseconds
        first = np.flatnonzero(np.concatenate(([True], starts[1:] != starts[:-1])))
        counts = np.diff(np.append(first, len(starts)))
        open_, close = rows[first, 1], rows[first + counts - 1, 4]
        high, low = np.maximum.reduceat(rows[:, 2], first), np.minimum.reduceat(rows[:, 3], first)
        sums = np.add.reduceat(rows[:, 5:], first)
        values = np.column_stack([open_, high, low, close, sums])
        made |= {
            int(start): row
            for start, row, count in zip(starts[first], values, counts, strict=True)
            if count == _MINUTES
        }
    return made


def _rows(connection: Connection, table: Table, entity_id: str, span: Span) -> npt.NDArray[np.float64]:
    """Open time in milliseconds and the seven values of a series' candles, as doubles; all of them are exact."""
    instant = epoch_milliseconds(table.c.timestamp)
    # What is no time is the check on_grid's.
    where = (*within(table, entity_id, span), instant.is_not(None))
    statement = select(instant, *(table.c[name] for name in _FIELDS)).where(*where)
    rows = connection.execute(statement.order_by(table.c.timestamp)).all()
    return np.array([tuple(row) for row in rows], dtype=np.float64).reshape(len(rows), 1 + len(_FIELDS))


def _differs(left: npt.NDArray[np.float64], right: npt.NDArray[np.float64], tolerance: float) -> npt.NDArray[np.bool_]:
    return np.abs(left - right) > tolerance * np.maximum(np.abs(left), np.abs(right))
