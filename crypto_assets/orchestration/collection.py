"""Collecting candles: window -> fetch -> judge -> derive -> store, one symbol at a time. No Dagster here.

Here belongs the order of these steps and what is committed when. What a candle must be belongs to `frames`, what is
missing to `quality`. Called by `kdata_run` and the benchmarks.

The stored bytes depend on the exchange's history alone. So a window is fetched with the `LOOKBACK` candles before it,
and the `LOOKBACK` stored candles after it are written again, because their derived columns look back into the window.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import pandas as pd
from sqlalchemy import Connection, Table

from crypto_assets.database.engines import Database
from crypto_assets.database.tables import TABLES
from crypto_assets.database.writes import WriteCounts, upsert
from crypto_assets.domain.entities import KDATA_TABLES, PROVIDER, MarketType
from crypto_assets.domain.intervals import DAY_MS, Interval, partition_key, partition_keys, to_datetime
from crypto_assets.domain.spans import Span, merge, subtract
from crypto_assets.exchange.archive_files import ArchiveFile
from crypto_assets.exchange.client import Exchange
from crypto_assets.exchange.errors import ExchangeError
from crypto_assets.frames.candles import candle_records
from crypto_assets.orchestration.asking import Asking, joined, plan, reach
from crypto_assets.orchestration.collected import Collected, Symbol
from crypto_assets.orchestration.deliveries import ArchiveInUse, Delivery, FileRows, SpanReader, batches
from crypto_assets.orchestration.judged_candles import Judged, JudgedCandles
from crypto_assets.quality import provenance
from crypto_assets.quality.coverage import claim_coverage, unverify
from crypto_assets.quality.ledger import Policy
from crypto_assets.quality.rejections import record_rejections
from crypto_assets.quality.verification import PARTITIONS_PER_TRANSACTION, Series, merge_looks

_QUALITY = "crypto_quality"


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
    archive: ArchiveInUse = field(default_factory=ArchiveInUse)
    turn: threading.Lock = field(default_factory=threading.Lock)
    """Held by the one symbol that is judged and written, while others wait for the exchange."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Set when nothing more is to be written: something is wrong for all symbols."""

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
        # Spans closer than their common context are fetched as one: asking twice would cost more than it saves.
        for span in joined(asking.spans, 2 * self._reach):
            for part in self._fetch(symbol, span, asking):
                result += part
            asking.asked = merge([*asking.asked, span])
        return result

    def _verify(self, symbol: Symbol, asking: Asking) -> list[str]:
        """Verifies all partitions of the window; those that are not as they were although they should be."""
        doubtful: list[str] = []
        asking.looks = []
        for first in range(0, len(asking.partitions), PARTITIONS_PER_TRANSACTION):
            keys = asking.partitions[first : first + PARTITIONS_PER_TRANSACTION]
            with self._writing() as connection:
                series = Series(connection, self.table_name, symbol.entity_id)
                still = [key for key in keys if key in asking.suspects]
                changed = series.changed(still) if still else set()
                asking.looks.append(series.verify_asked([key for key in keys if key not in changed], self.clock))
                doubtful += sorted(changed)
        if asking.following:
            with self._writing() as connection:
                Series(connection, self.table_name, symbol.entity_id).examine(asking.following)
        return doubtful

    def _account(self, symbol: Symbol, asking: Asking) -> None:
        with self._writing() as connection:
            series = Series(connection, self.table_name, symbol.entity_id)
            series.account(merge_looks(asking.looks), self.now(), self.policy, asking.answers)
            whole = asking.asked_whole(self.interval)
            delivered: dict[str, Counter[str]] = {key: asking.delivered.get(key, Counter()) for key in whole}
            provenance.replace_sources(connection, symbol.entity_id, self.interval, delivered)
            self._forget_files(connection, symbol, asking)

    def _forget_files(self, connection: Connection, symbol: Symbol, asking: Asking) -> None:
        """A file whose candles were asked for as a whole, and came from elsewhere, need not be watched any more."""
        known = set(provenance.remembered_periods(connection, symbol.entity_id, self.interval)) - asking.files
        files = [ArchiveFile(self.market_type, symbol.exchange_id, self.interval, period) for period in known]
        past = [file.period for file in files if not subtract([file.span], asking.asked)]
        provenance.forget_files(connection, symbol.entity_id, self.interval, past)

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self.turn, self.database.begin(self.table_name, also=[_QUALITY]) as connection:
            yield connection

    @property
    def _reach(self) -> int:
        return reach(self.interval)

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        with self.turn:
            if self.stop.is_set():
                raise ExchangeError("nothing more was asked for: another symbol met what is wrong for all")
            yield

    def _fetch(self, symbol: Symbol, span: Span, asking: Asking) -> Iterator[Collected]:
        """Commits `span` batch by batch, with its context on both sides, and keeps what was answered."""
        closed = self.interval.closed_before(self.clock)
        context = Span(max(0, span.start - self._reach), min(span.end + self._reach, closed))
        series = self.market_type, symbol.exchange_id, self.interval
        reader = SpanReader(self.exchange, self.archive, series, span, context, self.clock)
        candles = JudgedCandles(self.interval, span, symbol.circulating_supply)
        # What follows the window is rewritten together with what it looks back at, or a kill could leave it old.
        for batch in batches(reader.deliveries(), span.end - self._reach):
            is_first = not candles.has_begun
            judged = self._judge(candles, reader, batch)
            with self._in_turn():
                derived = candles.follow(judged)
                with self.database.begin(self.table_name, also=[_QUALITY]) as connection:
                    if is_first:
                        claim_coverage(
                            connection, self.entities, symbol.entity_id, self.interval, asking.window, self.clock
                        )
                    stored = self._store(connection, symbol, span, derived, judged)
                    if stored.inserted or stored.changed:
                        ours = self._keys_of(derived).difference(asking.suspects)
                        unverify(connection, symbol.entity_id, self.interval, ours)
                    self._note_sources(connection, symbol, span, derived, judged, asking)
            yield stored
        asking.answers += reader.answers(self.now(), to_datetime(self.clock).replace(tzinfo=None))

    def _judge(self, candles: JudgedCandles, reader: SpanReader, batch: list[Delivery]) -> Judged:
        """A batch with what stands in for candles of it that are off the grid, or that its files lack."""
        with self._in_turn():
            judged = candles.judge(batch)
        if instead := reader.daily_instead(judged.off_grid):
            with self._in_turn():
                judged += candles.judge(instead)
        if lacking := reader.lacking(judged.deliveries, judged.kept["open_time"].to_numpy()):
            with self._in_turn():
                judged += candles.judge(lacking)
        return judged

    def _note_sources(
        self,
        connection: Connection,
        symbol: Symbol,
        span: Span,
        candles: pd.DataFrame,
        judged: Judged,
        asking: Asking,
    ) -> None:
        """Writes down where the candles of `span` came from, and which files were used."""
        times, archived = candles["open_time"].to_numpy(), candles["archived"].to_numpy()
        inside, sources = (times >= span.start) & (times < span.end), dict[str, set[str]]()
        for source, of_it in ((provenance.ARCHIVE, archived), (provenance.REST, ~archived)):
            days, counts = np.unique(times[inside & of_it] // DAY_MS, return_counts=True)
            for day, count in zip(days.tolist(), counts.tolist(), strict=True):
                key = partition_key(self.interval.partition_scheme, day * DAY_MS)
                asking.delivered.setdefault(key, Counter())[source] += count
                sources.setdefault(key, set()).add(source)
        provenance.add_sources(connection, symbol.entity_id, self.interval, sources)
        files = [delivery for delivery in judged.deliveries if isinstance(delivery, FileRows)]
        asking.files.update(delivery.file.period for delivery in files)
        provenance.remember_files(
            connection, symbol.entity_id, self.interval, [delivery.as_remembered() for delivery in files], self.now()
        )

    def _keys_of(self, candles: pd.DataFrame) -> set[str]:
        """The partitions that candles, at least one, lie in."""
        times = candles["open_time"]
        return set(partition_keys(self.interval.partition_scheme, int(times.min()), int(times.max()) + 1))

    def _store(
        self, connection: Connection, symbol: Symbol, span: Span, candles: pd.DataFrame, judged: Judged
    ) -> Collected:
        rejections = judged.rejections
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
            archived=int(inside["archived"].sum()),
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
