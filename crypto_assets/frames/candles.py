"""Candles: from the exchange's rows to the columns of a candle table.

Here belong parsing, the derived columns and their look-back. Which rows are fit to store is said in `contracts`; where
they are stored belongs to `database`. Called by `collect.candles` and the benchmarks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from crypto_assets.domain.intervals import Interval

LOOKBACK = 20
"""Candles before a candle that its derived columns look at (change_pct one, the two flags all twenty)."""

FLAG_FACTOR = 3.0
"""A candle is flagged when it exceeds its look-back's median this many times."""

# Positions in a Binance kline: https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints
_PRICES = {"open": 1, "high": 2, "low": 3, "close": 4, "volume": 5, "volume_quote": 7}
_TRADE_COUNT = 8
CANDLE_COLUMNS = ("open_time", *_PRICES, "trade_count")


def parse_candles(rows: Sequence[Sequence[Any]]) -> pd.DataFrame:
    """Binance kline rows as a frame with `CANDLE_COLUMNS`, in the order received.

    Beside them are `row`, the position in `rows`, and `archived`, which is false. Decimal text becomes a double once,
    here. What is null or no number becomes NaN, for the contract to reject: a bad row must not cost the good ones of
    its page.
    """
    frame: dict[str, np.ndarray[Any, Any]] = {"open_time": np.array([row[0] for row in rows], dtype=np.int64)}
    for name, position in _PRICES.items():
        frame[name] = _doubles([row[position] for row in rows])
    frame["trade_count"] = _doubles([row[_TRADE_COUNT] for row in rows])
    return _received(frame, archived=False)


def archived_candles(table: pa.Table) -> pd.DataFrame:
    """Candles of an archive file as the frame that `parse_candles` makes of the same candles, but `archived`.

    `table` has `CANDLE_COLUMNS`, times in ms UTC as int64 and the others as float64; null becomes NaN.
    """
    return _received({name: table[name].to_numpy() for name in CANDLE_COLUMNS}, archived=True)


def _received(columns: dict[str, np.ndarray[Any, Any]], *, archived: bool) -> pd.DataFrame:
    rows = len(columns["open_time"])
    return pd.DataFrame(columns | {"row": np.arange(rows), "archived": np.full(rows, archived)}, copy=False)


# The time is stored under another name; the others say where a candle came from.
_UNSTORED = ("open_time", "row", "archived")


def _doubles(values: Sequence[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    try:
        if values and type(values[0]) is str:
            # Correctly rounded like float(), at a third of its cost; what it cannot read is tried one by one.
            texts = pa.array(values, type=pa.string())
            doubles: np.ndarray[Any, np.dtype[np.float64]] = texts.cast(pa.float64()).to_numpy(zero_copy_only=False)
            return doubles
        if set(map(type, values)) <= {int, float}:
            return np.fromiter(map(float, values), dtype=np.float64, count=len(values))
    except (ValueError, OverflowError, TypeError):
        pass
    return np.fromiter((_double_or_nan(value) for value in values), dtype=np.float64, count=len(values))


_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def _double_or_nan(value: Any) -> float:
    """The number; NaN for what only Python takes for one, such as `true` and "1_000"."""
    if type(value) not in (int, float) and not (isinstance(value, str) and _DECIMAL.fullmatch(value)):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf


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
