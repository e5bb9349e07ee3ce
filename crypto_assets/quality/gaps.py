"""Owed candles that are neither stored nor archived, as spans.

An archived month is present from its first candle to its last: only whole months are archived (`retention`), and one
in whose file a candle is lacking after all counts as absent, so that it is asked for again. What is owed belongs to
`coverage`. Called by `orchestration.checks`, which shows the spans, by `orchestration.collection`, which fetches them,
and by `retention`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, func, select

from crypto_assets.database.archive_manifest import archived_months
from crypto_assets.database.expressions import as_written, epoch_milliseconds
from crypto_assets.domain.entities import PROVIDER
from crypto_assets.domain.intervals import Interval, to_datetime
from crypto_assets.domain.spans import Span, merge, subtract
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
        """Owed candles that are neither stored nor archived."""
        return self.expected - self.present


def completeness(connection: Connection, table: Table, entities: Table, interval: Interval) -> list[Completeness]:
    """The completeness of every collected entity of a candle table, by entity id; days wholly absent count."""
    result = []
    archived = archived_spans(connection, table, interval)
    for owed in owed_spans(connection, entities, interval):
        expected = interval.count(*owed.span)
        gaps: list[Span] = []
        live = subtract([owed.span], archived.get(owed.entity_id, []))
        # Counting is cheaper than looking for what is missing, which seldom is anything.
        if any(
            count_as_written(connection, table, owed.entity_id, interval, span) != interval.count(*span)
            for span in live
        ):
            gaps = missing_spans(connection, table, owed.entity_id, interval, owed.span)
        present = expected - sum(interval.count(*gap) for gap in gaps)
        result.append(Completeness(owed.entity_id, owed.span, expected, present, gaps))
    return result


def archived_spans(
    connection: Connection, table: Table, interval: Interval, entity_ids: list[str] | None = None
) -> dict[str, list[Span]]:
    """The archived candles of a table by entity, as merged spans from the first to the end of the last."""
    found: dict[str, list[Span]] = {}
    for month in archived_months(connection, table, PROVIDER, entity_ids=entity_ids):
        span = month.continuous_span(interval.milliseconds)
        if span is not None:
            found.setdefault(month.entity_id, []).append(span)
    return {entity_id: merge(spans) for entity_id, spans in found.items()}


def missing_spans(connection: Connection, table: Table, entity_id: str, interval: Interval, span: Span) -> list[Span]:
    """The parts of `span` whose grid points have no candle, in order: [first missing, next present)."""
    archived = archived_spans(connection, table, interval, [entity_id])
    return subtract(_not_stored(connection, table, entity_id, interval, span), archived.get(entity_id, []))


def _not_stored(connection: Connection, table: Table, entity_id: str, interval: Interval, span: Span) -> list[Span]:
    """The same of what is stored alone."""
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


def within(table: Table, entity_id: str, span: Span) -> list[Any]:
    """The conditions for an entity's rows of `span`, whatever their times look like."""
    return [
        table.c.entity_id == entity_id,
        table.c.timestamp >= to_datetime(span.start).replace(tzinfo=None),
        table.c.timestamp < to_datetime(span.end).replace(tzinfo=None),
    ]


def count_as_written(connection: Connection, table: Table, entity_id: str, interval: Interval, span: Span) -> int:
    """The candles on the grid whose time is written as we write it: by the key no two of them share an instant."""
    instant = epoch_milliseconds(table.c.timestamp)
    on_grid = (instant % interval.milliseconds == 0, as_written(table.c.timestamp))
    counted = select(func.count()).select_from(table).where(*within(table, entity_id, span), *on_grid)
    return connection.scalar(counted) or 0
