"""Collecting candles: window -> fetch -> judge -> derive -> store, one symbol at a time. No Dagster here.

Here belongs the order of these steps and what is committed when. What a candle must be belongs to `frames`, what is
missing to `quality`. Called by `kdata_run` and the benchmarks.

The stored bytes depend on the exchange's history alone. So a window is fetched with the `LOOKBACK` candles before it,
and the `LOOKBACK` stored candles after it are written again, because their derived columns look back into the window.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import pandas as pd
from sqlalchemy import Connection, Table

from crypto_assets.database.engines import Database
from crypto_assets.database.tables import TABLES
from crypto_assets.database.writes import WriteCounts, upsert
from crypto_assets.domain.entities import KDATA_TABLES, PROVIDER, MarketType
from crypto_assets.domain.intervals import Interval, partition_keys, to_datetime
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.client import Exchange, RawPage
from crypto_assets.exchange.errors import ExchangeError
from crypto_assets.frames.candles import LOOKBACK, candle_records, derive, in_order, parse_candles
from crypto_assets.frames.contracts import candle_contract, judge
from crypto_assets.orchestration.asking import Asking, plan, reach
from crypto_assets.quality.changes import note_unverified
from crypto_assets.quality.coverage import claim_coverage, unverify
from crypto_assets.quality.ledger import Answer, Policy
from crypto_assets.quality.rejections import Rejection, record_rejections
from crypto_assets.quality.verification import PARTITIONS_PER_TRANSACTION, Series, merge_looks

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
    """Collects the candles of one table from one exchange, as of one moment of the exchange's clock (ms).

    `policy` and `now`, our clock (naive UTC), are the gap ledger's.
    """

    exchange: Exchange
    database: Database
    table_name: str
    clock: int
    policy: Policy
    now: Callable[[], datetime]

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

    def collect(
        self, symbol: Symbol, window: Span, *, only_missing: bool, spans: Sequence[Span] | None = None
    ) -> Collected:
        """Stores the closed candles of `window` (whole partitions), committing as pages come, and notes the coverage.

        `only_missing` asks for what is not stored and not known to be lacking at the exchange; with `spans` only for
        what is missing in these, known or not; otherwise all is asked for again, and what the exchange revised replaces
        ours. A partition that was altered behind our back is asked for as a whole. What was asked for in vain is noted
        in the ledger. Raises the exchange's errors; what was committed before stays, and is valid.
        """
        with self.database.connect(self.table_name) as connection:
            series = Series(connection, self.table_name, symbol.entity_id)
            asking = plan(series, window, self.clock, only_missing=only_missing, spans=spans)
        result = self._ask(symbol, asking)
        doubtful = self._verify(symbol, asking)
        if doubtful:
            # Filling what was missing did not bring back what was there: the rest was altered as well.
            asking.ask_whole(self.interval, doubtful)
            result += self._ask(symbol, asking)
            self._verify(symbol, asking)
        self._account(symbol, asking)
        return result

    def _ask(self, symbol: Symbol, asking: Asking) -> Collected:
        result = Collected()
        for span in asking.spans:
            self.database.ensure_partitions(self.table_name, span)
        for span in self._worth_one_request(asking.spans):
            for part in self._fetch(symbol, span, asking):
                result += part
        return result

    def _verify(self, symbol: Symbol, asking: Asking) -> list[str]:
        """Verifies all partitions of the window; those that are not as they were although they should be."""
        doubtful: list[str] = []
        asking.looks = []
        for first in range(0, len(asking.partitions), PARTITIONS_PER_TRANSACTION):
            keys = asking.partitions[first : first + PARTITIONS_PER_TRANSACTION]
            with self.database.begin(self.table_name, also=[_QUALITY]) as connection:
                series = Series(connection, self.table_name, symbol.entity_id)
                still = [key for key in keys if key in asking.suspects]
                changed = series.changed(still) if still else set()
                asking.looks.append(series.verify_asked([key for key in keys if key not in changed], self.clock))
                doubtful += sorted(changed)
        if asking.following:
            with self.database.begin(self.table_name, also=[_QUALITY]) as connection:
                Series(connection, self.table_name, symbol.entity_id).examine(asking.following)
        return doubtful

    def _account(self, symbol: Symbol, asking: Asking) -> None:
        with self.database.begin(self.table_name, also=[_QUALITY]) as connection:
            series = Series(connection, self.table_name, symbol.entity_id)
            series.account(merge_looks(asking.looks), self.now(), self.policy, asking.answers)

    @property
    def _reach(self) -> int:
        return reach(self.interval)

    def _worth_one_request(self, spans: list[Span]) -> list[Span]:
        """Spans closer than their common context are fetched as one: asking twice would cost more than it saves."""
        joined: list[Span] = []
        for span in spans:
            if joined and span.start - joined[-1].end <= 2 * self._reach:
                joined[-1] = Span(joined[-1].start, span.end)
            else:
                joined.append(span)
        return joined

    def _fetch(self, symbol: Symbol, span: Span, asking: Asking) -> Iterator[Collected]:
        """Commits `span` batch by batch, with its context on both sides, and keeps what was answered."""
        closed = self.interval.closed_before(self.clock)
        context = Span(max(0, span.start - self._reach), min(span.end + self._reach, closed))
        pages = self.exchange.candle_pages(self.market_type, symbol.exchange_id, self.interval, context)
        before: pd.DataFrame | None = None
        seen: int | None = None
        received = refusals = 0
        said = hashlib.blake2b(digest_size=16)
        # What follows the window is rewritten together with what it looks back at, or a kill could leave it old.
        for rows in _batches(pages, span.end - self._reach):
            said.update(orjson.dumps(rows))
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
                    claimed = claim_coverage(
                        connection, self.entities, symbol.entity_id, self.interval, asking.window, self.clock
                    )
                    note_unverified(connection, self.table_name, symbol.entity_id, claimed)
                stored = self._store(connection, symbol, span, derived, rejections)
                if stored.inserted or stored.changed:
                    ours = self._keys_of(derived, span.start).difference(asking.altered)
                    unverify(connection, symbol.entity_id, self.interval, ours)
                    note_unverified(connection, self.table_name, symbol.entity_id, ours)
            received, refusals = received + stored.received, refusals + stored.rejected
            yield stored
        at, clock = self.now(), to_datetime(self.clock).replace(tzinfo=None)
        asking.answers.append(Answer(span, at, clock, received, said.hexdigest(), refusals))

    def _keys_of(self, candles: pd.DataFrame, start: int) -> set[str]:
        """The partitions of the candles that open at `start` or later, at least one: those before are not written."""
        times = candles["open_time"]
        return set(partition_keys(self.interval.partition_scheme, max(start, int(times.min())), int(times.max()) + 1))

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
