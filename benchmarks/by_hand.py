"""The loop that people write by hand: ccxt's `fetch_ohlcv`, then `DataFrame.to_sql`, a page at a time.

Seven columns, no key, no check, nothing derived, nothing that tells what is missing. `into` is what `to_sql` gets: a
connection of `sqlite3` (the cheaper) or an engine of SQLAlchemy. In a process of its own.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import create_engine

from benchmarks.ccxt_clients import waiting_client
from benchmarks.processes import cpu_seconds
from benchmarks.storage import bytes_per_row

_TABLE = "candles"
_WARM_UP = "BNB/USDT"
_DAY_MS = 86_400_000


def measure(url: str, directory: str, symbols: list[str], start: int, days: int, into: str) -> dict[str, Any]:
    """Collects `days` of each symbol from `start` (ms) into a new file, after a warm-up into another."""
    client = waiting_client(url)
    _collect(client, _target(Path(directory) / "warm-up.db", into), _WARM_UP, start, start + 2 * _DAY_MS)
    file = Path(directory) / "by_hand.db"
    target = _target(file, into)
    before, wall = cpu_seconds(), time.perf_counter()
    rows = sum(_collect(client, target, symbol, start, start + days * _DAY_MS) for symbol in symbols)
    total, wall = cpu_seconds() - before, time.perf_counter() - wall
    return {
        "rows": rows,
        "microseconds": total / rows * 1e6,
        "rows_per_second": rows / wall,
        "bytes_per_row": bytes_per_row(file, _TABLE),
    }


def _target(file: Path, into: str) -> Any:
    return sqlite3.connect(file) if into == "sqlite3" else create_engine(f"sqlite:///{file}")


def _collect(client: Any, target: Any, symbol: str, since: int, end: int) -> int:
    count = 0
    while since < end:
        page = client.fetch_ohlcv(symbol, "1m", since=since, limit=1000)
        if not page:
            break
        frame = pd.DataFrame(page, columns=["timestamp", "open", "high", "low", "close", "volume"])
        frame["symbol"] = symbol
        frame.to_sql(_TABLE, target, if_exists="append", index=False)
        count += len(page)
        since = page[-1][0] + 60_000
    return count
