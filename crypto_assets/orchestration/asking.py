"""What a collection asks the exchange for, decided from what is stored, owed and known to be lacking. No Dagster here.

Called by `collection`, which asks and keeps here what came of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from crypto_assets.domain.intervals import Interval, partition_keys, partition_span
from crypto_assets.domain.spans import Span, intersect, merge, subtract
from crypto_assets.frames.candles import LOOKBACK
from crypto_assets.quality.coverage import askable
from crypto_assets.quality.gaps import missing_spans
from crypto_assets.quality.ledger import Answer
from crypto_assets.quality.verification import Look, Series


@dataclass
class Asking:
    """What is asked of one symbol, and what came of it.

    `due` is all that can be asked for in the window, `spans` what is asked for. `altered` are partitions that are not
    as they were verified: what they were is not forgotten before they are verified anew, or a run that is killed would
    make ours what somebody else wrote. `suspects` are those of which candles are missing: when these came, the rest
    must be as it was. `following` are those after the window whose candles look back into it.
    """

    window: Span
    partitions: list[str]
    due: list[Span]
    spans: list[Span]
    altered: set[str]
    suspects: set[str]
    following: list[str]
    answers: list[Answer] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)

    def ask_whole(self, interval: Interval, partitions: Iterable[str]) -> None:
        """Asks for all of these partitions next, and suspects nothing any more."""
        self.spans = intersect(self.due, (_span(interval, key) for key in partitions))
        self.suspects = set()


def plan(series: Series, window: Span, clock: int, *, only_missing: bool, spans: Sequence[Span] | None) -> Asking:
    """What to ask for in `window` (whole partitions) at the exchange's `clock`, as `CandleCollector.collect` says."""
    interval, scheme = series.interval, series.interval.partition_scheme
    partitions = partition_keys(scheme, window.start, window.end)
    due = askable(interval, window, series.listed(), clock)
    following = sorted(series.covered(partition_keys(scheme, window.end, window.end + reach(interval))))
    altered = series.suspects([*partitions, *following])
    if not only_missing and spans is None:
        return Asking(window, partitions, due, due, altered, set(), following)
    chosen = due if spans is None else intersect(due, spans)
    missing = [
        gap
        for span in chosen
        for gap in missing_spans(series.connection, series.table, series.entity_id, interval, span)
    ]
    suspects = {key for key in altered.intersection(partitions) if intersect([_span(interval, key)], missing)}
    if spans is None:
        missing = subtract(missing, series.source_gaps())
    whole = (_span(interval, key) for key in altered.intersection(partitions).difference(suspects))
    return Asking(window, partitions, due, merge([*missing, *intersect(due, whole)]), altered, suspects, following)


def reach(interval: Interval) -> int:
    """How far, in milliseconds, beyond a candle others look back at it."""
    return LOOKBACK * interval.milliseconds


def _span(interval: Interval, key: str) -> Span:
    return Span(*partition_span(interval.partition_scheme, key))
