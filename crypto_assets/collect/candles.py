"""Collecting candles: window -> fetch -> judge -> derive -> store, one symbol at a time. No Dagster here.

Here belongs the order of these steps and what is committed when. What a candle must be belongs to `frames`, what is
missing to `quality`. Called by `collect.run` and the benchmarks.

The stored bytes depend on the exchange's history alone. So a window is fetched with the `LOOKBACK` candles before it,
and the `LOOKBACK` stored candles after it are written again, because their derived columns look back into the window.
What comes on either side other than it is stored replaces that as well.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd
from sqlalchemy import Connection

from crypto_assets.collect.fetch import ArchiveInUse, Delivery, batches
from crypto_assets.collect.judge import Batch, Judged, JudgedCandles
from crypto_assets.collect.outcome import Collected, Symbol
from crypto_assets.collect.plan import Asking, plan, reach, with_context
from crypto_assets.collect.progress import Tally
from crypto_assets.collect.sources import note_delivered, settle_sources
from crypto_assets.collect.span_reader import SpanReader
from crypto_assets.collect.stored import stored_candles
from crypto_assets.database.candle_table import OfCandleTable
from crypto_assets.database.engines import Database
from crypto_assets.database.writes import WriteCounts, upsert
from crypto_assets.domain.intervals import partition_keys, to_datetime
from crypto_assets.domain.spans import Span, merge
from crypto_assets.exchange.client import Exchange
from crypto_assets.exchange.errors import ExchangeError
from crypto_assets.exchange.venues import venue_of
from crypto_assets.frames.candles import candle_records
from crypto_assets.quality.conflicts import record_conflicts
from crypto_assets.quality.gaps.coverage import claim_coverage, unverify
from crypto_assets.quality.gaps.holdings import Holdings, in_parts
from crypto_assets.quality.gaps.ledger import Policy
from crypto_assets.quality.provenance import ARCHIVE
from crypto_assets.quality.rejections import record_rejections
from crypto_assets.quality.verification.marks import note_unverified
from crypto_assets.quality.verification.partitions import PARTITIONS_PER_TRANSACTION, Series, merge_looks

_TRIES_FOR_CONTEXT = 3
"""How often a span is asked for when a candle that its first ones look back at comes spoilt."""

_QUALITY = "crypto_quality"


@dataclass(frozen=True)
class CandleCollector(OfCandleTable):
    """Collects the candles of one table from one exchange, as of one moment of the exchange's clock (ms).

    Whoever makes this has taken the exchange's margin off the `clock`: what closed by then is final.
    `policy` and `now`, our clock (naive UTC), are the gap ledger's. `tally` counts what comes. What the `archive` has,
    and REST would take more requests for, is taken from there.
    """

    exchange: Exchange
    database: Database
    table_name: str
    clock: int
    policy: Policy
    now: Callable[[], datetime]
    tally: Tally
    archive: ArchiveInUse = field(default_factory=ArchiveInUse)
    turn: threading.Lock = field(default_factory=threading.Lock)
    """Held by the one symbol that is judged and written, while others wait for the exchange."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Set when nothing more is to be written: something is wrong for all symbols."""

    def plan(
        self,
        symbols: Sequence[Symbol],
        window: Span,
        *,
        only_missing: bool,
        spans: Mapping[str, Sequence[Span]] | None = None,
    ) -> dict[str, Asking]:
        """What to ask for of each symbol in `window` (whole partitions), by its name.

        `only_missing` asks for what is not stored and not known to be lacking at the exchange; with `spans`, by name,
        only for what is missing in these, known or not; otherwise all is asked for again, and what the exchange revised
        replaces ours. A partition that was altered behind our back is asked for as a whole.
        """
        names = {symbol.entity_id: symbol.name for symbol in symbols}
        chosen = None if spans is None else {each: spans.get(name, ()) for each, name in names.items()}
        askings: dict[str, Asking] = {}
        for part in in_parts(list(names), self.interval.partition_scheme, window):
            with self.database.connect(self.table_name) as connection:
                holdings = Holdings(connection, self.table_name, part)
                askings |= plan(holdings, window, self.clock, only_missing=only_missing, spans=chosen)
        return {name: askings[each] for each, name in names.items()}

    def pages(self, symbol: Symbol, asking: Asking) -> int:
        """How many pages of REST that takes, if the archive has the files that can be expected."""
        venue = venue_of(self.database.provider)
        series = self.market_type, symbol.exchange_id, self.interval
        files = asking.in_archive(venue, series, self.clock) if self.archive.is_asked else []
        return asking.requests(self.interval, self.clock, venue.page_rows[self.market_type], files)

    def still_holds(self, symbol: Symbol, asking: Asking) -> bool:
        """Whether nobody altered, since it was planned, what the plan takes for granted."""
        with self.database.connect(self.table_name) as connection:
            holdings = Holdings(connection, self.table_name, [symbol.entity_id])
            return holdings.suspects([*asking.partitions, *asking.around])[symbol.entity_id] <= asking.altered

    def collect(self, symbol: Symbol, asking: Asking) -> Collected:
        """Stores the closed candles that are asked for, committing as pages come, and notes the coverage.

        What was asked for in vain is noted in the ledger. Raises the exchange's errors; what was committed before
        stays, and is valid.
        """
        result = self._ask(symbol, asking)
        doubtful = self._verify(symbol, asking)
        if doubtful:
            # Filling what was missing did not bring back what was there: the rest was altered as well.
            asking.ask_whole(self.interval, doubtful)
            self.tally.expect(symbol.name, asking.rows(self.interval))
            result += self._ask(symbol, asking)
            self._verify(symbol, asking)
        self._account(symbol, asking)
        return result

    def _ask(self, symbol: Symbol, asking: Asking) -> Collected:
        result = Collected()
        for span in asking.spans:
            self.database.ensure_partitions(self.table_name, span)
        for span in asking.fetches(self.interval):
            for part in self._fetch(symbol, span, asking):
                self.tally.add(symbol.name, part.received)
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
        if outside := sorted(asking.rewritten.difference(asking.partitions)):
            with self._writing() as connection:
                Series(connection, self.table_name, symbol.entity_id).examine(outside)
        return doubtful

    def _account(self, symbol: Symbol, asking: Asking) -> None:
        with self._writing() as connection:
            series = Series(connection, self.table_name, symbol.entity_id)
            series.account(merge_looks(asking.looks), self.now(), self.policy, asking.answers)
            settle_sources(connection, self.interval, symbol, asking)

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self.turn, self.database.begin(self.table_name, also=[_QUALITY]) as connection:
            yield connection

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        with self.turn:
            if self.stop.is_set():
                raise ExchangeError("nothing more was asked for: another symbol met what is wrong for all")
            yield

    def _fetch(self, symbol: Symbol, span: Span, asking: Asking) -> Iterator[Collected]:
        """Commits `span` delivery by delivery, with its context on both sides, and keeps what was answered.

        Asks anew where a candle comes spoilt that the first ones look back at.
        """
        context = with_context(span, self.interval, self.clock)
        series = self.market_type, symbol.exchange_id, self.interval
        for tries_left in reversed(range(_TRIES_FOR_CONTEXT)):
            candles = self._judging(symbol, span, context)
            reader = SpanReader(self.exchange, self.archive, series, span, context, self.clock)
            # What follows the window is rewritten together with what it looks back at, or a kill could leave it old.
            for deliveries in batches(reader.deliveries(), span.end - reach(self.interval)):
                judged = self._judge(candles, reader, deliveries)
                with self._in_turn():
                    is_first = not candles.has_begun
                    batch = candles.follow(judged)
                    if batch.lacks_context and tries_left:
                        break
                    stored = self._store(symbol, span, batch, asking, is_first=is_first)
                yield stored
            else:
                break
        if (late := self._instead(candles, reader, candles.lacking())) is not None:
            with self._in_turn():
                is_first = not candles.has_begun
                stored = self._store(symbol, span, candles.follow(late), asking, is_first=is_first)
            yield stored
        with self.turn:
            rest = candles.finish()
            followed = self._store(symbol, span, rest, asking, is_first=False) if len(rest.candles) else Collected()
        yield followed
        asking.answers += reader.answers(self.now(), to_datetime(self.clock).replace(tzinfo=None))

    def _judge(self, candles: JudgedCandles, reader: SpanReader, deliveries: list[Delivery]) -> Judged:
        """Deliveries, and what stands in for candles of them that are disputed, refused or lacking."""
        candles.compare_with_stored(deliveries)
        with self._in_turn():
            judged = candles.judge(deliveries)
        if lacking := reader.lacking(judged.deliveries, judged.kept["open_time"].to_numpy()):
            with self._in_turn():
                judged += candles.judge(lacking)
        instead = self._instead(candles, reader, candles.lacking(judged))
        return judged if instead is None else instead + judged

    def _instead(self, candles: JudgedCandles, reader: SpanReader, times: npt.NDArray[np.int64]) -> Judged | None:
        """The candles that open at these times from daily files; None where these have none of them."""
        found = reader.daily_instead(times)
        if not found:
            return None
        with self._in_turn():
            return candles.judge(found)

    def _judging(self, symbol: Symbol, span: Span, context: Span) -> JudgedCandles:
        def stored(of: Span) -> pd.DataFrame:
            with self.database.connect(self.table_name) as connection:
                return stored_candles(connection, self.table, symbol.entity_id, self.interval, of)

        return JudgedCandles(self.interval, span, context, symbol.circulating_supply, stored)

    def _keys_of(self, candles: pd.DataFrame, start: int) -> set[str]:
        """The partitions of the candles that open at `start` or later, at least one: those before are not written."""
        times = candles["open_time"].to_numpy()
        return set(partition_keys(self.interval.partition_scheme, max(start, int(times.min())), int(times.max()) + 1))

    def _store(self, symbol: Symbol, span: Span, batch: Batch, asking: Asking, *, is_first: bool) -> Collected:
        """Commits a batch; with the first one the window is claimed."""
        since, first, last = batch.candles["open_time"].to_numpy().searchsorted([batch.since, *span])
        inside = batch.candles.iloc[first:last]
        outside = [batch.candles.iloc[since:first], batch.candles.iloc[last:]]
        with self.database.begin(self.table_name, also=[_QUALITY]) as connection:
            if is_first:
                claimed = claim_coverage(
                    connection, self.entities, symbol.entity_id, self.interval, asking.window, self.clock
                )
                note_unverified(connection, self.table_name, symbol.entity_id, claimed)
            record_rejections(connection, self.table_name, symbol.entity_id, batch.rejections, self.clock)
            record_conflicts(connection, self.table_name, symbol.entity_id, batch.conflicts, self.clock)
            counts = self._upsert(connection, symbol, inside, only_existing=False)
            around = [self._upsert(connection, symbol, part, only_existing=True) for part in outside]
            if counts.written or any(part.written for part in around):
                rewritten = self._keys_of(batch.candles, batch.since)
                asking.rewritten |= rewritten
                ours = rewritten.difference(asking.altered)
                unverify(connection, symbol.entity_id, self.interval, ours)
                note_unverified(connection, self.table_name, symbol.entity_id, ours)
            delivered = note_delivered(connection, self.interval, symbol, batch, asking, self.now())
        self.archive.disputed.extend(batch.conflicts)
        return Collected(
            received=len(batch.delivered) + len(batch.rejections),
            rejected=len(batch.rejections),
            inserted=counts.inserted,
            changed=counts.changed + sum(part.changed for part in around),
            unchanged=counts.unchanged,
            archived=delivered[ARCHIVE],
            first=None if inside.empty else int(inside["open_time"].iloc[0]),
            last=None if inside.empty else int(inside["open_time"].iloc[-1]),
        )

    def _upsert(
        self, connection: Connection, symbol: Symbol, candles: pd.DataFrame, *, only_existing: bool
    ) -> WriteCounts:
        if candles.empty:
            return WriteCounts(0, 0, 0)
        records = candle_records(
            candles, entity_id=symbol.entity_id, provider=self.database.provider, name=symbol.display_name
        )
        return upsert(connection, self.table, records, only_existing=only_existing)
