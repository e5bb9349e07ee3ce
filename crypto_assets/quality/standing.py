"""Findings that stand until their partition is looked at again: what was found in a partition once it was verified.

For checks that look at a partition when it was collected, and say what they found in all of them. A row of
`crypto_data_quality_log` for each series holds what was looked at, how far that got by the exchange's clock when a
partition was asked for, and what was found. Called by `plausibility` and `agreement`. Moments are naive UTC.
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
    """What one check knows of one series: looked at until when, by level, and what was found, by partition key.

    `seen` are the partitions looked at, by level: of each month the days, as bits.
    """

    entity_id: str
    until: dict[str, str] = field(default_factory=dict)
    found: dict[str, dict[str, Any]] = field(default_factory=dict)
    seen: dict[str, dict[str, int]] = field(default_factory=dict)

    def fresh(self, level: str, covered: Mapping[str, Row[Any]]) -> list[str]:
        """The verified partitions of a level that were collected since they were looked at, oldest first.

        Never seen ones too, whenever they were asked for: a long run has an old clock when it is done.
        """
        until, seen = self.until.get(level, ""), self.seen.get(level, {})
        return sorted(
            key
            for key, row in covered.items()
            if row.digest and (row.verified_at.isoformat() > until or not seen.get(key[:7], 0) >> int(key[8:]) & 1)
        )

    def looked_at(
        self, level: str, covered: Mapping[str, Row[Any]], found: Mapping[str, dict[str, Any] | None]
    ) -> None:
        """Notes what was found in fresh partitions; None where nothing was."""
        for key, what in found.items():
            if what is None:
                self.found.pop(key, None)
            else:
                self.found[key] = what
        looked = self.fresh(level, covered)
        if looked:
            clocks = (covered[key].verified_at.isoformat() for key in looked)
            self.until[level] = max(self.until.get(level, ""), *clocks)
        seen = self.seen.setdefault(level, {})
        for key in looked:
            seen[key[:7]] = seen.get(key[:7], 0) | 1 << int(key[8:])


def load_standing(connection: Connection, check: str, table: str) -> dict[str, Standing]:
    """What a check knows of a candle table, by entity id."""
    prefix = f"{check}_{table}_"
    # A range of the key: ids go on with the entity's type, and after the underscore comes the backquote.
    rows = connection.execute(select(_LOG).where(_LOG.c.id >= prefix, _LOG.c.id < f"{prefix[:-1]}`"))
    return {
        row.entity_id: Standing(row.entity_id, *(row.validation_result[name] for name in ("until", "found", "seen")))
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
            "validation_result": {
                "table": table,
                "until": standing.until,
                "found": standing.found,
                "seen": standing.seen,
            },
            "quality_score": 0.0 if standing.found else 1.0,
            "issues_detected": [f"{key}: {what['count']}" for key, what in sorted(standing.found.items())][:20],
            "timestamp": now,
        }
        for standing in known
    ]
    if rows:
        upsert(connection, _LOG, pd.DataFrame(rows))
