"""`crypto-assets gaps`: the ledger of what is missing, as a table or JSON. Called by the command.

What a gap is and how it is confirmed belongs to `quality.gaps.ledger`.
"""

from __future__ import annotations

from typing import Any

from crypto_assets.database.engines import Database
from crypto_assets.database.tables import QUALITY
from crypto_assets.domain.durations import duration
from crypto_assets.domain.intervals import format_time
from crypto_assets.domain.series import KDATA_TABLES, CandleTable
from crypto_assets.quality.gaps.ledger import Gap, Policy
from crypto_assets.quality.gaps.rows import load_gaps


def gap_rows(database: Database, statuses: list[str], policy: Policy, *, with_evidence: bool) -> list[dict[str, Any]]:
    """The gaps with one of `statuses`, table by table, each entity's in order of time; the evidence where asked for.

    Raises DatabaseNotReady where there is no ledger.
    """
    rows = []
    with database.connect(QUALITY) as connection:
        for candle_table in KDATA_TABLES.values():
            found = load_gaps(connection, candle_table, statuses=statuses)
            for entity_id, gaps in found.items():
                rows += [_row(candle_table, entity_id, gap, policy, with_evidence=with_evidence) for gap in gaps]
    return rows


def _row(candle_table: CandleTable, entity_id: str, gap: Gap, policy: Policy, *, with_evidence: bool) -> dict[str, Any]:
    interval = candle_table.interval
    row = {
        "table": candle_table.name,
        "entity_id": entity_id,
        "first_missing": format_time(gap.span.start),
        "last_missing": format_time(gap.span.end - interval.milliseconds),
        "missing": interval.count(*gap.span),
        "lasts": duration(gap.span.end - gap.span.start),
        "status": gap.status,
        "asked": gap.attempts,
        "first_seen": f"{gap.first_seen:%Y-%m-%d %H:%M:%S}",
        "last_checked": f"{gap.last_checked:%Y-%m-%d %H:%M:%S}" if gap.last_checked else None,
        "next_ask": None if gap.repaired_at else f"{gap.due_at(policy):%Y-%m-%d %H:%M:%S}",
    }
    return row | ({"evidence": gap.evidence} if with_evidence else {})
