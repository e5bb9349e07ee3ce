"""What the exchange published twice and differently, kept in `crypto_data_quality_log` with both versions.

Which of the two is stored is decided by `collect.publications`, the maker of these, and recorded here in the
transaction that stores it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import pandas as pd
from sqlalchemy import Connection

from crypto_assets.database.tables import TABLES
from crypto_assets.database.writes import upsert
from crypto_assets.domain.entities import PROVIDER
from crypto_assets.domain.intervals import to_datetime

CONFLICT = "conflict"
"""The `validation_type` of a day that was published twice and differently."""


@dataclass(frozen=True)
class Conflict:
    """A UTC day (`2021-09-29`) of which a file of the archive says something else than what is stored instead of it.

    `differing` candles are other in the file, `only_in_file` are nowhere else; `sample` has some of both.
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
                "provider": PROVIDER,
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
                "timestamp": to_datetime(clock).replace(tzinfo=None),
            }
        )
    upsert(connection, TABLES["crypto_data_quality_log"], pd.DataFrame(rows))
