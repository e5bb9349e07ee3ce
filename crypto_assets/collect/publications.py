"""Two publications of the same candles side by side: a file of the archive, and what REST says or what is stored.

Here belongs which days of a file are not believed, and what is told of them. Who is asked instead belongs to
`collect.span_reader`. Called by it and by `collect.judge`. No Dagster here. Times are milliseconds UTC.

A monthly file is sometimes older than what the exchange mended since: of 2021-09-29 and 2020-12-21 it has other rows
than the daily files and REST. So the hours that its candles make are compared with the hours of REST, of which one page
holds a month.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from crypto_assets.collect.fetched import FileRows
from crypto_assets.domain.intervals import DAY_MS, Interval, PartitionScheme, format_time, parse_time, partition_key
from crypto_assets.domain.series import CANDLE_COLUMNS
from crypto_assets.domain.spans import Span, merge
from crypto_assets.frames.candles import Candles, in_order
from crypto_assets.quality.conflicts import Conflict
from crypto_assets.quality.rules.agreement import RELIABLE_SINCE, hours_of

_OPENS_AGREE_SINCE = parse_time(RELIABLE_SINCE)
_ROUNDING = 1e-12
"""A sum of sixty doubles is off by less, as a share; one lot or one trade of an hour is more."""

_SHOWN = 5
_FIELDS = CANDLE_COLUMNS[1:]


def days_that_rest_disputes(candles: Candles, hours: Candles) -> list[Span]:
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


def days_that_differ(candles: Candles, stored: Candles) -> list[Span]:
    """The days of `candles`, of a file, with one that is stored (in order of time) with other values."""
    return _days(times_that_differ(in_order(candles), stored))


def times_that_differ(candles: Candles, others: Candles) -> npt.NDArray[np.int64]:
    """The open times of candles that are in both with different values; in each they are in order."""
    left, right = _in_both(candles, others)
    return candles.times[left][are_other(candles[left], others[right])]


def conflicts(file: FileRows, kept: Candles, interval: Interval) -> list[Conflict]:
    """What a file says of its disputed days otherwise than `kept`, the candles that are stored (in order of time)."""
    return [found for day in file.disputed if (found := _conflict(file, day, kept, interval)) is not None]


def _conflict(file: FileRows, day: Span, kept: Candles, interval: Interval) -> Conflict | None:
    published = in_order(file.whole()).within(*day)
    # What is off the grid is no candle of it, in whichever publication.
    published = published[published.times % interval.milliseconds == 0]
    others = kept.within(*day)
    left, right = _in_both(published, others)
    differ = are_other(published[left], others[right])
    alone = np.delete(np.arange(len(published)), left)
    if not differ.any() and not len(alone):
        return None
    shown = zip(published[left[differ]].table.T[:_SHOWN], others[right[differ]].table.T[:_SHOWN], strict=True)
    sample = [_side_by_side(theirs, ours) for theirs, ours in shown]
    sample += [_side_by_side(theirs, None) for theirs in published[alone].table.T[:_SHOWN]]
    key = partition_key(PartitionScheme.DAILY, day.start)
    return Conflict(file.file.name, file.candles.sha256, key, int(differ.sum()), len(alone), sample)


_Candle: TypeAlias = npt.NDArray[np.float64]


def _side_by_side(theirs: _Candle, ours: _Candle | None) -> dict[str, Any]:
    return {
        "open_time": format_time(int(theirs[0])),
        "file": _shown(theirs),
        "stored": None if ours is None else _shown(ours),
    }


def _shown(candle: _Candle) -> dict[str, float | None]:
    values = dict(zip(_FIELDS, candle[1:].tolist(), strict=True))
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _is_same(left: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """False for what is no number."""
    same: npt.NDArray[np.bool_] = np.abs(left - right) <= _ROUNDING * np.maximum(np.abs(left), np.abs(right))
    return same


def _rows(candles: Candles) -> npt.NDArray[np.float64]:
    """A row for each candle, as `hours_of` takes and gives them."""
    return np.ascontiguousarray(candles.table.T)


def _in_both(left: Candles, right: Candles) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Where in each the candles are that both have, in order."""
    _, at, beside = np.intersect1d(left.times, right.times, assume_unique=True, return_indices=True)
    return at, beside


def are_other(left: Candles, right: Candles) -> npt.NDArray[np.bool_]:
    """Whether the candles of each pair have different values; what is no number in both is the same."""
    same = (left.table == right.table) | (np.isnan(left.table) & np.isnan(right.table))
    differ: npt.NDArray[np.bool_] = ~same.all(axis=0)
    return differ


def _days(times: npt.NDArray[Any]) -> list[Span]:
    days = np.unique(times.astype(np.int64) // DAY_MS) * DAY_MS
    return [Span(day, day + DAY_MS) for day in days.tolist()]


def grid_spans(times: npt.NDArray[np.int64], interval: Interval) -> list[Span]:
    """The candles that open at these times as spans, neighbours together."""
    return merge(Span(time, time + interval.milliseconds) for time in times.tolist())
