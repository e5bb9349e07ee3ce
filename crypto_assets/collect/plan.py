"""What a collection asks the exchange for, decided from what is stored, owed and known to be lacking. No Dagster here.

Called by `collect.candles`, which asks and keeps here what came of it, and by `collect.estimate`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import Interval, partition_keys, partition_span
from crypto_assets.domain.spans import Span, SpanIndex, intersect, merge, subtract
from crypto_assets.exchange.venue import Venue
from crypto_assets.frames.candles import LOOKBACK
from crypto_assets.quality.gaps.coverage import askable
from crypto_assets.quality.gaps.holdings import Holdings
from crypto_assets.quality.gaps.ledger import Answer
from crypto_assets.quality.verification.partitions import Look


@dataclass
class Asking:
    """What is asked of one symbol, and what came of it.

    `due` is all that can be asked for in the window, `spans` what is asked for. `altered` are partitions that are not
    as they were verified: what they were is not forgotten before they are verified anew, or a run that is killed would
    make ours what somebody else wrote. `suspects` are those of which candles are missing: when these came, the rest
    must be as it was. `around` are those outside the window in which stored candles may be replaced by what comes with
    it, or look back at such ones, `rewritten` those in which candles were. `missing` is what has no candle, where it
    was looked for: not where all is asked for anyway. `asked` is all that was asked for so far, `delivered` how many
    candles came from which source by partition, `files` the periods of the archive's files among these.
    """

    window: Span
    partitions: list[str]
    due: list[Span]
    spans: list[Span]
    altered: set[str]
    suspects: set[str]
    around: list[str]
    missing: list[Span] | None = None
    answers: list[Answer] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    asked: list[Span] = field(default_factory=list)
    delivered: dict[str, Counter[str]] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)
    rewritten: set[str] = field(default_factory=set)

    def asked_whole(self, interval: Interval) -> list[str]:
        """The partitions of which all was asked for that can be."""
        unasked = SpanIndex(subtract(self.due, self.asked))
        return [key for key in self.partitions if not unasked.touches(_span(interval, key))]

    def ask_whole(self, interval: Interval, partitions: Sequence[str]) -> None:
        """Asks for all of these partitions next, and suspects nothing any more."""
        self.spans = intersect(self.due, (_span(interval, key) for key in partitions))
        self.suspects = set()
        for key in partitions:
            self.delivered.pop(key, None)

    def fetches(self, interval: Interval) -> list[Span]:
        """The spans, those closer than their common context as one: asking twice would cost more than it saves."""
        return joined(self.spans, 2 * reach(interval))

    def rows(self, interval: Interval) -> int:
        """How many candles these hold."""
        return sum(interval.count(*span) for span in self.fetches(interval))

    def in_archive(self, venue: Venue, series: tuple[MarketType, str, Interval], clock: int) -> list[Span]:
        """What of it lies in files that the exchange's archive can be expected to have."""
        return [file.span for span in self.fetches(series[2]) for file in venue.bulk_files(*series, span, clock)]

    def requests(self, interval: Interval, clock: int, page_rows: int, elsewhere: Sequence[Span] = ()) -> int:
        """How many pages of so many candles these take, with what is fetched around them, less what is `elsewhere`."""
        return pages(self.fetches(interval), interval, clock, page_rows, elsewhere)


def plan(
    holdings: Holdings, window: Span, clock: int, *, only_missing: bool, spans: Mapping[str, Sequence[Span]] | None
) -> dict[str, Asking]:
    """What to ask for of each entity in `window` (whole partitions) at the exchange's `clock`.

    As `CandleCollector.plan` says; `spans` are by entity id.
    """
    interval, scheme = holdings.interval, holdings.interval.partition_scheme
    partitions = partition_keys(scheme, window.start, window.end)
    # The context after the window may be replaced, and then what looks back at that is derived anew.
    sides = (max(0, window.start - reach(interval)), window.start), (window.end, window.end + 2 * reach(interval))
    outside = [holdings.covered(partition_keys(scheme, *side)) for side in sides]
    around = {each: sorted({key for side in outside for key in side.get(each, ())}) for each in holdings.entity_ids}
    altered = holdings.suspects([*partitions, *set().union(*around.values())])
    due = {each: askable(interval, window, holdings.listed[each], clock) for each in holdings.entity_ids}
    if not only_missing and spans is None:
        return {
            each: Asking(window, partitions, due[each], due[each], altered[each], set(), around[each]) for each in due
        }
    sought = due if spans is None else {each: intersect(due[each], spans.get(each, ())) for each in due}
    missing = holdings.missing(sought)
    askings = {}
    for each, lacking in missing.items():
        unfilled = SpanIndex(lacking)
        inside = altered[each].intersection(partitions)
        suspects = {key for key in inside if unfilled.touches(_span(interval, key))}
        wanted = lacking if spans is not None else subtract(lacking, holdings.source_gaps.get(each, []))
        whole = (_span(interval, key) for key in inside.difference(suspects))
        asked = merge([*wanted, *intersect(due[each], whole)])
        askings[each] = Asking(window, partitions, due[each], asked, altered[each], suspects, around[each], lacking)
    return askings


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


def _span(interval: Interval, key: str) -> Span:
    return Span(*partition_span(interval.partition_scheme, key))
