"""Candles: from the exchange's columns to those of a candle table.

Here belong the derived columns and their look-back. Which rows are fit to store is said in `contracts`; where
they are stored belongs to `database`. Called by `collect.candles` and the benchmarks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from crypto_assets.domain.intervals import Interval
from crypto_assets.domain.series import CANDLE_COLUMNS

LOOKBACK = 20
"""Candles before a candle that its derived columns look at (change_pct one, the two flags all twenty)."""

FLAG_FACTOR = 3.0
"""A candle is flagged when it exceeds its look-back's median this many times."""

Chosen: TypeAlias = slice | npt.NDArray[np.bool_] | npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Candles:
    """Candles as columns, in any order; whoever has them changes none of the arrays.

    `table` has a row of float64 for each of `CANDLE_COLUMNS`: open times in UTC ms, which doubles hold exactly, and NaN
    for what was no number. `archived` says of each candle whether it is from an archive file.
    """

    table: npt.NDArray[np.float64]
    archived: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, table: npt.NDArray[np.float64], *, archived: bool = False) -> Candles:
        """The candles of a page of REST or of an archive file, or stored ones, which count as not archived."""
        return cls(table, np.full(table.shape[1], archived))

    def __len__(self) -> int:
        """How many candles."""
        return len(self.archived)

    def __getitem__(self, chosen: Chosen) -> Candles:
        """The candles of a slice, of a mask, or at positions."""
        return Candles(self.table[:, chosen], self.archived[chosen])

    @cached_property
    def times(self) -> npt.NDArray[np.int64]:
        """The open times."""
        times: npt.NDArray[np.int64] = self.table[0].astype(np.int64)
        return times

    @property
    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """An array for each of `CANDLE_COLUMNS`: open times as int64, all others as float64."""
        return dict(zip(CANDLE_COLUMNS, self.table, strict=True)) | {"open_time": self.times}

    def within(self, start: int, end: int) -> Candles:
        """Of candles in order, those that open in a span."""
        return self[slice(*self.times.searchsorted([start, end]))]


def no_candles() -> Candles:
    """Not one."""
    return Candles.of(np.empty((len(CANDLE_COLUMNS), 0)))


def joined(parts: Sequence[Candles]) -> Candles:
    """The candles of all parts, at least one, one part behind the other."""
    if len(parts) == 1:
        return parts[0]
    return Candles(
        np.concatenate([part.table for part in parts], axis=1), np.concatenate([part.archived for part in parts])
    )


def in_order(candles: Candles, after: int | None = None) -> Candles:
    """The candles sorted by open time, each once (the last delivery wins), only those later than `after`."""
    if after is not None and bool((candles.times <= after).any()):
        candles = candles[candles.times > after]
    if bool((np.diff(candles.times) <= 0).any()):
        _, from_the_end = np.unique(candles.times[::-1], return_index=True)
        candles = candles[len(candles) - 1 - from_the_end]
    return candles


@dataclass(frozen=True, eq=False)
class DerivedCandles:
    """Candles in order, with the columns that are stored beside their own (docs/data-dictionary.md)."""

    candles: Candles
    change_pct: npt.NDArray[np.float64]
    turnover_rate: npt.NDArray[np.float64]
    is_high_volatility: npt.NDArray[np.bool_]
    is_high_volume: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        """How many candles."""
        return len(self.candles)

    def __getitem__(self, chosen: slice) -> DerivedCandles:
        """The candles of a slice."""
        return DerivedCandles(
            self.candles[chosen],
            self.change_pct[chosen],
            self.turnover_rate[chosen],
            self.is_high_volatility[chosen],
            self.is_high_volume[chosen],
        )


def derive(candles: Candles, interval: Interval, circulating_supply: float | None = None) -> DerivedCandles:
    """Candles in order with change_pct, turnover_rate, is_high_volatility and is_high_volume as SCHEMA.md defines.

    The first `LOOKBACK` are right only if nothing precedes them at the exchange, so callers put the candles before a
    window in front of it and drop them afterwards.
    """
    times, (_, opened, high, low, close, volume, *_) = candles.times, candles.table
    change = np.full(len(candles), np.nan)
    adjacent = np.diff(times) == interval.milliseconds
    change[1:][adjacent] = close[1:][adjacent] / close[:-1][adjacent] - 1
    complete = np.zeros(len(candles), dtype=bool)
    complete[LOOKBACK:] = times[LOOKBACK:] - times[:-LOOKBACK] == LOOKBACK * interval.milliseconds
    return DerivedCandles(
        candles,
        change,
        volume / (circulating_supply or np.nan),
        complete & exceeds_median_before((high - low) / opened),
        complete & exceeds_median_before(volume),
    )


def exceeds_median_before(values: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """For each value, whether it is above `FLAG_FACTOR` times the median of the `LOOKBACK` values before it.

    False for the first `LOOKBACK`. Counting how many of the look-back times the factor lie below the value decides all
    rows but those where exactly half do (rounding is monotone, so this agrees with the median to the last bit); only
    for those is a median taken. About twenty times less work than a rolling median.
    """
    count = len(values) - LOOKBACK
    result = np.zeros(len(values), dtype=bool)
    if count <= 0:
        return result
    scaled = values * FLAG_FACTOR
    current = values[LOOKBACK:]
    below = np.zeros(count, dtype=np.int8)
    for back in range(LOOKBACK):
        below += scaled[back : back + count] < current
    result[LOOKBACK:] = below > LOOKBACK // 2
    undecided = np.flatnonzero(below == LOOKBACK // 2)
    if len(undecided):
        windows = np.lib.stride_tricks.sliding_window_view(values, LOOKBACK)[undecided]
        result[LOOKBACK + undecided] = current[undecided] > FLAG_FACTOR * np.median(windows, axis=1)
    return result


def candle_records(derived: DerivedCandles, *, entity_id: str, provider: str, name: str) -> dict[str, Any]:
    """The stored columns of a candle table as `database.writes` takes them; `timestamp` is naive UTC."""
    candles = derived.candles
    values = candles.columns
    counts = candles.table[-1]
    return {
        "entity_id": entity_id,
        "provider": provider,
        "name": name,
        "timestamp": values.pop("open_time").astype("datetime64[ms]"),
        **values,
        "trade_count": counts if np.isnan(counts).any() else counts.astype(np.int64),
        "change_pct": derived.change_pct,
        "turnover_rate": derived.turnover_rate,
        "is_high_volatility": derived.is_high_volatility,
        "is_high_volume": derived.is_high_volume,
    }
