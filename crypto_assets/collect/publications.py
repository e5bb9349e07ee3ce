"""Two publications of the same candles side by side: a file of the archive, and what REST says or what is stored.

Here belongs which days of a file are not believed, and what is told of them. Who is asked instead belongs to
`collect.span_reader`. Called by it and by `collect.judge`. No Dagster here. Times are milliseconds UTC.

A monthly file is sometimes older than what the exchange mended since: of 2021-09-29 and 2020-12-21 it has other rows
than the daily files and REST. So the hours that its candles make are compared with the hours of REST, of which one page
holds a month.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from crypto_assets.collect.fetched import FileRows
from crypto_assets.domain.intervals import DAY_MS, Interval, PartitionScheme, format_time, parse_time, partition_key
from crypto_assets.domain.series import CANDLE_COLUMNS
from crypto_assets.domain.spans import Span, merge
from crypto_assets.frames.candles import in_order
from crypto_assets.quality.conflicts import Conflict
from crypto_assets.quality.rules.agreement import RELIABLE_SINCE, hours_of

_OPENS_AGREE_SINCE = parse_time(RELIABLE_SINCE)
_ROUNDING = 1e-12
"""A sum of sixty doubles is off by less, as a share; one lot or one trade of an hour is more."""

_SHOWN = 5
_FIELDS = CANDLE_COLUMNS[1:]


def days_that_rest_disputes(candles: pd.DataFrame, hours: pd.DataFrame) -> list[Span]:
    """The days of `candles`, of a file, that have an hour which REST does not have, or has otherwise, in `hours`.

    Extremes, last price, sums and number of trades must be the same; the first price since 2021, because before that
    the exchange's own hours and minutes differ in it.
    """
    starts, _, made = hours_of(_rows(in_order(candles)))
    published = _rows(in_order(hours))
    at = np.searchsorted(published[:, 0], starts)
    there = np.isin(starts, published[:, 0])
    agree = np.zeros((len(starts), len(_FIELDS)), dtype=bool)
    agree[there] = _is_same(made[there], published[at[there], 1:])
    agree[there & (starts < _OPENS_AGREE_SINCE), 0] = True
    return _days(starts[~agree.all(axis=1)])


def days_that_differ(candles: pd.DataFrame, stored: pd.DataFrame) -> list[Span]:
    """The days of `candles`, of a file, with one that is stored (in order of time) with other values."""
    published = in_order(candles)
    times, left, right = np.intersect1d(
        published["open_time"].to_numpy(), stored["open_time"].to_numpy(), return_indices=True
    )
    differ = (_values(published)[left] != _values(stored)[right]).any(axis=1)
    return _days(times[differ])


def conflicts(file: FileRows, kept: pd.DataFrame, interval: Interval) -> list[Conflict]:
    """What a file says of its disputed days otherwise than `kept`, the candles that are stored (in order of time)."""
    return [found for day in file.disputed if (found := _conflict(file, day, kept, interval)) is not None]


def _conflict(file: FileRows, day: Span, kept: pd.DataFrame, interval: Interval) -> Conflict | None:
    published = _within(in_order(file.whole()), day)
    # What is off the grid is no candle of it, in whichever publication.
    published = published[published["open_time"].to_numpy() % interval.milliseconds == 0]
    others = _within(kept, day)
    _, left, right = np.intersect1d(
        published["open_time"].to_numpy(), others["open_time"].to_numpy(), return_indices=True
    )
    differ = (_values(published)[left] != _values(others)[right]).any(axis=1)
    alone = np.setdiff1d(np.arange(len(published)), left)
    if not differ.any() and not len(alone):
        return None
    shown = [(published.iloc[at], others.iloc[beside]) for at, beside in zip(left[differ], right[differ], strict=True)]
    sample = [_side_by_side(theirs, ours) for theirs, ours in shown[:_SHOWN]]
    sample += [_side_by_side(published.iloc[at], None) for at in alone[:_SHOWN]]
    key = partition_key(PartitionScheme.DAILY, day.start)
    return Conflict(file.file.name, file.candles.sha256, key, int(differ.sum()), len(alone), sample)


def _side_by_side(theirs: Any, ours: Any) -> dict[str, Any]:
    return {"open_time": format_time(int(theirs["open_time"])), "file": _shown(theirs), "stored": _shown(ours)}


def _shown(candle: Any) -> dict[str, float | None] | None:
    if candle is None:
        return None
    values = {name: float(candle[name]) for name in _FIELDS}
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _is_same(left: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """False for what is no number."""
    same: npt.NDArray[np.bool_] = np.abs(left - right) <= _ROUNDING * np.maximum(np.abs(left), np.abs(right))
    return same


def _rows(frame: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Open times and values as doubles, which hold them exactly."""
    return np.column_stack([frame[name].to_numpy(dtype=np.float64) for name in CANDLE_COLUMNS])


def _values(frame: pd.DataFrame) -> npt.NDArray[np.float64]:
    return _rows(frame)[:, 1:]


def _within(frame: pd.DataFrame, span: Span) -> pd.DataFrame:
    first, last = frame["open_time"].to_numpy().searchsorted(span)
    return frame.iloc[first:last]


def _days(times: npt.NDArray[Any]) -> list[Span]:
    days = np.unique(times.astype(np.int64) // DAY_MS) * DAY_MS
    return [Span(day, day + DAY_MS) for day in days.tolist()]


def grid_spans(times: npt.NDArray[np.int64], interval: Interval) -> list[Span]:
    """The candles that open at these times as spans, neighbours together."""
    return merge(Span(time, time + interval.milliseconds) for time in times.tolist())
