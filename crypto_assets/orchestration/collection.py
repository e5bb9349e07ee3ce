"""Collecting candles: window -> fetch -> judge -> derive -> store, one symbol at a time. No Dagster here.

Here belongs the order of these steps and what is committed when. What a candle must be belongs to `frames`, what is
missing to `quality`. Called by `kdata_run` and the benchmarks.

The stored bytes depend on the exchange's history alone. So a window is fetched with the `LOOKBACK` candles before it,
and the `LOOKBACK` stored candles after it are written again, because their derived columns look back into the window.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd
from sqlalchemy import Connection, Table

from crypto_assets.database.engines import Database
from crypto_assets.database.tables import TABLES
from crypto_assets.database.writes import WriteCounts, upsert
from crypto_assets.domain.entities import KDATA_TABLES, PROVIDER, MarketType
from crypto_assets.domain.intervals import Interval
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.client import Exchange, RawPage
from crypto_assets.exchange.errors import ExchangeError
from crypto_assets.frames.candles import LOOKBACK, candle_records, derive, in_order, parse_candles
from crypto_assets.frames.contracts import candle_contract, judge
from crypto_assets.quality.coverage import claim_coverage, listed_span, record_coverage, verified_coverage
from crypto_assets.quality.gaps import missing_spans
from crypto_assets.quality.rejections import Rejection, record_rejections

PAGES_PER_COMMIT = 10
"""Pages judged and committed together. One page at a time costs three times the CPU, nearly all of it pandera's fixed
cost per call; ten keep the loss of a kill small and the memory flat (`make bench` prints both)."""

_QUALITY = "crypto_quality"


@dataclass(frozen=True)
class Symbol:
    """A collected symbol: the exchange's own id, the entity it is stored under, and its base's supply where known."""

    exchange_id: str
    entity_id: str
    name: str
    circulating_supply: float | None = None
    is_listing_known: bool = True


@dataclass(frozen=True)
class Collected:
    """What one symbol's run did: rows received inside the window, rows kept out of the table, and what was written."""

    received: int = 0
    rejected: int = 0
    inserted: int = 0
    changed: int = 0
    unchanged: int = 0
    first: int | None = None
    last: int | None = None

    def __add__(self, other: Collected) -> Collected:
        """Both runs as one."""
        firsts = [time for time in (self.first, other.first) if time is not None]
        lasts = [time for time in (self.last, other.last) if time is not None]
        return Collected(
            self.received + other.received,
            self.rejected + other.rejected,
            self.inserted + other.inserted,
            self.changed + other.changed,
            self.unchanged + other.unchanged,
            min(firsts, default=None),
            max(lasts, default=None),
        )


@dataclass(frozen=True)
class CandleCollector:
    """Collects the candles of one table from one exchange, as of one moment of the exchange's clock (ms)."""

    exchange: Exchange
    database: Database
    table_name: str
    clock: int

    @property
    def market_type(self) -> MarketType:
        """The market the table's symbols trade on."""
        return KDATA_TABLES[self.table_name][0]

    @property
    def interval(self) -> Interval:
        """The table's interval."""
        return KDATA_TABLES[self.table_name][1]

    @property
    def table(self) -> Table:
        """The candle table."""
        return TABLES[self.table_name]

    @property
    def entities(self) -> Table:
        """The table that lists the symbols."""
        return TABLES[self.market_type.entity_table]

    def collect(self, symbol: Symbol, window: Span, *, only_missing: bool) -> Collected:
        """Stores the closed candles of `window` (whole partitions), committing as pages come, and notes the coverage.

        `only_missing` asks for what is not stored; otherwise all is asked for again, and what the exchange revised
        replaces ours. Raises the exchange's errors; what was committed before stays, and is valid.
        """
        with self.database.connect(self.table_name) as connection:
            listed = listed_span(connection, self.entities, symbol.entity_id, self.interval)
            due = window.intersect(listed).intersect(Span(0, self.interval.closed_before(self.clock)))
            spans = [due] if due.start < due.end else []
            if only_missing:
                spans = missing_spans(connection, self.table, symbol.entity_id, self.interval, due)
        for span in spans:
            self.database.ensure_partitions(self.table_name, span)
        result = Collected()
        for span in self._worth_one_request(spans):
            for part in self._fetch(symbol, span, window):
                result += part
        with self.database.connect(self.table_name) as connection:
            rows = verified_coverage(
                connection, self.table, self.entities, symbol.entity_id, self.interval, window, self.clock
            )
        with self.database.begin(self.table_name, also=[_QUALITY]) as connection:
            record_coverage(connection, rows)
        return result

    def _worth_one_request(self, spans: list[Span]) -> list[Span]:
        """Spans closer than their common context are fetched as one: asking twice would cost more than it saves."""
        reach = 2 * LOOKBACK * self.interval.milliseconds
        joined: list[Span] = []
        for span in spans:
            if joined and span.start - joined[-1].end <= reach:
                joined[-1] = Span(joined[-1].start, span.end)
            else:
                joined.append(span)
        return joined

    def _fetch(self, symbol: Symbol, span: Span, window: Span) -> Iterator[Collected]:
        """Commits `span` batch by batch, with its context on both sides."""
        reach = LOOKBACK * self.interval.milliseconds
        closed = self.interval.closed_before(self.clock)
        context = Span(max(0, span.start - reach), min(span.end + reach, closed))
        pages = self.exchange.candle_pages(self.market_type, symbol.exchange_id, self.interval, context)
        before: pd.DataFrame | None = None
        seen: int | None = None
        # What follows the window is rewritten together with what it looks back at, or a kill could leave it old.
        for rows in _batches(pages, span.end - reach):
            parsed = parse_candles(rows)
            # Judged before duplicates are dropped: a broken delivery must not displace a good one.
            verdict = judge(parsed, candle_contract(self.interval))
            kept = in_order(verdict.kept, after=seen)
            is_first = seen is None
            seen = max(seen or 0, int(parsed["open_time"].max()))
            history = kept if before is None else pd.concat([before, kept], ignore_index=True)
            derived = derive(history, self.interval, symbol.circulating_supply).iloc[len(history) - len(kept) :]
            before = history.iloc[-LOOKBACK:]
            refused = parsed.loc[list(verdict.reasons), ["open_time", "row"]]
            rejections = [
                Rejection(rows[row], verdict.reasons[label])
                for label, time, row in zip(refused.index, refused["open_time"], refused["row"], strict=True)
                if span.start <= time < span.end
            ]
            with self.database.begin(self.table_name, also=[_QUALITY]) as connection:
                if is_first:
                    claim_coverage(connection, self.entities, symbol.entity_id, self.interval, window, self.clock)
                stored = self._store(connection, symbol, span, derived, rejections)
            yield stored

    def _store(
        self, connection: Connection, symbol: Symbol, span: Span, candles: pd.DataFrame, rejections: list[Rejection]
    ) -> Collected:
        record_rejections(connection, self.table_name, symbol.entity_id, rejections, self.clock)
        times = candles["open_time"]
        inside = candles[(times >= span.start) & (times < span.end)]
        after = candles[times >= span.end]
        counts = self._upsert(connection, symbol, inside, only_existing=False)
        following = self._upsert(connection, symbol, after, only_existing=True)
        return Collected(
            received=len(inside) + len(rejections),
            rejected=len(rejections),
            inserted=counts.inserted,
            changed=counts.changed + following.changed,
            unchanged=counts.unchanged,
            first=None if inside.empty else int(inside["open_time"].iloc[0]),
            last=None if inside.empty else int(inside["open_time"].iloc[-1]),
        )

    def _upsert(
        self, connection: Connection, symbol: Symbol, candles: pd.DataFrame, *, only_existing: bool
    ) -> WriteCounts:
        if candles.empty:
            return WriteCounts(0, 0, 0)
        records = candle_records(candles, entity_id=symbol.entity_id, provider=PROVIDER, name=symbol.name)
        return upsert(connection, self.table, records, only_existing=only_existing)


def _batches(pages: Iterable[RawPage], tail: int) -> Iterator[list[Any]]:
    """The rows of `PAGES_PER_COMMIT` pages at a time; from the candle that opens at `tail` on, all that is left.

    What came before an error of the exchange is given first, so that it is stored.
    """
    rows: list[Any] = []
    count = 0
    try:
        for page in pages:
            rows += page
            count += 1
            if count >= PAGES_PER_COMMIT and max(row[0] for row in page) < tail:
                yield rows
                rows, count = [], 0
    except ExchangeError:
        if rows:
            yield rows
        raise
    if rows:
        yield rows
