"""The rows of `crypto_kdata_decision`: what somebody decided about holes between collected partitions.

What a decision means is said by `quality.gaps.holes`, what follows when one is made or undone by
`quality.gaps.deciding`. Called by that and by `quality.gaps.coverage`. Spans are milliseconds UTC, moments naive UTC by
our own clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from crypto_assets.database.expressions import of_series, provider_of
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.entities import exchange_in
from crypto_assets.domain.intervals import to_milliseconds, to_naive
from crypto_assets.domain.series import CandleTable
from crypto_assets.domain.spans import Span, merge, subtract
from crypto_assets.quality.gaps.holes import Decision

_DECISION = TABLES["crypto_kdata_decision"]


def decisions(
    connection: Connection, candle_table: CandleTable, entity_id: str | None = None
) -> dict[str, list[Decision]]:
    """The decisions about one symbol of a candle table, or about all: by entity id, in order of time."""
    c, step = _DECISION.c, candle_table.interval.milliseconds
    where = of_series(c, provider_of(connection), candle_table, entity_id)
    found: dict[str, list[Decision]] = {}
    for row in connection.execute(select(_DECISION).where(*where).order_by(c.entity_id, c.start)):
        span = Span(to_milliseconds(row.start), to_milliseconds(row.end) + step)
        found.setdefault(row.entity_id, []).append(Decision(span, row.decision, row.decided_at, row.decided_by))
    return found


def replace_decisions(
    connection: Connection,
    candle_table: CandleTable,
    entity_id: str,
    spans: Iterable[Span],
    made: Iterable[Decision],
) -> None:
    """Replaces what was decided about `spans` of an entity by the decisions `made`.

    Earlier decisions stay in force outside of `spans`.
    """
    spans, c = merge(spans), _DECISION.c
    known = decisions(connection, candle_table, entity_id).get(entity_id, [])
    kept = [
        Decision(rest, each.decision, each.decided_at, each.decided_by)
        for each in known
        for rest in subtract([each.span], spans)
    ]
    connection.execute(delete(_DECISION).where(*of_series(c, provider_of(connection), candle_table, entity_id)))
    rows = [_row(candle_table, entity_id, each) for each in sorted([*kept, *made], key=lambda each: each.span)]
    if rows:
        connection.execute(insert(_DECISION), rows)


def _row(candle_table: CandleTable, entity_id: str, decision: Decision) -> dict[str, Any]:
    return {
        "entity_id": entity_id,
        "provider": exchange_in(entity_id),
        "level": candle_table.level,
        "start": to_naive(decision.span.start),
        "end": to_naive(decision.span.end - candle_table.interval.milliseconds),
        "decision": decision.decision,
        "decided_at": decision.decided_at,
        "decided_by": decision.decided_by[:255],
    }
