"""The loop of `by_hand` with asyncio: ccxt's `fetch_ohlcv` for all symbols at once, then one `to_sql` for each.

As many write it: a symbol's pages are gathered in a list, so its memory grows with the days. One `to_sql` a symbol is
cheaper than one a page. In a process of its own.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.ccxt_clients import async_client
from benchmarks.processes import cpu_seconds

_TABLE = "candles"
_WARM_UP = "BNB/USDT"
_DAY_MS = 86_400_000


def measure(url: str, directory: str, symbols: list[str], start: int, days: int) -> dict[str, Any]:
    """Collects `days` of each symbol from `start` (ms) into a new file, after a warm-up into another."""
    return asyncio.run(_measure(url, Path(directory), symbols, start, days))


async def _measure(url: str, directory: Path, symbols: list[str], start: int, days: int) -> dict[str, Any]:
    client = await async_client(url)
    try:
        with closing(sqlite3.connect(directory / "warm-up.db")) as other:
            await _collect(client, other, _WARM_UP, start, start + 2 * _DAY_MS)
        with closing(sqlite3.connect(directory / "by_hand.db")) as target:
            before, wall = cpu_seconds(), time.perf_counter()
            await asyncio.gather(*(_collect(client, target, each, start, start + days * _DAY_MS) for each in symbols))
            total, wall = cpu_seconds() - before, time.perf_counter() - wall
            (rows,) = target.execute(f"SELECT count(*) FROM {_TABLE}").fetchone()
    finally:
        await client.close()
    return {"rows": rows, "microseconds": total / rows * 1e6, "rows_per_second": rows / wall}


async def _collect(client: Any, target: sqlite3.Connection, symbol: str, since: int, end: int) -> None:
    candles: list[list[float]] = []
    while since < end:
        page = await client.fetch_ohlcv(symbol, "1m", since=since, limit=1000)
        if not page:
            break
        candles += page
        since = page[-1][0] + 60_000
    frame = pd.DataFrame(candles, columns=["timestamp", "open", "high", "low", "close", "volume"])
    frame["symbol"] = symbol
    frame.to_sql(_TABLE, target, if_exists="append", index=False)
