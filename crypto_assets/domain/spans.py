"""Half-open spans of time in milliseconds and the set algebra that gaps, listings and coverage need.

What a span means (a gap, a listing, a partition) belongs to its user. Called by `exchange`, `database`, `quality` and
`orchestration`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple


class Span(NamedTuple):
    """The times t with start <= t < end, in milliseconds UTC. Empty when end <= start."""

    start: int
    end: int

    def intersect(self, other: Span) -> Span:
        """The times in both; an empty span where there are none."""
        start = max(self.start, other.start)
        return Span(start, max(start, min(self.end, other.end)))


class SpanIndex:
    """Spans that many others are held against, each by one look-up: a walk over all of them for each costs a square."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self._spans = merge(spans)
        self._ends = [span.end for span in self._spans]

    def touches(self, span: Span) -> bool:
        """Whether they have a time in common with `span`."""
        found = bisect_right(self._ends, span.start)
        return span.start < span.end and found < len(self._spans) and self._spans[found].start < span.end

    def holds(self, span: Span) -> bool:
        """Whether all times of `span` are in them; those of an empty one are."""
        found = bisect_right(self._ends, span.start)
        return span.start >= span.end or (
            found < len(self._spans) and self._spans[found].start <= span.start and span.end <= self._ends[found]
        )


def merge(spans: Iterable[Span]) -> list[Span]:
    """The same times as disjoint, non-touching spans in order."""
    merged: list[Span] = []
    for span in sorted(span for span in spans if span.start < span.end):
        if merged and span.start <= merged[-1].end:
            merged[-1] = Span(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged


def intersect(left: Iterable[Span], right: Iterable[Span]) -> list[Span]:
    """The times that are in both sets of spans, merged."""
    ours, theirs = merge(left), merge(right)
    common: list[Span] = []
    i = j = 0
    while i < len(ours) and j < len(theirs):
        span = ours[i].intersect(theirs[j])
        if span.start < span.end:
            common.append(span)
        if ours[i].end <= theirs[j].end:
            i += 1
        else:
            j += 1
    return common


def subtract(left: Iterable[Span], right: Iterable[Span]) -> list[Span]:
    """The times of `left` that are not in `right`, merged."""
    holes = merge(right)
    rest: list[Span] = []
    j = 0
    for span in merge(left):
        position = span.start
        while j < len(holes) and holes[j].end <= position:
            j += 1
        k = j
        while k < len(holes) and holes[k].start < span.end:
            rest.append(Span(position, holes[k].start))
            position = holes[k].end
            k += 1
        rest.append(Span(position, span.end))
    return merge(rest)
