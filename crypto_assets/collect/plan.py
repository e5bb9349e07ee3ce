"""Backfill plans: what to ask the exchange for, decided from what is stored, owed and known to be lacking.

A plan is a value. It is made here alone, and nobody changes it. What came of it is an `Outcome` (`collect.outcome`).
Called by `collect.candles`, which carries plans out, and by `collect.estimate`, which only shows them. No Dagster here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from crypto_assets.domain.intervals import Interval
from crypto_assets.domain.series import CandleTable, Series
from crypto_assets.domain.spans import Span, SpanIndex, intersect, merge, subtract
from crypto_assets.exchange.venue import Venue
from crypto_assets.frames.candles import LOOKBACK
from crypto_assets.quality.gaps.coverage import askable
from crypto_assets.quality.gaps.holdings import Holdings
from crypto_assets.quality.gaps.quiet import Settled


@dataclass(frozen=True)
class Plan:
    """What to ask for of one symbol, and why. Spans are in order of time.

    - `window`: the time span of the run, whole partitions; `partitions` are their keys.
    - `askable`: what the exchange can have of the window. The symbol was listed, and the candles have closed.
    - `spans`: what to ask for, a part of `askable`.
    - `missing`: what has no stored candle. None where nobody looked, because all of `askable` is asked for anyway.
    - `altered`: partitions that differ from what was verified, and no run of ours wrote that. They stay marked until
      they are verified again. If a killed run took the mark away, somebody else's rows would pass for ours.
    - `suspects`: altered partitions that lack candles. When these have come, the rest must be as it was verified.
    - `neighbours`: stored partitions beside the window. A run may rewrite candles there, because they look back at
      candles of the window or of its context.
    - `settled`: what a sparse venue answered before. Where no candle is, none is asked for again.
    """

    candle_table: CandleTable
    window: Span
    partitions: tuple[str, ...]
    askable: tuple[Span, ...]
    spans: tuple[Span, ...]
    missing: tuple[Span, ...] | None = None
    altered: frozenset[str] = frozenset()
    suspects: frozenset[str] = frozenset()
    neighbours: tuple[str, ...] = ()
    settled: tuple[Settled, ...] = ()

    @property
    def interval(self) -> Interval:
        """The table's interval."""
        return self.candle_table.interval

    def whole(self, partitions: Collection[str]) -> Plan:
        """The plan that asks for all of these partitions, whatever is stored of them."""
        spans = intersect(self.askable, map(self.candle_table.partition_span, partitions))
        return replace(self, spans=tuple(spans), suspects=frozenset())

    def completed_by(self, asked: Sequence[Span]) -> list[str]:
        """The partitions of which all that is askable lies in `asked`."""
        unasked = SpanIndex(subtract(self.askable, asked))
        return [key for key in self.partitions if not unasked.touches(self.candle_table.partition_span(key))]

    @property
    def fetches(self) -> list[Span]:
        """The spans as they are fetched. Those closer than their common context are one: two would cost more."""
        return joined(self.spans, 2 * reach(self.interval))

    @property
    def rows(self) -> int:
        """How many candles the fetches hold."""
        return sum(self.interval.count(*span) for span in self.fetches)

    def in_archive(self, venue: Venue, series: Series, clock: int) -> list[Span]:
        """The parts of the fetches that the exchange's bulk files can be expected to hold at its `clock`."""
        return [file.span for span in self.fetches for file in venue.bulk_files(*series.at_exchange, span, clock)]

    def requests(self, clock: int, page_rows: int, elsewhere: Sequence[Span] = ()) -> int:
        """How many pages of `page_rows` candles the fetches and their context take, less what is `elsewhere`."""
        return pages(self.fetches, self.interval, clock, page_rows, elsewhere)


def plan(
    holdings: Holdings, window: Span, clock: int, *, only_missing: bool, spans: Mapping[str, Sequence[Span]] | None
) -> dict[str, Plan]:
    """The plan of each entity for `window` (whole partitions) at the exchange's `clock`, by entity id.

    `only_missing` and `spans`, which are by entity id here, are explained by `CandleCollector.plan`.
    """
    candle_table, interval = holdings.candle_table, holdings.interval
    partitions = tuple(candle_table.partition_keys(window))
    # The context after the window may be replaced, and then what looks back at that is derived anew.
    before = Span(max(0, window.start - reach(interval)), window.start)
    after = Span(window.end, window.end + 2 * reach(interval))
    outside = [holdings.covered(candle_table.partition_keys(side)) for side in (before, after)]
    around = {each: sorted({key for side in outside for key in side.get(each, ())}) for each in holdings.entity_ids}
    altered = holdings.suspects([*partitions, *set().union(*around.values())])
    due = {each: askable(interval, window, holdings.listed[each], clock) for each in holdings.entity_ids}
    settled = holdings.settled([*partitions, *set().union(*around.values())])
    whole = {
        each: Plan(
            candle_table,
            window,
            partitions,
            askable=tuple(due[each]),
            spans=tuple(due[each]),
            altered=frozenset(altered[each]),
            neighbours=tuple(around[each]),
            settled=tuple(settled.get(each, ())),
        )
        for each in due
    }
    if not only_missing and spans is None:
        return whole
    sought = dict(due) if spans is None else {each: intersect(due[each], spans.get(each, ())) for each in due}
    for each, of_symbol in settled.items():
        sought[each] = subtract(sought[each], (span for known in of_symbol for span in known.spans))
    plans: dict[str, Plan] = {}
    for each, missing in holdings.missing(sought).items():
        unfilled = SpanIndex(missing)
        inside = altered[each].intersection(partitions)
        suspects = frozenset(key for key in inside if unfilled.touches(candle_table.partition_span(key)))
        wanted = missing if spans is not None else subtract(missing, holdings.source_gaps.get(each, []))
        anew = intersect(due[each], map(candle_table.partition_span, inside.difference(suspects)))
        asked = tuple(merge([*wanted, *anew]))
        plans[each] = replace(whole[each], spans=asked, missing=tuple(missing), suspects=suspects)
    return plans


def reach(interval: Interval) -> int:
    """How far, in milliseconds, beyond a candle others look back at it."""
    return LOOKBACK * interval.milliseconds


def with_context(span: Span, interval: Interval, clock: int) -> Span:
    """The span with the candles on both sides that look back at it, or that it looks back at, as far as they closed."""
    return Span(max(0, span.start - reach(interval)), min(span.end + reach(interval), interval.closed_before(clock)))


def pages(spans: Iterable[Span], interval: Interval, clock: int, page_rows: int, elsewhere: Sequence[Span] = ()) -> int:
    """How many pages of so many candles `spans` take, with what is fetched around them, less what is `elsewhere`.

    What is elsewhere, whole files, is compared with its hours.
    """
    whole = (with_context(span, interval, clock) for span in spans)
    asked = sum(-(-interval.count(*part) // page_rows) for span in whole for part in subtract([span], elsewhere))
    return asked + sum(-(-Interval.H1.count(*span) // page_rows) for span in elsewhere)


def joined(spans: Iterable[Span], distance: int) -> list[Span]:
    """The spans in order, those at most `distance` apart as one: what lies between is cheaper to ask for with them."""
    together: list[Span] = []
    for span in spans:
        if together and span.start - together[-1].end <= distance:
            together[-1] = Span(together[-1].start, span.end)
        else:
            together.append(span)
    return together
