"""The floor: the same pages asked for and decoded, and nothing kept of them. In a process of its own.

`through` is what asks: `requests`, a plain session and orjson, or `ccxt`, its implicit endpoint, which our path uses.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import orjson
import requests

from benchmarks.ccxt_clients import waiting_client
from benchmarks.processes import cpu_seconds

_WARM_UP = "BNB/USDT"
_DAY_MS = 86_400_000
_Ask = Callable[[dict[str, Any]], list[Any]]


def measure(url: str, symbols: list[str], start: int, days: int, through: str) -> dict[str, Any]:
    """Asks for `days` of each symbol from `start` (ms), after a warm-up with another symbol."""
    ask = _session(url) if through == "requests" else waiting_client(url).publicGetKlines
    _count(ask, _WARM_UP, start, start + 2 * _DAY_MS)
    before, wall = cpu_seconds(), time.perf_counter()
    rows = sum(_count(ask, symbol, start, start + days * _DAY_MS) for symbol in symbols)
    total, wall = cpu_seconds() - before, time.perf_counter() - wall
    return {"rows": rows, "microseconds": total / rows * 1e6, "rows_per_second": rows / wall}


def _session(url: str) -> _Ask:
    session = requests.Session()
    session.trust_env = False

    def ask(params: dict[str, Any]) -> list[Any]:
        answer = session.get(f"{url}/api/v3/klines", params=params, timeout=20)
        answer.raise_for_status()
        page: list[Any] = orjson.loads(answer.content)
        return page

    return ask


def _count(ask: _Ask, symbol: str, since: int, end: int) -> int:
    count = 0
    while since < end:
        page = ask({"symbol": symbol.replace("/", ""), "interval": "1m", "startTime": since, "limit": 1000})
        if not page:
            break
        count += len(page)
        since = int(page[-1][0]) + 60_000
    return count
