"""Owed candles that are neither stored nor archived: counted from the ledger, or looked for row by row.

An archived month is present from its first candle to its last, since only whole months are archived
(`quality.retention`). One whose file lacks a candle after all counts as not there, so that it is asked for again. What
is owed belongs to `quality.gaps.coverage`, the rows of the ledger to `quality.gaps.rows`. Called by the other modules
of `quality`, by `collect.stored` and `orchestration.checks.verdicts`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, func, select

from crypto_assets.database.archive.manifest import archived_months
from crypto_assets.database.expressions import (
    as_written,
    epoch_milliseconds,
    opens_in,
    provider_of,
    within,
    written_text,
)
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.intervals import PartitionScheme
from crypto_assets.domain.series import CandleTable
from crypto_assets.domain.spans import Span, SpanIndex, intersect, merge, subtract
from crypto_assets.quality.gaps.coverage import Owed, owed_spans
from crypto_assets.quality.gaps.holes import LONGEST_HOLE
from crypto_assets.quality.gaps.ledger import OPEN, Gap
from crypto_assets.quality.gaps.quiet import quiet_counts
from crypto_assets.quality.gaps.rows import load_gaps


@dataclass(frozen=True)
class Completeness:
    """One entity's owed candles of one table: how many there should be, and the gaps the ledger knows of.

    `source` are the gaps that the exchange has no candles for, `gaps` all others.
    """

    entity_id: str
    owed: list[Span]
    expected: int
    gaps: list[Gap]
    source: list[Gap]
    missing: int
    """Candles that are missing and may still come."""
    absent: int
    """Candles that the exchange has none of."""

    @property
    def present(self) -> int:
        """Owed candles that are stored or archived."""
        return self.expected - self.missing - self.absent

    @property
    def percent(self) -> float:
        """How much there is of what the exchange has, in percent."""
        existing = self.expected - self.absent
        return 100.0 * self.present / existing if existing else 100.0


def completeness(
    connection: Connection, candle_table: CandleTable, longest_hole: timedelta = LONGEST_HOLE
) -> list[Completeness]:
    """What the ledger says of every collected entity of a candle table, by entity id; no candle is read."""
    return completeness_of(connection, candle_table, owed_spans(connection, candle_table, longest_hole=longest_hole))


def completeness_of(
    connection: Connection, candle_table: CandleTable, every_owed: Iterable[Owed]
) -> list[Completeness]:
    """The same for a caller who knows what is owed."""
    interval, known = candle_table.interval, load_gaps(connection, candle_table)
    quiet = quiet_counts(connection, candle_table)
    result = []
    for owed in every_owed:
        gaps, due = known.get(owed.entity_id, []), SpanIndex(owed.spans)
        of_status = {
            is_open: [gap for gap in gaps if (gap.status == OPEN) is is_open and due.touches(gap.span)]
            for is_open in (True, False)
        }
        missing, absent = (
            sum(interval.count(*span) for span in intersect([gap.span for gap in of_status[is_open]], owed.spans))
            for is_open in (True, False)
        )
        expected = sum(interval.count(*span) for span in owed.spans) - quiet.get(owed.entity_id, 0)
        result.append(
            Completeness(owed.entity_id, owed.spans, expected, of_status[True], of_status[False], missing, absent)
        )
    return result


def archived_spans(
    connection: Connection, candle_table: CandleTable, entity_ids: list[str] | None = None
) -> dict[str, list[Span]]:
    """The archived candles of a table by entity, as merged spans from the first to the end of the last."""
    found: dict[str, list[Span]] = {}
    for month in archived_months(connection, candle_table, provider_of(connection), entity_ids=entity_ids):
        span = month.continuous_span(candle_table.interval.milliseconds)
        if span is not None:
            found.setdefault(month.entity_id, []).append(span)
    return {entity_id: merge(spans) for entity_id, spans in found.items()}


def missing_spans(connection: Connection, candle_table: CandleTable, entity_id: str, span: Span) -> list[Span]:
    """The parts of `span` whose grid points have no candle, in order: [first missing, next present)."""
    archived = archived_spans(connection, candle_table, [entity_id])
    return subtract(_not_stored(connection, candle_table, entity_id, span), archived.get(entity_id, []))


def _not_stored(connection: Connection, candle_table: CandleTable, entity_id: str, span: Span) -> list[Span]:
    """The same of what is stored alone."""
    table, interval = TABLES[candle_table.name], candle_table.interval
    step = interval.milliseconds
    start, end = interval.ceil(span.start), interval.ceil(span.end)
    if start >= end:
        return []
    instant = epoch_milliseconds(table.c.timestamp)
    stored = (
        select(
            instant.label("open_time"),
            func.coalesce(func.lag(instant).over(order_by=instant), start - step).label("previous"),
        )
        .where(*within(table, entity_id, Span(start, end)), instant % step == 0)
        .subquery()
    )
    holes = connection.execute(
        select(stored.c.previous + step, stored.c.open_time)
        .where(stored.c.open_time - stored.c.previous > step)
        .order_by(stored.c.open_time)
    )
    spans = [Span(first, following) for first, following in holes.all()]
    last = connection.scalar(select(func.max(stored.c.open_time)))
    tail = start if last is None else last + step
    return [*spans, Span(tail, end)] if tail < end else spans


def stored_counts(
    connection: Connection, candle_table: CandleTable, entity_ids: Collection[str], span: Span
) -> dict[str, int]:
    """How many rows of each of these entities are stored in `span`, where there are any."""
    c = TABLES[candle_table.name].c
    counted = select(c.entity_id, func.count()).where(*opens_in(c, span), c.entity_id.in_(entity_ids))
    rows = connection.execute(counted.group_by(c.entity_id)).all()
    return {row[0]: row[1] for row in rows}


def written_within(candle_table: CandleTable, entity_id: str, key: str) -> list[Any]:
    """The conditions for an entity's rows in whose times triggers see the partition `key`, which need be none."""
    table, is_daily = TABLES[candle_table.name], candle_table.partition_scheme is PartitionScheme.DAILY
    length, part = (10, key) if is_daily else (7, key.removesuffix("-01"))
    return [table.c.entity_id == entity_id, func.substr(written_text(table.c.timestamp), 1, length) == part]


def count_as_written(connection: Connection, candle_table: CandleTable, entity_id: str, span: Span) -> int:
    """The candles on the grid whose time is written as we write it: by the key no two of them share an instant."""
    table = TABLES[candle_table.name]
    instant = epoch_milliseconds(table.c.timestamp)
    on_grid = (instant % candle_table.interval.milliseconds == 0, as_written(table.c.timestamp))
    counted = select(func.count()).select_from(table).where(*within(table, entity_id, span), *on_grid)
    return connection.scalar(counted) or 0
