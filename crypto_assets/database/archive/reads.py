"""Archived candles as a query returns stored ones: the same columns, types, order and limit.

Whether anything is archived in a query's range is found by `database.archive.manifest`; files are read and checked by
`database.archive.files`. Called by `database.queries` only, and only for queries that touch an archived month. Times
are naive UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Table

from crypto_assets.database.archive.files import read_file, to_frame
from crypto_assets.database.archive.manifest import ArchivedMonth
from crypto_assets.database.errors import DatabaseError
from crypto_assets.domain.intervals import Interval
from crypto_assets.domain.series import KDATA_TABLES

KEY = ["entity_id", "timestamp"]


@dataclass(frozen=True)
class Part:
    """Which rows of a table a query asks for: both ends included, `columns` without repetition."""

    start: datetime | None
    end: datetime | None
    limit: int | None
    columns: Sequence[str]
    order: str


def with_archived(
    stored: pd.DataFrame, months: Sequence[ArchivedMonth], directory: Path | None, table: Table, part: Part
) -> pd.DataFrame:
    """`stored` (the part's stored rows, with the key's columns) and the archived rows of `months`, as one result.

    A stored row wins over an archived one of the same key. Raises DatabaseError where a file is missing or damaged, or
    the archive's directory is not known; neither is looked at where the stored rows alone meet the part's limit.
    """
    months = _within_reach(stored, months, part)
    if not months:
        return stored[list(part.columns)]
    if directory is None:
        raise DatabaseError(
            f"The candles of {table.name} from {months[0].month[:7]} to {months[-1].month[:7]} are archived; name"
            " archive_directory to read them."
        )
    archived = _archived_rows(months, directory, table, part)
    archived = archived[~pd.MultiIndex.from_frame(archived[KEY]).isin(pd.MultiIndex.from_frame(stored[KEY]))]
    # What a column's text is differs by version of pandas; `stored` has it right even without a row.
    texts = {name: stored[name].dtype for name in stored if archived[name].dtype == object}
    rows = pd.concat([stored, archived.astype(texts)[list(stored)]], ignore_index=True)
    rows = rows.sort_values(["timestamp", "entity_id"], ascending=part.order == "asc", ignore_index=True)
    if part.limit is not None:
        rows = rows.head(part.limit)
    # Plain text, as in `result_frames`.
    return pd.DataFrame({str(name): _as_if_stored(rows[name]) for name in part.columns})


def _within_reach(stored: pd.DataFrame, months: Sequence[ArchivedMonth], part: Part) -> Sequence[ArchivedMonth]:
    """The months that may hold one of the first rows: with enough stored ones none beyond the last of these."""
    if part.limit is None or len(stored) < part.limit:
        return months
    # At the very time of that row the entity decides, which is seen when the rows are sorted.
    furthest = stored["timestamp"].iloc[-1]
    if part.order == "desc":
        return [month for month in months if month.last_timestamp >= furthest]
    return [month for month in months if month.first_timestamp <= furthest]


def _archived_rows(months: Sequence[ArchivedMonth], directory: Path, table: Table, part: Part) -> pd.DataFrame:
    """The archived rows of the range, as many months of them as the limit needs."""
    frames: list[pd.DataFrame] = []
    ordered = sorted(months, key=attrgetter("month"), reverse=part.order == "desc")
    for _, group in groupby(ordered, key=attrgetter("month")):
        if part.limit is not None and sum(map(len, frames)) >= part.limit:
            break
        for each in group:
            rows = to_frame(read_file(directory, each.path, table, each.digest, each.month))
            time = rows["timestamp"]
            lower = time >= (time.min() if part.start is None else part.start)
            chosen = rows[lower & (time <= (time.max() if part.end is None else part.end))]
            frames.append(_with_generated_columns(chosen, KDATA_TABLES[table.name].interval))
    return pd.concat(frames, ignore_index=True)


def _with_generated_columns(rows: pd.DataFrame, interval: Interval) -> pd.DataFrame:
    """The rows with the columns that the table generates, by its own definitions (tables/candles.py)."""
    unit = "D" if interval is Interval.D1 else "ms"
    times = np.datetime_as_string(rows["timestamp"].to_numpy().astype(f"datetime64[{unit}]")).tolist()
    ids = rows["entity_id"].tolist()
    volume = rows["volume"].to_numpy()
    with np.errstate(all="ignore"):
        vwap = np.where(volume == 0, np.nan, rows["volume_quote"].to_numpy() / volume)
    return rows.assign(
        id=np.array([f"{entity_id}_{time}" for entity_id, time in zip(ids, times, strict=True)], dtype=object),
        code=np.array([entity_id.split("_", 2)[-1] for entity_id in ids], dtype=object),
        level=np.full(len(rows), interval.value, dtype=object),
        turnover=rows["volume_quote"],
        volume_base=rows["volume"],
        vwap=vwap,
    )


def _as_if_stored(column: pd.Series[Any]) -> Any:
    """The column with the type that a query gives these very values: nullable only where one is missing."""
    if isinstance(column.dtype, (pd.Int64Dtype, pd.BooleanDtype)) and not column.hasnans:
        return column.astype("int64" if isinstance(column.dtype, pd.Int64Dtype) else "bool")
    return column
