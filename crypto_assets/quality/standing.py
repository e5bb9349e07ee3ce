"""Findings that stand until their partition is looked at again: what was found in a partition once it was verified.

For checks that look at a partition when it was collected, and say what they found in all of them. A row of
`crypto_data_quality_log` for each series holds how far the looking got, by the exchange's clock when a partition was
asked for, and what was found. Called by `plausibility` and `agreement`. Moments are naive UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pandas as pd
from sqlalchemy import Connection, Row, select

from crypto_assets.database.tables import TABLES
from crypto_assets.database.writes import upsert
from crypto_assets.domain.entities import PROVIDER

_LOG = TABLES["crypto_data_quality_log"]


@dataclass
class Standing:
    """What one check knows of one series: looked at until when, by level, and what was found, by partition key."""

    entity_id: str
    until: dict[str, str] = field(default_factory=dict)
    found: dict[str, dict[str, Any]] = field(default_factory=dict)

    def fresh(self, level: str, covered: Mapping[str, Row[Any]]) -> list[str]:
        """The verified partitions of a level that were asked for since they were last looked at, oldest first."""
        until = datetime.fromisoformat(self.until[level]) if level in self.until else None
        return sorted(key for key, row in covered.items() if row.digest and (until is None or row.verified_at > until))

    def looked_at(
        self, level: str, covered: Mapping[str, Row[Any]], found: Mapping[str, dict[str, Any] | None]
    ) -> None:
        """Notes what was found in fresh partitions; None where nothing was."""
        for key, what in found.items():
            if what is None:
                self.found.pop(key, None)
            else:
                self.found[key] = what
        times = [covered[key].verified_at for key in self.fresh(level, covered)]
        if times:
            self.until[level] = max(times).isoformat()


def load_standing(connection: Connection, check: str, table: str) -> dict[str, Standing]:
    """What a check knows of a candle table, by entity id."""
    prefix = f"{check}_{table}_"
    # A range of the key: ids go on with the entity's type, and after the underscore comes the backquote.
    rows = connection.execute(select(_LOG).where(_LOG.c.id >= prefix, _LOG.c.id < f"{prefix[:-1]}`"))
    return {
        row.entity_id: Standing(row.entity_id, row.validation_result["until"], row.validation_result["found"])
        for row in rows.all()
    }


def store_standing(connection: Connection, check: str, table: str, known: Iterable[Standing], now: datetime) -> None:
    """Writes what a check knows of a candle table."""
    rows = [
        {
            "id": f"{check}_{table}_{standing.entity_id}",
            "entity_id": standing.entity_id,
            "provider": PROVIDER,
            "validation_type": check,
            "validation_result": {"table": table, "until": standing.until, "found": standing.found},
            "quality_score": 0.0 if standing.found else 1.0,
            "issues_detected": [f"{key}: {what['count']}" for key, what in sorted(standing.found.items())][:20],
            "timestamp": now,
        }
        for standing in known
    ]
    if rows:
        upsert(connection, _LOG, pd.DataFrame(rows))
