"""The rows of the ledger of gaps, `crypto_kdata_gap`. What becomes of a gap is decided by `quality.gaps.ledger`.

Called by `quality.verification`, the other modules of `quality.gaps`, and `cli`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pandas as pd
from sqlalchemy import Connection, Row, delete, select

from crypto_assets.database.expressions import of_series, provider_of
from crypto_assets.database.tables import TABLES
from crypto_assets.database.writes import upsert
from crypto_assets.domain.entities import exchange_in
from crypto_assets.domain.intervals import to_milliseconds, to_naive
from crypto_assets.domain.series import CandleTable
from crypto_assets.domain.spans import Span
from crypto_assets.quality.gaps.ledger import OPEN, SOURCE, Gap

_GAPS = TABLES["crypto_kdata_gap"]
_STANDING = (OPEN, SOURCE)


def load_gaps(
    connection: Connection,
    candle_table: CandleTable,
    *,
    entity_id: str | None = None,
    statuses: Collection[str] = _STANDING,
) -> dict[str, list[Gap]]:
    """The gaps of one candle table with one of `statuses`, by entity id, each entity's in order of time."""
    c = _GAPS.c
    where = [*of_series(c, provider_of(connection), candle_table, entity_id), c.status.in_(statuses)]
    found: dict[str, list[Gap]] = {}
    for row in connection.execute(select(_GAPS).where(*where).order_by(c.entity_id, c.start)).all():
        found.setdefault(row.entity_id, []).append(gap_of(candle_table, row))
    return found


def gap_of(candle_table: CandleTable, row: Row[Any]) -> Gap:
    """A row of the ledger as a gap of this candle table."""
    return Gap(
        span=Span(to_milliseconds(row.start), to_milliseconds(row.end) + candle_table.interval.milliseconds),
        status=row.status,
        attempts=row.attempts,
        first_seen=row.first_seen,
        last_checked=row.last_checked,
        repaired_at=row.repaired_at,
        evidence=row.evidence or {},
    )


def store_gaps(
    connection: Connection, candle_table: CandleTable, entity_id: str, before: Iterable[Gap], after: Iterable[Gap]
) -> None:
    """Replaces the rows of `before`, gaps that were loaded, by those of `after`; what is in both is left alone."""
    old = {row["id"]: (gap, row) for gap in before for row in [_row(candle_table, entity_id, gap)]}
    new = {row["id"]: (gap, row) for gap in after for row in [_row(candle_table, entity_id, gap)]}
    vanished = [key for key in old if key not in new]
    for first in range(0, len(vanished), 500):
        connection.execute(delete(_GAPS).where(_GAPS.c.id.in_(vanished[first : first + 500])))
    changed = [row for key, (gap, row) in new.items() if key not in old or old[key][0] != gap]
    if changed:
        upsert(connection, _GAPS, pd.DataFrame(changed).astype({"repaired_at": object, "last_checked": object}))


def _row(candle_table: CandleTable, entity_id: str, gap: Gap) -> dict[str, Any]:
    interval = candle_table.interval
    start, end = to_naive(gap.span.start), to_naive(gap.span.end - interval.milliseconds)
    # A gap that opens again where one was repaired is another one, though it may be joined to the rest of the first.
    of = f"{gap.first_seen:%Y%m%dT%H%M%S%f}" if gap.repaired_at is None else f"r{gap.repaired_at:%Y%m%dT%H%M%S%f}"
    return {
        "id": f"{entity_id}_{candle_table.level}_{start:%Y-%m-%dT%H:%M}_{of}",
        "entity_id": entity_id,
        "provider": exchange_in(entity_id),
        "level": candle_table.level,
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
