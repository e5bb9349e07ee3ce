"""Owed candles that are not stored, as spans.

What is owed belongs to `coverage`. Called by `orchestration.checks`, which shows them, and
`orchestration.collection`, which fetches them.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Table, func, select

from crypto_assets.database.expressions import as_written, epoch_milliseconds
from crypto_assets.domain.intervals import Interval, to_datetime
from crypto_assets.domain.spans import Span
from crypto_assets.quality.coverage import owed_spans


@dataclass(frozen=True)
class Completeness:
    """One entity's owed candles of one table: how many there should be, how many there are, and the holes."""

    entity_id: str
    owed: Span
    expected: int
    present: int
    gaps: list[Span]

    @property
    def missing(self) -> int:
        """Owed candles that are not stored."""
        return self.expected - self.present


def completeness(connection: Connection, table: Table, entities: Table, interval: Interval) -> list[Completeness]:
    """The completeness of every collected entity of a candle table, by entity id; days wholly absent count."""
    result = []
    for owed in owed_spans(connection, entities, interval):
        expected = interval.count(*owed.span)
        gaps: list[Span] = []
        if _count_as_written(connection, table, owed.entity_id, interval, owed.span) != expected:
            gaps = missing_spans(connection, table, owed.entity_id, interval, owed.span)
        present = expected - sum(interval.count(*gap) for gap in gaps)
        result.append(Completeness(owed.entity_id, owed.span, expected, present, gaps))
    return result


def missing_spans(connection: Connection, table: Table, entity_id: str, interval: Interval, span: Span) -> list[Span]:
    """The parts of `span` whose grid points have no stored candle, in order: [first missing, next stored)."""
    step = interval.milliseconds
    start, end = interval.ceil(span.start), interval.ceil(span.end)
    if start >= end:
        return []
    instant = epoch_milliseconds(table.c.timestamp)
    stored = (
        select(instant.label("open_time"), func.lag(instant, 1, start - step).over(order_by=instant).label("previous"))
        .where(*_within(table, entity_id, Span(start, end)), instant % step == 0)
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


def _within(table: Table, entity_id: str, span: Span) -> list:  # type: ignore[type-arg]
    return [
        table.c.entity_id == entity_id,
        table.c.timestamp >= to_datetime(span.start).replace(tzinfo=None),
        table.c.timestamp < to_datetime(span.end).replace(tzinfo=None),
    ]


def _count_as_written(connection: Connection, table: Table, entity_id: str, interval: Interval, span: Span) -> int:
    """The candles on the grid whose time is written as we write it: by the key no two of them share an instant."""
    instant = epoch_milliseconds(table.c.timestamp)
    within = (*_within(table, entity_id, span), instant % interval.milliseconds == 0, as_written(table.c.timestamp))
    return connection.scalar(select(func.count()).select_from(table).where(*within)) or 0
