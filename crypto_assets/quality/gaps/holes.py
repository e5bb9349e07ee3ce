"""Holes between collected partitions: which are owed, which wait for a decision, which are left (docs/decisions/0003).

    short hole   is owed: whoever collects nearly all days of a week means the week
    long hole    waits for a decision, and is not owed until somebody decides
    collect      somebody decided that the hole is owed
    leave        somebody decided that the hole is not owed, which holds for short holes as well

Values in, values out; no database. Collected partitions are read by `quality.gaps.collected_runs`, decisions by
`quality.gaps.decisions`. `meant` is called by `quality.gaps.coverage`. Spans are milliseconds UTC, half open.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

from crypto_assets.domain.spans import Span, intersect, merge, subtract

COLLECT, LEAVE = "collect", "leave"

LONGEST_HOLE = timedelta(days=7)
"""A longer hole is not owed by itself, unless a setting says otherwise."""


@dataclass(frozen=True)
class Decision:
    """What somebody decided about a span that lies between collected partitions: to `collect` it, or to `leave` it.

    When is naive UTC by our own clock.
    """

    span: Span
    decision: str
    decided_at: datetime
    decided_by: str


@dataclass(frozen=True)
class Meant:
    """The spans that are `owed`, those `waiting` for a decision, and those that were `left`. These three are disjoint.

    `chosen` is a part of `owed`: long holes that somebody decided to collect, and that are not collected yet.
    """

    owed: list[Span] = field(default_factory=list)
    chosen: list[Span] = field(default_factory=list)
    waiting: list[Span] = field(default_factory=list)
    left: list[Span] = field(default_factory=list)


def meant(
    runs: Sequence[Span],
    listed: Iterable[Span],
    decisions: Iterable[Decision] = (),
    longest_hole: timedelta = LONGEST_HOLE,
) -> Meant:
    """What is owed of a symbol by its collected `runs` (in order of time) and the `decisions` about its holes.

    Only what was `listed` is owed, and only the listed part of a hole counts for its length. Decisions count within
    holes alone: what was collected is owed, and nothing before the first or after the last run is.
    """
    listed, decisions = list(listed), list(decisions)
    holes = [intersect([Span(before.end, after.start)], listed) for before, after in pairwise(runs)]
    longest = longest_hole // timedelta(milliseconds=1)
    short = [span for hole in holes if sum(end - start for start, end in hole) <= longest for span in hole]
    every = merge(span for hole in holes for span in hole)
    collect, leave = (
        intersect(every, [each.span for each in decisions if each.decision == word]) for word in (COLLECT, LEAVE)
    )
    owed = merge([*intersect(runs, listed), *subtract(short, leave), *collect])
    return Meant(owed, subtract(collect, short), subtract(every, [*short, *collect, *leave]), subtract(leave, collect))
