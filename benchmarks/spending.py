"""Asking for pages as fast as the budget allows, from several threads, in a process of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.processes import cpu_seconds
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import DAY_MS, Interval
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.binance.client import BinanceExchange

_DAYS = 20  # asked for again and again: the sandbox shall not be what is measured


def measure(url: str, state_directory: str, threads: int, until: float, start: int, reserve: float) -> dict[str, Any]:
    """Asks until `until` (seconds since 1970) for candles from `start` (ms): requests, and CPU for each."""
    results: list[tuple[int, float]] = []
    span = Span(start, start + _DAYS * DAY_MS)

    def spend() -> None:
        made = BinanceExchange(
            "sandbox", spot_url=url, futures_url=url, state_directory=Path(state_directory), weight_reserve=reserve
        )
        spent = [0.0]
        with closing(made) as exchange:
            budget = exchange._connection(MarketType.SPOT).budget  # noqa: SLF001 - its share of the CPU is measured
            for name in ("lease", "settle"):
                setattr(budget, name, _timed(getattr(budget, name), spent))
            exchange.markets(MarketType.SPOT)  # says the limit
            while True:
                for _ in exchange.candle_pages(MarketType.SPOT, "BTCUSDT", Interval.M1, span):
                    if time.time() >= until:
                        results.append((exchange.requests, spent[0]))
                        return

    before = cpu_seconds()
    workers = [threading.Thread(target=spend) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    requests = sum(each for each, _ in results)
    if len(results) < threads:
        raise RuntimeError(f"{threads - len(results)} of {threads} threads broke")
    return {
        "requests": requests,
        "budget_ms": sum(each for _, each in results) / requests * 1e3,
        "all_ms": (cpu_seconds() - before) / requests * 1e3,
    }


def _timed(function: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    """`function`, its thread's CPU seconds added to `spent`."""

    def timed(*arguments: Any) -> Any:
        before = time.thread_time()
        try:
            return function(*arguments)
        finally:
            spent[0] += time.thread_time() - before

    return timed
