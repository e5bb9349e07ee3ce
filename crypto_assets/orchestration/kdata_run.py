"""One run over a candle table: all its symbols, one failure keeping none of the others from being stored. No Dagster.

What is done for a symbol belongs to `collection`. Called by `assets.kdata` and `refresh`.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.exc import OperationalError

from crypto_assets.database.engines import Database
from crypto_assets.database.queries import row_count
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.entities import KDATA_TABLES
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.client import Exchange
from crypto_assets.exchange.errors import ConfigurationError, ExchangeError, RateLimited
from crypto_assets.orchestration.collection import CandleCollector, Collected
from crypto_assets.orchestration.population import note_first_candle, symbols_to_collect
from crypto_assets.quality.ledger import USUAL, Policy, our_clock


@dataclass(frozen=True)
class TableRun:
    """What a run over a candle table did, by ccxt symbol, and what it cost."""

    table: str
    window: Span
    clock: int
    collected: dict[str, Collected]
    failures: dict[str, str]
    requests: int
    seconds: float
    row_count: int

    @property
    def total(self) -> Collected:
        """All symbols together."""
        return sum(self.collected.values(), Collected())


def collect_table(
    exchange: Exchange,
    database: Database,
    table: str,
    symbols: Sequence[str],
    window: Span,
    *,
    only_missing: bool,
    policy: Policy = USUAL,
    now: Callable[[], datetime] = our_clock,
    spans: Mapping[str, Sequence[Span]] | None = None,
) -> TableRun:
    """Collects `window` of the ccxt `symbols` into `table`; with `spans`, by symbol, only what is missing in these.

    `policy` and `now`, our clock (naive UTC), are the gap ledger's. How the rest is meant is said by `CandleCollector`.
    A symbol that fails is named in `failures`, after the others were stored. Raises UnknownSymbol before anything is
    asked or written, and ConfigurationError or RateLimited at once: what is wrong for one symbol is then wrong for all.
    """
    started, asked_before = time.monotonic(), exchange.requests
    market_type, _ = KDATA_TABLES[table]
    chosen = symbols_to_collect(database, market_type, symbols)
    clock = exchange.server_time(market_type) if chosen else 0
    collector = CandleCollector(exchange, database, table, clock, policy, now)
    collected: dict[str, Collected] = {}
    failures: dict[str, str] = {}
    # What lives by now, half a million objects of imports, is left out of garbage collections meanwhile: walking them
    # again for every few thousand rows took a fifth of a run's CPU.
    gc.freeze()
    try:
        for symbol in chosen:
            try:
                if not symbol.is_listing_known:
                    note_first_candle(database, exchange, market_type, symbol)
                chosen_spans = None if spans is None else spans.get(symbol.name, ())
                collected[symbol.name] = collector.collect(
                    symbol, window, only_missing=only_missing, spans=chosen_spans
                )
            except (ConfigurationError, RateLimited):
                raise
            except (ExchangeError, OperationalError) as error:
                failures[symbol.name] = str(error)
    finally:
        gc.unfreeze()
    with database.connect(table) as connection:
        rows = row_count(connection, TABLES[table])
    seconds = time.monotonic() - started
    return TableRun(table, window, clock, collected, failures, exchange.requests - asked_before, seconds, rows)
