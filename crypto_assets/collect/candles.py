"""Collecting candles, one symbol at a time: plan -> fetch -> judge -> derive -> store -> account. No Dagster here.

Here belongs the order of these steps. Each step has its own module: `collect.plan`, `collect.span_reader` (which
fetches), `collect.judge` (which also derives) and `collect.store` (which also accounts). What a candle must be belongs
to `frames`, what is missing to `quality`. Called by `collect.run` and the benchmarks.

The stored bytes depend on the exchange's history alone. So a window is fetched with the `LOOKBACK` candles before it,
and the `LOOKBACK` stored candles after it are written again, because their derived columns look back into the window.
Where the context comes with other values than are stored, it replaces these as well.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt

from crypto_assets.collect.bulk_file_reader import BulkFileReader
from crypto_assets.collect.fetched import Fetched, RestRequest, batches
from crypto_assets.collect.judge import Batch, Judged, JudgedCandles
from crypto_assets.collect.outcome import Outcome, Symbol
from crypto_assets.collect.plan import Plan, plan, reach, with_context
from crypto_assets.collect.progress import Tally
from crypto_assets.collect.span_reader import SpanReader
from crypto_assets.collect.store import CandleStore
from crypto_assets.domain.intervals import to_naive
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.client import Exchange
from crypto_assets.exchange.errors import ExchangeError
from crypto_assets.quality.gaps.holdings import Holdings, in_parts

_TRIES_FOR_CONTEXT = 3
"""How often a span is asked for when a candle that its first ones look back at comes spoilt."""


@dataclass(frozen=True)
class CandleCollector:
    """Collects the candles of one table from one exchange, as of one moment of the exchange's clock.

    Whoever makes this has taken the exchange's margin off the clock of the `store`: what closed by then is final.
    `tally` counts what comes. What the `archive` has, and REST would take more requests for, is taken from there.
    """

    exchange: Exchange
    store: CandleStore
    tally: Tally
    archive: BulkFileReader = field(default_factory=BulkFileReader)
    stop: threading.Event = field(default_factory=threading.Event)
    """Set when nothing more is to be written: something is wrong for all symbols."""

    def plan(
        self,
        symbols: Sequence[Symbol],
        window: Span,
        *,
        only_missing: bool,
        spans: Mapping[str, Sequence[Span]] | None = None,
    ) -> dict[str, Plan]:
        """What to ask for of each symbol in `window` (whole partitions), by its name.

        `only_missing` asks for what is not stored and not known to be lacking at the exchange; with `spans`, by name,
        only for what is missing in these, known or not; otherwise all is asked for again, and what the exchange revised
        replaces ours. A partition that was altered behind our back is asked for as a whole.
        """
        names = {symbol.entity_id: symbol.name for symbol in symbols}
        chosen = None if spans is None else {each: spans.get(name, ()) for each, name in names.items()}
        plans: dict[str, Plan] = {}
        for part in in_parts(list(names), self.store.candle_table, window):
            with self.store.database.connect(self.store.candle_table.name) as connection:
                holdings = Holdings(connection, self.store.candle_table, part)
                plans |= plan(holdings, window, self.store.clock, only_missing=only_missing, spans=chosen)
        return {name: plans[each] for each, name in names.items()}

    def pages(self, symbol: Symbol, plan: Plan) -> int:
        """How many pages of REST the plan takes, if the archive has the files that can be expected."""
        venue = self.store.venue
        series, clock = self.store.series(symbol), self.store.clock
        files = plan.in_archive(venue, series, clock) if self.archive.is_asked else []
        return plan.requests(clock, venue.page_rows[series.market_type], files)

    def still_holds(self, symbol: Symbol, plan: Plan) -> bool:
        """Whether nobody altered, since it was planned, what the plan takes for granted."""
        with self.store.database.connect(self.store.candle_table.name) as connection:
            holdings = Holdings(connection, self.store.candle_table, [symbol.entity_id])
            return holdings.suspects([*plan.partitions, *plan.neighbours])[symbol.entity_id] <= plan.altered

    def collect(self, symbol: Symbol, plan: Plan) -> Outcome:
        """Stores the closed candles that the plan asks for, committing as pages come, and accounts for them.

        What was asked for in vain is noted in the gap ledger. Raises the exchange's errors; what was committed before
        stays, and is valid.
        """
        outcome = self._fetch_and_store(symbol, plan, Outcome())
        look, altered = self.store.verify(symbol, plan, outcome)
        if altered:
            # Filling what was missing did not bring back what was there: the rest was altered as well.
            plan = plan.whole(altered)
            self.tally.expect(symbol.name, plan.rows)
            outcome = self._fetch_and_store(symbol, plan, outcome.without_sources(altered))
            look, _ = self.store.verify(symbol, plan, outcome)
        self.store.account(symbol, plan, outcome, look)
        return outcome

    def _fetch_and_store(self, symbol: Symbol, plan: Plan, outcome: Outcome) -> Outcome:
        """The outcome so far, and what came of all that the plan asks for."""
        for span in plan.spans:
            self.store.database.ensure_partitions(self.store.candle_table.name, span)
        for span in plan.fetches:
            outcome = self._collect_span(symbol, plan, span, outcome)
        return outcome

    def _collect_span(self, symbol: Symbol, plan: Plan, span: Span, outcome: Outcome) -> Outcome:
        """The outcome so far, and what came of `span`, stored batch by batch with its context on both sides.

        Asks anew where a candle comes spoilt that the first ones look back at.
        """
        clock, interval = self.store.clock, self.store.interval
        context = with_context(span, interval, clock)
        stored = partial(self.store.stored, symbol)
        for tries_left in reversed(range(_TRIES_FOR_CONTEXT)):
            candles = JudgedCandles(
                interval, span, context, symbol.circulating_supply, stored, self.store.venue.unpublished
            )
            reader = SpanReader(self.exchange, self.archive, self.store.series(symbol), span, context, clock)
            refused = Counter[RestRequest]()
            # What follows the window is rewritten together with what it looks back at, or a kill could leave it old.
            for fetched in batches(reader.fetch(), span.end - reach(interval)):
                judged = self._judge(candles, reader, fetched)
                refused += judged.refused
                with self._in_turn():
                    batch = candles.derive(judged)
                    if batch.lacks_context and tries_left:
                        break
                    part = self.store.store(symbol, plan, span, batch, outcome.sources)
                outcome += self._counted(symbol, batch, part)
            else:
                break
        if (late := self._instead(candles, reader, candles.lacking())) is not None:
            with self._in_turn():
                batch = candles.derive(late)
                part = self.store.store(symbol, plan, span, batch, outcome.sources)
            outcome += self._counted(symbol, batch, part)
        with self.store.turn:
            rest = candles.derive_rest()
            part = self.store.store(symbol, plan, span, rest, outcome.sources) if len(rest.candles) else Outcome()
        outcome += self._counted(symbol, rest, part)
        answers = reader.answers(refused, self.store.now(), to_naive(clock))
        return outcome + Outcome(asked=(span,), answers=answers)

    def _judge(self, candles: JudgedCandles, reader: SpanReader, fetched: list[Fetched]) -> Judged:
        """What was fetched, and what stands in for candles of it that are disputed, refused or lacking."""
        undisputed = candles.undisputed(fetched)
        with self._in_turn():
            judged = candles.judge(undisputed)
        if lacking := reader.lacking(judged.fetched, judged.kept.times):
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

    def _counted(self, symbol: Symbol, batch: Batch, part: Outcome) -> Outcome:
        """What came of storing a batch, once whoever looks on was told."""
        self.archive.disputed.extend(batch.conflicts)
        self.tally.add(symbol.name, part.counts.received)
        return part

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        with self.store.turn:
            if self.stop.is_set():
                raise ExchangeError("nothing more was asked for: another symbol met what is wrong for all")
            yield
