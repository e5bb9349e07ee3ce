"""Rows that broke their contract, kept whole in `crypto_data_quality_log` with the reason.

What breaks a contract is decided by `frames.contracts`. Called by `collect.candles` and `collect.judged_markets` in the
transaction that stores the good rows of the same page. On SQLite the two are different files, committed one after the
other; after a crash in between, the next collection of the same page logs the row.
"""

from __future__ import annotations

import hashlib
import math
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

CONTRACT = "contract"
"""The `validation_type` of a rejected row."""


_MOST_FIELDS, _MOST_LETTERS = 64, 1000
_LARGEST_INTEGER = 2**63


@dataclass(frozen=True)
class Rejection:
    """A row as the exchange sent it, and the rules it breaks."""

    row: Sequence[Any] | dict[str, Any]
    reasons: list[str]


def record_rejections(
    connection: Connection, table: str, entity_id: str, rejections: list[Rejection], clock: int
) -> None:
    """Logs each rejection once: the same row refused again for the same reasons keeps its id.

    `clock` is the exchange's, in milliseconds.
    """
    if not rejections:
        return
    rows = []
    for rejection in rejections:
        result = {"table": table, "row": _evidence(rejection.row)}
        identity = orjson.dumps([entity_id, result, rejection.reasons], option=orjson.OPT_SORT_KEYS)
        rows.append(
            {
                "id": f"{CONTRACT}_{hashlib.blake2b(identity, digest_size=16).hexdigest()}",
                "entity_id": entity_id,
                "provider": provider_of(connection),
                "validation_type": CONTRACT,
                "validation_result": result,
                "quality_score": 0.0,
                "issues_detected": rejection.reasons,
                "timestamp": to_naive(clock),
            }
        )
    upsert(connection, TABLES["crypto_data_quality_log"], pd.DataFrame(rows).drop_duplicates("id"))


def _evidence(row: Sequence[Any] | dict[str, Any]) -> list[Any] | dict[str, Any]:
    """A refused row as every engine can keep it; what is too large for that is cut, or written as text."""
    if isinstance(row, dict):
        return {str(name): _shown(value) for name, value in row.items()}
    return [_shown(value) for value in row[:_MOST_FIELDS]]


def _shown(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < _LARGEST_INTEGER:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    # No engine keeps a zero character or half a surrogate pair in JSON.
    return str(value)[:_MOST_LETTERS].replace("\0", "\\0").encode(errors="backslashreplace").decode()
