"""The rows of the ledger of gaps, `crypto_kdata_gap`. What becomes of a gap is decided by `quality.gaps.ledger`.

Called by `quality.verification`, the other modules of `quality.gaps`, and `cli`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pandas as pd
from sqlalchemy import Connection, Row, delete, select

from crypto_assets.database.expressions import of_entity_type
from crypto_assets.database.tables import TABLES
from crypto_assets.database.writes import upsert
from crypto_assets.domain.entities import PROVIDER, MarketType
from crypto_assets.domain.intervals import Interval, to_milliseconds, to_naive
from crypto_assets.domain.spans import Span
from crypto_assets.quality.gaps.ledger import OPEN, SOURCE, Gap

_GAPS = TABLES["crypto_kdata_gap"]
_STANDING = (OPEN, SOURCE)


def load_gaps(
    connection: Connection,
    market_type: MarketType,
    interval: Interval,
    *,
    entity_id: str | None = None,
    statuses: Collection[str] = _STANDING,
) -> dict[str, list[Gap]]:
    """The gaps of one candle table with one of `statuses`, by entity id, each entity's in order of time."""
    c = _GAPS.c
    where: list[Any] = [c.provider == PROVIDER, c.level == interval.value, c.status.in_(statuses)]
    if entity_id is not None:
        where.append(c.entity_id == entity_id)
    else:
        where.append(of_entity_type(c.entity_id, market_type.entity_type))
    found: dict[str, list[Gap]] = {}
    for row in connection.execute(select(_GAPS).where(*where).order_by(c.entity_id, c.start)).all():
        found.setdefault(row.entity_id, []).append(gap_of(row, interval))
    return found


def gap_of(row: Row[Any], interval: Interval) -> Gap:
    """A row of the ledger as a gap."""
    return Gap(
        span=Span(to_milliseconds(row.start), to_milliseconds(row.end) + interval.milliseconds),
        status=row.status,
        attempts=row.attempts,
        first_seen=row.first_seen,
        last_checked=row.last_checked,
        repaired_at=row.repaired_at,
        evidence=row.evidence or {},
    )


def store_gaps(
    connection: Connection, entity_id: str, interval: Interval, before: Iterable[Gap], after: Iterable[Gap]
) -> None:
    """Replaces the rows of `before`, gaps that were loaded, by those of `after`; what is in both is left alone."""
    old = {row["id"]: (gap, row) for gap in before for row in [_row(entity_id, interval, gap)]}
    new = {row["id"]: (gap, row) for gap in after for row in [_row(entity_id, interval, gap)]}
    vanished = [key for key in old if key not in new]
    for first in range(0, len(vanished), 500):
        connection.execute(delete(_GAPS).where(_GAPS.c.id.in_(vanished[first : first + 500])))
    changed = [row for key, (gap, row) in new.items() if key not in old or old[key][0] != gap]
    if changed:
        upsert(connection, _GAPS, pd.DataFrame(changed).astype({"repaired_at": object, "last_checked": object}))


def _row(entity_id: str, interval: Interval, gap: Gap) -> dict[str, Any]:
    start, end = to_naive(gap.span.start), to_naive(gap.span.end - interval.milliseconds)
    # A gap that opens again where one was repaired is another one, though it may be joined to the rest of the first.
    of = f"{gap.first_seen:%Y%m%dT%H%M%S%f}" if gap.repaired_at is None else f"r{gap.repaired_at:%Y%m%dT%H%M%S%f}"
    return {
        "id": f"{entity_id}_{interval.value}_{start:%Y-%m-%dT%H:%M}_{of}",
        "entity_id": entity_id,
        "provider": PROVIDER,
        "level": interval.value,
        "start": start,
        "end": end,
        "missing": interval.count(*gap.span),
        "status": gap.status,
        "attempts": gap.attempts,
        "first_seen": gap.first_seen,
        "last_checked": gap.last_checked,
        "repaired_at": gap.repaired_at,
        "evidence": gap.evidence,
    }
