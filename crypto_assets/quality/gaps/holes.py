"""What is meant by what was collected: runs of partitions, the holes between them, and what was decided about these.

    short hole       owed as what lies around it: whoever collects nearly all days of a week means the week
    long hole        waits for a decision, and is owed by nobody until then
    collect, leave   what somebody decided, which holds for short holes as well

Values in, values out; no database. What was collected is read by `quality.gaps.collected_runs`, decisions by
`decisions`. Called by `coverage`. Spans are milliseconds UTC, half open (docs/decisions/0003).
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
    """What somebody meant to have, and what waits for a decision or was left by one. These three are disjoint.

    `chosen` is that part of what is owed which is owed because somebody decided so, and was not collected yet.
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
    """What `runs` of collected partitions, in order of time, mean together with `decisions`, within what was `listed`.

    A hole counts as long as the symbol was listed in it. Decisions count within holes alone: what was collected is
    owed, and nothing is that lies before the first or after the last run.
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
