"""The rule `agrees_with_minutes`: an hourly candle must be what its sixty minutes make.

The first open, the extremes, the last close and the sums of the minutes are compared with the hour, where all sixty
minutes are stored. A day is compared once, and again when its minutes or its hours changed; what was found is kept with
the checksum of the candles compared (`quality.rules.partition_findings`). The exchange's own early history disagrees:
of ten pairs 6,646 hours before 2025, nearly all of them before 2021 and in the open alone (a public study of Binance's
archives, see docs/decisions/0014). Called by `orchestration.checks.definitions`; `collect.publications` makes hours of
minutes with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, Table, select

from crypto_assets.database.engines import Database
from crypto_assets.database.errors import DatabaseNotReady
from crypto_assets.database.expressions import epoch_milliseconds, within
from crypto_assets.database.tables import QUALITY, TABLES
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import Interval, format_time
from crypto_assets.domain.series import CandleTable
from crypto_assets.domain.spans import Span, SpanIndex
from crypto_assets.quality.gaps.coverage import covered_partitions
from crypto_assets.quality.gaps.missing import archived_spans
from crypto_assets.quality.rules.partition_findings import (
    AGREES,
    Examined,
    SymbolFindings,
    checked_partitions,
    fresh_partitions,
    load_findings,
    record_examined,
    start_of,
)

RELIABLE_SINCE = "2021-01-01"
"""Before this day, hours that disagree are more often than not published so by the exchange."""

_MINUTES = 60
_FIELDS = ("open", "high", "low", "close", "volume", "volume_quote", "trade_count")

Hours = dict[int, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class _Tables:
    """The two tables of a market that are compared; `tolerance` is a share of the larger of two values."""

    database: Database
    market_type: MarketType
    tolerance: float

    @property
    def hours(self) -> CandleTable:
        return CandleTable(self.market_type, Interval.H1)

    @property
    def minutes(self) -> CandleTable:
        return CandleTable(self.market_type, Interval.M1)


def compare_hours(database: Database, market_type: MarketType, now: datetime, tolerance: float) -> list[SymbolFindings]:
    """Compares the days of a market whose hours or minutes changed since they were compared.

    Returns the findings of each symbol, old and new, by month. `tolerance` is a share of the larger of two values.
    """
    tables = _Tables(database, market_type, tolerance)
    with database.connect(tables.hours.name) as connection:
        hours = fresh_partitions(connection, AGREES, tables.hours, tables.minutes)
        minutes = fresh_partitions(connection, AGREES, tables.minutes, tables.hours)
        findings, outlived = load_findings(connection, AGREES, tables.minutes)
        outlived |= _without_hours(connection, tables.hours, findings)
    if outlived:
        with database.begin(QUALITY) as connection:
            again = [Examined(entity_id, key, "") for entity_id, key in sorted(outlived)]
            record_examined(connection, AGREES, tables.minutes, again, now)
    months = {(entity_id, key): start_of(digest) for entity_id, key, digest in hours}
    for entity_id, month in sorted({*months, *((each, f"{day[:7]}-01") for each, day, _ in minutes)}):
        compared = _compare(tables, entity_id, month)
        if compared is None:
            continue
        with database.begin(QUALITY) as connection:
            record_examined(connection, AGREES, tables.minutes, compared, now)
            if (entity_id, month) in months:
                done = [Examined(entity_id, month, months[entity_id, month])]
                record_examined(connection, AGREES, tables.hours, done, now)
    with database.connect(tables.hours.name) as connection:
        findings, _ = load_findings(connection, AGREES, tables.minutes)
    return [SymbolFindings(each.entity_id, _by_month(each.found)) for each in findings]


def _without_hours(
    connection: Connection, hours: CandleTable, findings: Iterable[SymbolFindings]
) -> set[tuple[str, str]]:
    """The (entity id, day) of findings in hours whose coverage is gone, as after a rollback."""
    gone = set()
    for each in findings:
        months = {f"{day[:7]}-01" for day in each.found}
        there = covered_partitions(connection, hours, each.entity_id, months).get(each.entity_id, {})
        gone |= {(each.entity_id, day) for day in each.found if f"{day[:7]}-01" not in there}
    return gone


def _by_month(found: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The findings of days joined by month: how many hours of the month, and the first of them."""
    months: dict[str, dict[str, Any]] = {}
    for day, what in sorted(found.items()):
        month = months.setdefault(f"{day[:7]}-01", {**what, "count": 0})
        month["count"] += what["count"]
    return months


def _compare(tables: _Tables, entity_id: str, month: str) -> list[Examined] | None:
    """Compares the days of a month that changed since they were compared; None while its hours are not verified.

    A day whose candles were archived into a file is not compared: its findings stay as long as its minutes do.
    """
    span = tables.hours.partition_span(month)
    with tables.database.connect(tables.hours.name) as connection:
        of_month = covered_partitions(connection, tables.hours, entity_id, [month])
        if any(not row.digest for rows in of_month.values() for row in rows.values()):
            return None
        days = checked_partitions(connection, AGREES, tables.minutes, entity_id, tables.minutes.partition_keys(span))
        archived = [
            each
            for candle_table in (tables.hours, tables.minutes)
            for each in archived_spans(connection, candle_table, [entity_id]).get(entity_id, [])
        ]
        published = _rows(connection, TABLES[tables.hours.name], entity_id, span)
    in_files = SpanIndex(archived)
    changed: dict[str, str] = {}
    kept: list[Examined] = []
    for key, (digest, checked) in days.items():
        own = tables.minutes.partition_span(key)
        if in_files.touches(own):
            if start_of(checked) != start_of(digest):
                kept.append(Examined(entity_id, key, start_of(digest)))
            continue
        state = start_of(digest) + _state_of(_within(published, own))
        if state != checked:
            changed[key] = state
    try:
        with tables.database.connect(tables.minutes.name) as connection:
            compared = [
                Examined(entity_id, key, state, _differing(connection, tables, entity_id, key, published))
                for key, state in changed.items()
            ]
    except DatabaseNotReady:
        compared = []
    return kept + compared


def _differing(
    connection: Connection, tables: _Tables, entity_id: str, day: str, published: npt.NDArray[np.float64]
) -> dict[str, Any] | None:
    """The hours of a day that are not what their minutes make."""
    span = tables.minutes.partition_span(day)
    hours = {int(row[0]): row[1:] for row in _within(published, span)}
    if not hours:
        return None
    differing = []
    for time, row in sorted(_made_of_minutes(connection, TABLES[tables.minutes.name], entity_id, span).items()):
        if time in hours and (differs := _differs(hours[time], row, tables.tolerance)).any():
            differing.append((time, [name for name, bad in zip(_FIELDS, differs, strict=True) if bad]))
    if not differing:
        return None
    first, fields = differing[0]
    return {"count": len(differing), "first": format_time(first), "fields": fields}


def _within(rows: npt.NDArray[np.float64], span: Span) -> npt.NDArray[np.float64]:
    first, last = np.searchsorted(rows[:, 0], span)
    return rows[first:last]


def _state_of(rows: npt.NDArray[np.float64]) -> str:
    """A checksum of these hours."""
    return hashlib.blake2b(rows.tobytes(), digest_size=8).hexdigest()


def _made_of_minutes(connection: Connection, table: Table, entity_id: str, span: Span) -> Hours:
    """The hours of which every minute is stored, by open time: the seven values as their minutes make them."""
    rows = _rows(connection, table, entity_id, span)
    if not len(rows):
        return {}
    starts, counts, values = hours_of(rows)
    return {int(start): row for start, row, count in zip(starts, values, counts, strict=True) if count == _MINUTES}


def hours_of(rows: npt.NDArray[np.float64]) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.float64]]:
    """The hours that candles make: their open times, how many candles each has, and its seven values.

    `rows`, at least one, are open time in ms UTC, open, high, low, close, volume, volume_quote, trade_count; in order.
    """
    starts = rows[:, 0] - rows[:, 0] % Interval.H1.milliseconds
    first = np.flatnonzero(np.concatenate(([True], starts[1:] != starts[:-1])))
    counts = np.diff(np.append(first, len(starts)))
    open_, close = rows[first, 1], rows[first + counts - 1, 4]
    high, low = np.maximum.reduceat(rows[:, 2], first), np.minimum.reduceat(rows[:, 3], first)
    sums = np.add.reduceat(rows[:, 5:], first)
    return starts[first], counts, np.column_stack([open_, high, low, close, sums])


def _rows(connection: Connection, table: Table, entity_id: str, span: Span) -> npt.NDArray[np.float64]:
    """Open time in milliseconds and the seven values of a series' candles, as doubles; all of them are exact."""
    instant = epoch_milliseconds(table.c.timestamp)
    # A timestamp that is no time is found by the check on_grid.
    where = (*within(table, entity_id, span), instant.is_not(None))
    statement = select(instant, *(table.c[name] for name in _FIELDS)).where(*where)
    rows = connection.execute(statement.order_by(table.c.timestamp)).all()
    return np.array([tuple(row) for row in rows], dtype=np.float64).reshape(len(rows), 1 + len(_FIELDS))


def _differs(left: npt.NDArray[np.float64], right: npt.NDArray[np.float64], tolerance: float) -> npt.NDArray[np.bool_]:
    return np.abs(left - right) > tolerance * np.maximum(np.abs(left), np.abs(right))
