"""Candles that the exchange published twice with different values, logged in `crypto_data_quality_log`.

A log row holds both versions. `collect.publications` decides which version is stored; it is logged in the transaction
that stores it. Called by `collect.candles`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import pandas as pd
from sqlalchemy import Connection

from crypto_assets.database.expressions import provider_of
from crypto_assets.database.tables import TABLES
from crypto_assets.database.writes import upsert
from crypto_assets.domain.intervals import to_naive

CONFLICT = "conflict"
"""The `validation_type` of a day that was published twice and differently."""


@dataclass(frozen=True)
class Conflict:
    """A UTC day (`2021-09-29`) whose candles in a file of the exchange's archive differ from the stored ones.

    `differing` counts candles with other values in the file, `only_in_file` those that only the file has. `sample`
    shows some of both.
    """

    file: str
    sha256: str
    day: str
    differing: int
    only_in_file: int
    sample: list[dict[str, Any]]

    @property
    def sentence(self) -> str:
        """What is wrong, in words."""
        found = [f"{self.differing:,} candles of {self.day} are others in {self.file}"] if self.differing else []
        found += [f"{self.only_in_file:,} of {self.day} are in {self.file} alone"] if self.only_in_file else []
        return f"{' and '.join(found)}: none of that day was taken from it"


def record_conflicts(
    connection: Connection, table: str, entity_id: str, conflicts: Sequence[Conflict], clock: int
) -> None:
    """Logs each conflict once: the same day of the same file keeps its id. `clock` is the exchange's, in ms."""
    if not conflicts:
        return
    rows = []
    for conflict in conflicts:
        identity = orjson.dumps([entity_id, table, conflict.file, conflict.sha256, conflict.day])
        rows.append(
            {
                "id": f"{CONFLICT}_{hashlib.blake2b(identity, digest_size=16).hexdigest()}",
                "entity_id": entity_id,
                "provider": provider_of(connection),
                "validation_type": CONFLICT,
                "validation_result": {
                    "table": table,
                    "file": conflict.file,
                    "sha256": conflict.sha256,
                    "day": conflict.day,
                    "differing": conflict.differing,
                    "only_in_file": conflict.only_in_file,
                    "sample": conflict.sample,
                },
                "quality_score": 0.0,
                "issues_detected": [conflict.sentence],
                "timestamp": to_naive(clock),
            }
        )
    upsert(connection, TABLES["crypto_data_quality_log"], pd.DataFrame(rows))
