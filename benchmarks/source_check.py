"""Whether what was stored is what the source published: each value of each row, read by plain SQL, beside the pages.

Here belongs the comparison alone, with nothing of the path that is measured. Called by `collecting` once it has
measured.
"""

from __future__ import annotations

import json
import sqlite3
import urllib.request
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_MINUTE_MS = 60_000
_PAGE = 1000
# Where they stand in a row of Binance's klines.
_PUBLISHED = {
    "timestamp": 0,
    "open": 1,
    "high": 2,
    "low": 3,
    "close": 4,
    "volume": 5,
    "volume_quote": 7,
    "trade_count": 8,
}


def check_stored(url: str, file: Path, table: str, symbols: list[str], start: int, days: int) -> None:
    """Compares all rows of `symbols` in `table` with the sandbox at `url`: `days` of 1m from `start` (ms), no more.

    Raises RuntimeError with the symbol and the column that differ.
    """
    query = f"SELECT {', '.join(_PUBLISHED)} FROM {table} WHERE name = ? ORDER BY timestamp"
    with closing(sqlite3.connect(file)) as connection:
        for symbol in symbols:
            stored = pd.DataFrame(connection.execute(query, [symbol]), columns=list(_PUBLISHED))
            stored["timestamp"] = pd.to_datetime(stored["timestamp"]).astype("datetime64[ms]").astype("int64")
            published = _published(url, symbol, start, days)
            for column, place in _PUBLISHED.items():
                if not np.array_equal(stored[column].to_numpy(float), published[:, place]):
                    raise RuntimeError(f"{column} of {symbol} in {file.name} is not what was published")


def _published(url: str, symbol: str, start: int, days: int) -> NDArray[np.float64]:
    """A row a candle, with the columns of Binance's klines."""
    rows: list[list[float]] = []
    end = start + days * 1440 * _MINUTE_MS
    while start < end:
        named = f"symbol={symbol.replace('/', '')}&interval=1m&limit={_PAGE}&startTime={start}&endTime={end - 1}"
        with urllib.request.urlopen(f"{url}/api/v3/klines?{named}") as answer:  # noqa: S310 - loopback
            page = json.load(answer)
        rows += [[float(value) for value in row] for row in page]
        start += _PAGE * _MINUTE_MS
    return np.array(rows)
