"""Our path: CPU time per row from HTTP to committed row, by stage. In a process of its own.

This is the path that the candle assets run. Its stages are measured at the objects that are handed to it: the exchange,
the archive and the database. What lies between these is one stage; a profiler tells it apart.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.engine import make_url

from benchmarks.processes import cpu_seconds
from benchmarks.source_check import check_stored
from benchmarks.storage import bytes_per_row
from crypto_assets.collect.run import collect_table
from crypto_assets.collect.symbols import populate_markets
from crypto_assets.database.engines.sqlite import SqliteDatabase
from crypto_assets.database.migrations import migrate
from crypto_assets.database.revisions import HEAD
from crypto_assets.domain.entities import PROVIDER, MarketType
from crypto_assets.domain.environments import Environment
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.binance.archive import BinanceArchive
from crypto_assets.exchange.binance.client import BinanceExchange

TABLE = "cryptopair_1m_kdata"
ENVIRONMENT = Environment.SANDBOX
_WARM_UP = "BNB/USDT"  # is not measured
_WARM_UP_DAYS, _WARM_UP_DAYS_OF_FILES = 2, 28  # of February 2021: the archive spares requests by months alone
_DAY_MS = 86_400_000
_Result = TypeVar("_Result")


class Stages:
    """CPU seconds by stage. No stage lies within another."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def measured(self, stage: str) -> Iterator[None]:
        """Adds what the block takes to `stage`."""
        before = time.process_time()
        try:
            yield
        finally:
            self.seconds[stage] += time.process_time() - before

    def around(self, stage: str, function: Callable[..., _Result]) -> Callable[..., _Result]:
        """`function`, its time added to `stage`."""

        @wraps(function)
        def timed(*args: Any, **kwargs: Any) -> _Result:
            with self.measured(stage):
                return function(*args, **kwargs)

        return timed

    def around_each(self, stage: str, function: Callable[..., Iterator[_Result]]) -> Callable[..., Iterator[_Result]]:
        """`function`, a generator, the time until each of its values added to `stage`."""

        @wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Iterator[_Result]:
            values = function(*args, **kwargs)
            end = object()
            while True:
                with self.measured(stage):
                    value = next(values, end)
                if value is end:
                    return
                yield value  # type: ignore[misc]

        return timed


class TimedDatabase(SqliteDatabase):
    """The database, with the beginning and end of its transactions as a stage."""

    stages: Stages

    @contextmanager
    def begin(self, name: str, also: Any = ()) -> Iterator[Connection]:
        """As the database does it."""
        with ExitStack() as stack:
            with self.stages.measured("commit"):
                connection = stack.enter_context(super().begin(name, also))
            yield connection
            with self.stages.measured("commit"):
                stack.pop_all().close()


def prepare(
    url: str,
    directory: str,
    symbols: list[str],
    database: SqliteDatabase | None = None,
    state_directory: Path | None = None,
) -> SqliteDatabase:
    """A migrated database in `directory` that lists the symbols of the exchange at `url`.

    Who shares a request budget in `state_directory` learns there what the exchange says its limit is.
    """
    database = database or open_benchmark(directory)
    migrate(database)
    with closing(exchange_at(url, state_directory=state_directory)) as exchange:
        populate_markets(database, exchange, MarketType.SPOT, symbols, exchange.server_time(MarketType.SPOT))
    return database


def open_benchmark(directory: str) -> SqliteDatabase:
    """The database in `directory`, as it is."""
    return SqliteDatabase(make_url(f"sqlite:///{directory}"), ENVIRONMENT, PROVIDER, HEAD)


def exchange_at(url: str, in_flight: int = 1, state_directory: Path | None = None) -> BinanceExchange:
    """The project's exchange client, asking the sandbox at `url`; on loopback it does not throttle."""
    return BinanceExchange(
        ENVIRONMENT, spot_url=url, futures_url=url, in_flight=in_flight, state_directory=state_directory
    )


def measure(
    url: str, directory: str, symbols: list[str], start: int, days: int, files: bool = False, in_flight: int = 1
) -> dict[str, Any]:
    """Collects `days` of each symbol from `start` (ms) into a new database, after a warm-up with another symbol.

    Raises RuntimeError unless every row is stored, each value as it was published. With `files` they come from the
    archive; the days make up whole months then.
    """
    stages = Stages()
    archive = BinanceArchive(url) if files else None
    if archive is not None:
        archive.fetch = stages.around("exchange", archive.fetch)  # type: ignore[method-assign]
    database = TimedDatabase(make_url(f"sqlite:///{directory}"), ENVIRONMENT, PROVIDER, HEAD)
    database.stages = stages
    prepare(url, directory, [*symbols, _WARM_UP], database)
    with closing(exchange_at(url, in_flight)) as exchange:
        exchange.candle_pages = stages.around_each("exchange", exchange.candle_pages)  # type: ignore[method-assign]
        warm = Span(start, start + (_WARM_UP_DAYS_OF_FILES if files else _WARM_UP_DAYS) * _DAY_MS)
        collect_table(exchange, database, KDATA_TABLES[TABLE], [_WARM_UP], warm, only_missing=False, archive=archive)
        stages.seconds.clear()
        before, wall = cpu_seconds(), time.perf_counter()
        window = Span(start, start + days * _DAY_MS)
        run = collect_table(
            exchange, database, KDATA_TABLES[TABLE], symbols, window, only_missing=False, archive=archive
        )
        process_seconds = cpu_seconds()
        total, wall = process_seconds - before, time.perf_counter() - wall
    expected = len(symbols) * days * 1440
    if run.failures or run.total.inserted != expected or run.total.archived != (expected if files else 0):
        raise RuntimeError(
            f"{run.total.inserted} of {expected} rows were stored, {run.total.archived} of them from files; failures:"
            f" {run.failures}"
        )
    database.dispose()
    check_stored(url, database.path(TABLE), TABLE, symbols, start, days)
    stages.seconds["rest"] = total - sum(stages.seconds.values())
    return {
        "rows": expected,
        "microseconds": total / expected * 1e6,
        "stages": {stage: seconds / expected * 1e6 for stage, seconds in stages.seconds.items()},
        "rows_per_second": expected / wall,
        "process_seconds": process_seconds,
        "bytes_per_row": bytes_per_row(database.path(TABLE), TABLE),
    }
