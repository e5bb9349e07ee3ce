"""Candles: from the exchange's columns to those of a candle table.

Here belong the derived columns and their look-back. Which rows are fit to store is said in `contracts`; where
they are stored belongs to `database`. Called by `collect.candles` and the benchmarks.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from crypto_assets.domain.intervals import Interval
from crypto_assets.domain.series import CANDLE_COLUMNS

LOOKBACK = 20
"""Candles before a candle that its derived columns look at (change_pct one, the two flags all twenty)."""

FLAG_FACTOR = 3.0
"""A candle is flagged when it exceeds its look-back's median this many times."""


def received_candles(columns: Mapping[str, npt.NDArray[Any]]) -> pd.DataFrame:
    """Candles as an exchange sent them, arrays by `CANDLE_COLUMNS`, as a frame in the order received.

    Beside these columns are `row`, the position, and `archived`, which is false. What is NaN, the contract rejects.
    """
    return _received(columns, archived=False)


def no_candles() -> pd.DataFrame:
    """The same of nothing."""
    none = {name: np.empty(0, np.int64 if name == "open_time" else np.float64) for name in CANDLE_COLUMNS}
    return received_candles(none)


def archived_candles(table: pa.Table) -> pd.DataFrame:
    """Candles of an archive file as the frame that `received_candles` makes of the same candles, but `archived`.

    `table` has `CANDLE_COLUMNS`, times in ms UTC as int64 and the others as float64; null becomes NaN.
    """
    return _received({name: table[name].to_numpy() for name in CANDLE_COLUMNS}, archived=True)


def _received(columns: Mapping[str, npt.NDArray[Any]], *, archived: bool) -> pd.DataFrame:
    rows = len(columns["open_time"])
    return pd.DataFrame({**columns, "row": np.arange(rows), "archived": np.full(rows, archived)}, copy=False)


# The time is stored under another name; the others say where a candle came from.
_UNSTORED = ("open_time", "row", "archived")


def in_order(frame: pd.DataFrame, after: int | None = None) -> pd.DataFrame:
    """The candles sorted by open time, each once (the last delivery wins), only those later than `after`."""
    times = frame["open_time"].to_numpy()
    if after is not None and (times <= after).any():
        frame = frame[times > after]
        times = frame["open_time"].to_numpy()
    if len(times) > 1 and (np.diff(times) <= 0).any():
        frame = frame.drop_duplicates("open_time", keep="last").sort_values("open_time")
    return frame.reset_index(drop=True)


def derive(frame: pd.DataFrame, interval: Interval, circulating_supply: float | None = None) -> pd.DataFrame:
    """`frame` (in order) with change_pct, turnover_rate, is_high_volatility and is_high_volume as SCHEMA.md defines.

    The first `LOOKBACK` rows are right only if nothing precedes them at the exchange, so callers put the candles
    before a window in front of it and drop them afterwards.
    """
    columns = columns_of(frame)
    times, close, volume = columns["open_time"], columns["close"], columns["volume"]
    change = np.full(len(frame), np.nan)
    adjacent = np.diff(times) == interval.milliseconds
    change[1:][adjacent] = close[1:][adjacent] / close[:-1][adjacent] - 1
    spread = (columns["high"] - columns["low"]) / columns["open"]
    complete = np.zeros(len(frame), dtype=bool)
    complete[LOOKBACK:] = times[LOOKBACK:] - times[:-LOOKBACK] == LOOKBACK * interval.milliseconds
    columns |= {
        "change_pct": change,
        "turnover_rate": volume / (circulating_supply or np.nan),
        "is_high_volatility": complete & exceeds_median_before(spread),
        "is_high_volume": complete & exceeds_median_before(volume),
    }
    return pd.DataFrame(columns, index=frame.index, copy=False)


def columns_of(frame: pd.DataFrame) -> dict[str, np.ndarray[Any, Any]]:
    """The columns as arrays: what is done with them one by one costs a third of the same through pandas."""
    return {str(name): column.to_numpy() for name, column in frame.items()}


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


def candle_records(frame: pd.DataFrame, *, entity_id: str, provider: str, name: str) -> pd.DataFrame:
    """A derived frame with the stored columns of a candle table; `timestamp` is naive UTC (datetime64[ms])."""
    columns = columns_of(frame)
    values = {name: values for name, values in columns.items() if name not in _UNSTORED}
    values["trade_count"] = values["trade_count"].astype(np.int64)
    values["timestamp"] = columns["open_time"].astype("datetime64[ms]")
    same = {"entity_id": entity_id, "provider": provider, "name": name}
    # A category is stored once, not once a row.
    codes = np.zeros(len(frame), np.int8)
    once = {column: pd.Categorical.from_codes(codes, dtype=_category(text)) for column, text in same.items()}
    return pd.DataFrame(values | once, copy=False)


@lru_cache(maxsize=1024)
def _category(text: str) -> pd.CategoricalDtype:
    return pd.CategoricalDtype([text])
