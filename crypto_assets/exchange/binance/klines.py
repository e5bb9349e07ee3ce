"""Binance's klines as columns: at once where a whole answer is written as documented, row by row where it is not.

Here belongs what stands where in a kline, and what of it is a number. Which candles are fit to store is judged by
`frames`. Called by `client` and `connection`.

A kline is `[open time, "open", "high", "low", "close", "volume", close time, "quote volume", trades, "taker volume",
"taker quote volume", "0"]`; the last is unused, and an exchange that speaks this format may leave it out:
https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from crypto_assets.domain.spans import Span
from crypto_assets.exchange.client import CandlePage

MIN_FIELDS = 11

_POSITIONS = [0, 1, 2, 3, 4, 5, 7, 8]  # of CANDLE_COLUMNS
_OPEN_TIME, _TEXTS = 0, 9
_WHOLE = (0, 6, 8)  # both times and the trades
# A kline without digits and points.
_FRAME = b'[,"","","","","",,"",,"","",""]'
_FIELDS = _FRAME.count(b",") + 1
_DIGITS, _MARKS = b"0123456789.", b'"[]'


def read_page(body: bytes) -> CandlePage | None:
    """The page that an answer is, if each of its rows is written as documented, else None. It has no strays.

    Without quotes and inner brackets such an answer is one list of numbers, which orjson reads at once and rounds
    correctly. That it has so many numbers proves nothing: a bracket within a text, or a quote that is lost, gives as
    many. So the order of all other characters is compared, and that each text is one number.
    """
    if not (body.startswith(b"[[") and body.endswith(b"]]")):
        return None  # no list of lists, or digits before its last bracket
    # bytes.count takes six times as long for pairs of characters that are in every field.
    each = np.frombuffer(body, np.uint8)
    commas, quotes, ends = (each == character for character in b',"]')
    rows = int(np.count_nonzero(ends[:-2] & commas[1:-1] & (each[2:] == ord("[")))) + 1
    if body.translate(None, _DIGITS) != b"[" + b",".join([_FRAME] * rows) + b"]":
        return None
    texts = rows * _TEXTS
    opened, closed = commas[:-1] & quotes[1:], quotes[:-1] & (commas | ends)[1:]
    if np.count_nonzero(opened) != texts or np.count_nonzero(closed) != texts:
        return None  # digits outside of the quotes
    try:
        numbers = orjson.loads(b"[" + body.translate(None, _MARKS) + b"]")
    except orjson.JSONDecodeError:
        return None
    if any(set(map(type, numbers[position::_FIELDS])) != {int} for position in _WHOLE):
        return None
    # Two copies at once instead of one a column: numpy hands over to another thread at each.
    table = np.array(numbers, dtype=np.float64).reshape(rows, _FIELDS)
    return CandlePage(np.ascontiguousarray(table.T[_POSITIONS]), body[1:-1])


def page_of(rows: Sequence[Sequence[Any]], window: Span) -> CandlePage:
    """The same of rows of at least `MIN_FIELDS` fields, whatever is in them.

    What is null or no number becomes NaN, for the contract to reject: a bad row must not cost the good ones of its
    page. A row whose open time is no whole number inside the window is a stray.
    """
    kept = [row for row in rows if is_open_time(row[_OPEN_TIME], window)]
    strays = [list(row) for row in rows if not is_open_time(row[_OPEN_TIME], window)] if len(kept) < len(rows) else []
    table = np.stack([_doubles([row[position] for row in kept]) for position in _POSITIONS])
    return CandlePage(table, _as_json(rows), strays, [list(row) for row in kept])


def is_open_time(value: object, window: Span) -> bool:
    """Whether a value is a whole number, which `true` is not, inside the window."""
    return type(value) is int and window.start <= value < window.end


def _as_json(rows: Sequence[Sequence[Any]]) -> bytes:
    try:
        return orjson.dumps(rows)[1:-1]
    except TypeError:  # a number of more than 64 bits, or text that is none
        return json.dumps(rows)[1:-1].encode()


def _doubles(values: Sequence[Any]) -> npt.NDArray[np.float64]:
    try:
        if values and type(values[0]) is str:
            # Correctly rounded like float(), at a third of its cost; what it cannot read is tried one by one.
            texts = pa.array(values, type=pa.string())
            doubles: npt.NDArray[np.float64] = texts.cast(pa.float64()).to_numpy(zero_copy_only=False)
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
