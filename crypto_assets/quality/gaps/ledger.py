"""The life of a gap: found, asked about, confirmed by the exchange or repaired. Values in, values out; no database.

    open      candles are missing; the exchange is asked again: at once, then at intervals that double, up to a day
    source    the exchange was asked often enough and has no candles, though it has some on both sides; asked seldom
    repaired  the candles came; of a sparse venue, which has none where nothing traded, the answer came
    quiet     no gap: a sparse venue answered, and nothing traded in some intervals; belongs to `quality.gaps.quiet`

The rows of the ledger, `crypto_kdata_gap`, belong to `quality.gaps.rows`. Called by `quality.verification.partitions`;
its values are used wherever gaps are read. Spans are milliseconds UTC, half open; moments are naive UTC by our own
clock, since they say when we asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from crypto_assets.domain.intervals import naive_utc
from crypto_assets.domain.spans import Span, intersect, merge, subtract
from crypto_assets.quality.gaps.holes import LONGEST_HOLE

OPEN, SOURCE, REPAIRED, QUIET = "open", "source", "repaired", "quiet"
_LONGEST_WAIT = timedelta(days=1)
_SOURCE_WAITS = timedelta(days=1), timedelta(days=7)
_DAILY_ANSWERS = 7
"""A confirmed gap is asked about daily this often, then weekly."""
_KEPT_ANSWERS = 4


@dataclass(frozen=True)
class Answer:
    """What the exchange said when it was asked for `span`: how many rows came for it, and a hash of all of them.

    `refused` of them broke the contract and were kept out of the table. `clock` is the exchange's. `lacked_by` names
    files of its archive that cover the span and lack candles too.
    """

    span: Span
    at: datetime
    clock: datetime
    rows: int
    digest: str
    refused: int = 0
    lacked_by: tuple[str, ...] = ()

    def as_evidence(self) -> dict[str, Any]:
        """The answer as JSON of the ledger."""
        archive = {"lacked_by": list(self.lacked_by)} if self.lacked_by else {}
        return archive | {
            "at": self.at.isoformat(),
            "exchange_clock": self.clock.isoformat(),
            "rows": self.rows,
            "refused": self.refused,
            "digest": self.digest,
        }


@dataclass(frozen=True)
class Policy:
    """How many answers without the candles confirm a gap, and how far apart they must be to count.

    `longest_hole` is how long a hole between collected partitions may be to be owed, and thus a gap, by itself.
    """

    answers: int = 3
    spacing: timedelta = timedelta(hours=1)
    longest_hole: timedelta = LONGEST_HOLE


@dataclass(frozen=True)
class Gap:
    """A span of owed candles that are not stored, or were not. `evidence` is JSON: answers, how often, neighbours."""

    span: Span
    status: str
    attempts: int
    first_seen: datetime
    last_checked: datetime | None = None
    repaired_at: datetime | None = None
    evidence: dict[str, Any] = field(default_factory=dict)

    def due_at(self, policy: Policy) -> datetime:
        """When the exchange is to be asked again."""
        if self.last_checked is None:
            return self.first_seen
        if self.status == SOURCE:
            wait = _SOURCE_WAITS[self.attempts >= policy.answers + _DAILY_ANSWERS]
            return self.last_checked + max(wait, policy.spacing)
        # The power is capped too: a gap without a neighbour may be asked about for years.
        doublings: int = 2 ** min(max(self.attempts - 1, 0), 20)
        return self.last_checked + min(policy.spacing * doublings, max(_LONGEST_WAIT, policy.spacing))


USUAL = Policy()
"""What holds unless a setting says otherwise."""


def our_clock() -> datetime:
    """This moment, naive UTC."""
    return naive_utc(datetime.now(UTC))


Neighbours = Callable[[Span], tuple[datetime | None, datetime | None]]
"""The open times of the stored candles next to a span, before and after it."""


def reconciled(
    known: Iterable[Gap], scope: Sequence[Span], missing: Sequence[Span], owed: Sequence[Span], now: datetime
) -> list[Gap]:
    """The gaps after a look at `scope`, in which the candles of `missing` are owed and not stored.

    `known` are gaps that are not repaired; outside of `scope` they hold as they are. What was missing and came is
    repaired; what is owed no more (a listing that ended) is gone. Gaps that touch and have been treated alike are one.
    """
    known = list(known)
    outside = subtract((gap.span for gap in known), scope)
    still = intersect(merge([*missing, *outside]), owed)
    remaining, repaired = [], []
    for gap in known:
        remaining += [replace(gap, span=part) for part in intersect([gap.span], still)]
        came = intersect(subtract([gap.span], still), owed)
        repaired += [replace(gap, span=part, status=REPAIRED, repaired_at=now) for part in came]
    fresh = [Gap(span, OPEN, 0, now) for span in subtract(still, (gap.span for gap in known))]
    return [*_joined([*remaining, *fresh]), *repaired]


def answered(gaps: Iterable[Gap], answers: Iterable[Answer], spacing: timedelta, now: datetime) -> list[Gap]:
    """The gaps after the exchange was asked and still had nothing for them; only what was asked about is affected.

    An answer counts that comes at least `spacing` after the one before it.
    """
    result = list(gaps)
    for answer in answers:
        result = [part for gap in result for part in _noted(gap, answer, spacing, now)]
    return result


def confirmed(gaps: Iterable[Gap], neighbours: Neighbours, enough: int, now: datetime) -> list[Gap]:
    """The gaps after it was judged which of those just asked about are the exchange's own.

    These were asked about `enough` times, and the exchange has candles on both sides of them. Gaps that touch and have
    been treated alike are one.
    """
    result: list[Gap] = []
    for gap in gaps:
        if gap.status != OPEN or gap.last_checked != now:
            result.append(gap)
            continue
        before, after = neighbours(gap.span)
        known = {"before": before and before.isoformat(), "after": after and after.isoformat()}
        is_confirmed = gap.attempts >= enough and before is not None and after is not None
        status = SOURCE if is_confirmed else OPEN
        result.append(replace(gap, status=status, evidence={**gap.evidence, **known}))
    return _joined(result)


def _noted(gap: Gap, answer: Answer, spacing: timedelta, now: datetime) -> list[Gap]:
    """The gap with the answer in its evidence, where it was asked about; the rest of it as it was."""
    if gap.status == REPAIRED:
        return [gap]
    parts = [replace(gap, span=rest) for rest in subtract([gap.span], [answer.span])]
    for asked in intersect([gap.span], [answer.span]):
        # Answers in quick succession are one: an outage of the exchange's interface also has an end.
        counts = gap.last_checked is None or now - gap.last_checked >= spacing
        evidence = {**gap.evidence, "asked": gap.evidence.get("asked", 0) + 1}
        if counts:
            kept = [*gap.evidence.get("answers", []), answer.as_evidence()]
            evidence["answers"] = kept if len(kept) <= _KEPT_ANSWERS else [kept[0], *kept[1 - _KEPT_ANSWERS :]]
            gap = replace(gap, attempts=gap.attempts + 1, last_checked=now)
        parts.append(replace(gap, span=asked, evidence=evidence))
    return sorted(parts, key=lambda part: part.span)


def _joined(gaps: Iterable[Gap]) -> list[Gap]:
    """Touching gaps of one history as one."""
    joined: list[Gap] = []
    for gap in sorted(gaps, key=lambda each: (each.status == REPAIRED, each.span)):
        last = joined[-1] if joined else None
        if last and last.status == gap.status != REPAIRED and last.span.end == gap.span.start and _alike(last, gap):
            times = [each.last_checked for each in (last, gap) if each.last_checked is not None]
            joined[-1] = replace(
                last,
                span=Span(last.span.start, gap.span.end),
                attempts=min(last.attempts, gap.attempts),
                first_seen=min(last.first_seen, gap.first_seen),
                last_checked=max(times, default=None),  # answers count again only when they are far from all others
                evidence={**last.evidence, "after": gap.evidence.get("after")} if last.evidence else {},
            )
        else:
            joined.append(gap)
    return joined


def _alike(left: Gap, right: Gap) -> bool:
    return left.status == SOURCE or left.attempts == right.attempts
