"""One run over a candle table: all its symbols, one failure keeping none of the others from being stored. No Dagster.

What is done for a symbol belongs to `collect.candles`. Called by `assets.kdata` and `refresh`.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy.exc import DBAPIError

from crypto_assets.collect.bulk_file_reader import BulkFileReader
from crypto_assets.collect.candles import CandleCollector
from crypto_assets.collect.holes import PricedHole, priced
from crypto_assets.collect.outcome import Counts, Symbol
from crypto_assets.collect.plan import Plan
from crypto_assets.collect.progress import Tally, Tell, nobody
from crypto_assets.collect.store import CandleStore
from crypto_assets.collect.symbols import note_untracked_listing, symbols_to_collect
from crypto_assets.database.engines import Database
from crypto_assets.database.errors import DatabaseError, DatabaseNotReady, EnvironmentMismatch, one_sentence
from crypto_assets.database.queries import row_count
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.series import CandleTable
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.bulk_files import BulkFiles
from crypto_assets.exchange.client import Exchange
from crypto_assets.exchange.errors import ConfigurationError, ExchangeError, RateLimited
from crypto_assets.quality.gaps.deciding import WAITING, holes
from crypto_assets.quality.gaps.ledger import USUAL, Policy, our_clock
from crypto_assets.quality.gaps.partition_figures import PartitionFigures, partition_figures


@dataclass(frozen=True)
class TableRun:
    """What a run over a candle table did, by ccxt symbol, and what it cost; beside it what it should have been."""

    candle_table: CandleTable
    window: Span
    clock: int
    counts: dict[str, Counts]
    failures: dict[str, str]
    planned_rows: int
    planned_requests: int
    requests: int
    seconds: float
    row_count: int
    archive: BulkFileReader
    archive_requests: int
    partitions: dict[str, PartitionFigures]
    """All partitions of the window by key, with all symbols that were ever collected."""
    holes: list[PricedHole]
    """Long holes beside the window that wait for a decision: this run opened them, or found them there."""
    nothing_due: list[str]
    """Symbols of which no candle of the window can be had: they were not listed then, or none has closed yet."""

    @property
    def total(self) -> Counts:
        """All symbols together."""
        return sum(self.counts.values(), Counts())


def collect_table(
    exchange: Exchange,
    database: Database,
    candle_table: CandleTable,
    symbols: Sequence[str],
    window: Span,
    *,
    only_missing: bool,
    policy: Policy = USUAL,
    now: Callable[[], datetime] = our_clock,
    spans: Mapping[str, Sequence[Span]] | None = None,
    progress: Tell = nobody,
    archive: BulkFiles | None = None,
) -> TableRun:
    """Collects `window` of the ccxt `symbols` into a table; with `spans`, by symbol, only what is missing in these.

    Closed months and days come from `archive`, where that has them and spares requests. `policy` and `now`, our clock
    (naive UTC), are the gap ledger's; `progress` is told as candles come. How the rest is meant is said by
    `CandleCollector`.
    A symbol that fails is named in `failures`, after the others were stored. Raises UnknownSymbol before anything is
    asked or written, and ConfigurationError or RateLimited at once: what is wrong for one symbol is then wrong for all.
    """
    started, asked_before = time.monotonic(), exchange.requests
    files = BulkFileReader(archive)
    files_before = files.requests
    market_type = candle_table.market_type
    chosen = symbols_to_collect(database, market_type, symbols)
    clock = exchange.server_time(market_type) if chosen else 0
    tally = Tally(candle_table, {symbol.name: 0 for symbol in chosen}, progress)
    # What closed after this may still change: it is neither asked for nor owed.
    settled = clock - exchange.close_margin_ms
    store = CandleStore(database, candle_table, settled, policy, now)
    collector = CandleCollector(exchange, store, tally, files)

    def plan(symbols: Sequence[Symbol]) -> dict[str, Plan]:
        return collector.plan(symbols, window, only_missing=only_missing, spans=spans)

    def collect(symbol: Symbol) -> Counts:
        current = plans[symbol.name]
        if not symbol.is_listing_known:
            note_untracked_listing(database, exchange, market_type, symbol)
        if not symbol.is_listing_known or not collector.still_holds(symbol, current):
            current = plan([symbol])[symbol.name]
            tally.expect(symbol.name, current.rows - plans[symbol.name].rows)
        try:
            return collector.collect(symbol, current).counts
        finally:
            tally.end(symbol.name)

    with _rare_garbage_collections():
        # Planned for all before anything is asked, so that it can be said how far the whole is.
        plans, failures = _together_or_alone(plan, chosen)
        for name, each in plans.items():
            tally.expect(name, each.rows)
        planned = [symbol for symbol in chosen if symbol.name in plans]
        rows = sum(each.rows for each in plans.values())
        pages = sum(collector.pages(symbol, plans[symbol.name]) for symbol in planned)

        def stop_waiting() -> None:
            exchange.stop()
            files.stop()

        counts, failed = each_symbol(collect, planned, exchange.readers, collector.stop, stop_waiting)
    asked_for = {symbol.entity_id for symbol in planned}
    with database.connect(candle_table.name) as connection:
        stored = row_count(connection, TABLES[candle_table.name])
        partitions = partition_figures(connection, candle_table, window)
        beside = [
            hole
            for hole in holes(connection, candle_table, policy)
            if hole.state == WAITING and hole.entity_id in asked_for and _touch(hole.span, window)
        ]
    return TableRun(
        candle_table,
        window,
        clock,
        counts,
        failures | failed,
        planned_rows=rows,
        planned_requests=pages + bool(chosen),  # the clock
        requests=exchange.requests - asked_before,
        seconds=time.monotonic() - started,
        row_count=stored,
        archive=files,
        archive_requests=files.requests - files_before,
        partitions=partitions,
        holes=priced(beside, store.venue, settled, has_archive=archive is not None),
        nothing_due=[name for name, each in plans.items() if not each.askable],
    )


def _touch(one: Span, other: Span) -> bool:
    return one.start <= other.end and other.start <= one.end


def _together_or_alone(
    plan: Callable[[Sequence[Symbol]], dict[str, Plan]], symbols: Sequence[Symbol]
) -> tuple[dict[str, Plan], dict[str, str]]:
    """The plans by symbol, and why there is none for the others: what the database refuses of one costs none but it."""
    try:
        return plan(symbols), {}
    except DBAPIError as error:
        if len(symbols) == 1:
            return {}, {symbols[0].name: one_sentence(error)}
    half = len(symbols) // 2
    parts = [_together_or_alone(plan, part) for part in (symbols[:half], symbols[half:])]
    return parts[0][0] | parts[1][0], parts[0][1] | parts[1][1]


WRONG_FOR_ALL = (ConfigurationError, RateLimited, DatabaseNotReady, EnvironmentMismatch)
"""What another symbol would meet as well; any other error of the exchange or the database costs its symbol only."""

_Result = TypeVar("_Result")


@contextmanager
def _rare_garbage_collections() -> Iterator[None]:
    """Fewer collections, and none of what lives already.

    Walking half a million objects of imports for every few thousand rows took a fifth of a run's CPU, and the lists of
    each new page, which are freed without it, a twentieth.
    """
    often, *rarer = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(100 * often, *rarer)
    try:
        yield
    finally:
        gc.set_threshold(often, *rarer)
        gc.unfreeze()


def each_symbol(
    collect: Callable[[Symbol], _Result],
    symbols: Sequence[Symbol],
    at_once: int,
    stop: threading.Event,
    stop_waiting: Callable[[], None],
) -> tuple[dict[str, _Result], dict[str, str]]:
    """What `collect` did for each symbol, and why it failed for the others; so many at once, in the symbols' order.

    Raises what is wrong for all of them, after `stop` was set and those under way have ended. Where somebody ends the
    run (Ctrl-C, Dagster), `stop_waiting` is called as well, so that they end at once.
    """
    collected: dict[str, _Result] = {}
    failures: dict[str, str] = {}

    def unless_stopped(symbol: Symbol) -> _Result:
        if stop.is_set():
            raise ExchangeError("not asked for: another symbol met what is wrong for all")
        try:
            return collect(symbol)
        except WRONG_FOR_ALL:
            stop.set()  # here, before this thread begins the next symbol
            raise

    with ThreadPoolExecutor(max(1, min(at_once, len(symbols))), "symbols") as executor:
        futures = {executor.submit(unless_stopped, symbol): symbol.name for symbol in symbols}
        try:
            for future in as_completed(futures):
                try:
                    collected[futures[future]] = future.result()
                except WRONG_FOR_ALL:
                    raise
                except (ExchangeError, DatabaseError, DBAPIError) as error:
                    failures[futures[future]] = one_sentence(error)
        except BaseException as error:
            stop.set()
            if not isinstance(error, Exception):
                stop_waiting()
            executor.shutdown(cancel_futures=True)
            raise
    order = [symbol.name for symbol in symbols]
    return {name: collected[name] for name in order if name in collected}, failures
