"""The life of a gap, whatever is looked at, comes, vanishes and is asked about in whatever order."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_assets.domain.spans import Span, intersect, merge, subtract
from crypto_assets.quality.gaps.ledger import (
    OPEN,
    REPAIRED,
    SOURCE,
    Answer,
    Gap,
    Policy,
    answered,
    confirmed,
    our_clock,
    reconciled,
)

POINTS = 24
WHOLE = Span(0, POINTS)
NOW = datetime(2023, 4, 1)  # noqa: DTZ001 - our clock is naive UTC
HOUR = timedelta(hours=1)
POLICY = Policy(answers=3, spacing=HOUR)


def points(spans) -> set[int]:
    return {point for span in spans for point in range(*span)}


def spans(of) -> list[Span]:
    return merge(Span(point, point + 1) for point in of)


@dataclass
class Ledger:
    """The ledger of one series beside what is to be true of it, point by point."""

    owed: set[int] = field(default_factory=lambda: set(range(POINTS)))
    stored: set[int] = field(default_factory=set)
    now: datetime = NOW
    gaps: list[Gap] = field(default_factory=list)
    lacking: set[int] = field(default_factory=set)
    """What the looks so far have found missing."""
    answers: dict[int, list[datetime]] = field(default_factory=dict)
    """When a point that is still missing was asked for, answers that came too soon after another left out."""

    def look(self, scope: Span, asked: Span | None = None) -> list[Gap]:
        """Looks at a span, after it or a part of it was asked for; what was repaired."""
        inside = set(range(*scope))
        lacking = ((self.lacking - inside) | ((self.owed - self.stored) & inside)) & self.owed
        came = (self.lacking & self.owed) - lacking
        after = reconciled(self.gaps, [scope], spans(inside - self.stored), spans(self.owed), self.now)
        if asked is not None:
            answer = Answer(asked, self.now, self.now, 0, "digest")
            after = answered(after, [answer], POLICY.spacing, self.now)
            after = confirmed(after, self.neighbours, POLICY.answers, self.now)
        repaired = [gap for gap in after if gap.status == REPAIRED]
        self.gaps = [gap for gap in after if gap.status != REPAIRED]
        assert points(gap.span for gap in repaired) == came
        self.lacking = lacking
        self.answers = {point: self.answers.get(point, []) for point in lacking}
        for point in lacking.intersection(range(*asked) if asked else ()):
            times = self.answers[point]
            if not times or self.now - times[-1] >= POLICY.spacing:
                times.append(self.now)
        return repaired

    def neighbours(self, span: Span):
        before = [point for point in self.stored if point < span.start]
        after = [point for point in self.stored if point >= span.end]
        return (NOW if before else None), (NOW if after else None)


some = st.frozensets(st.integers(0, POINTS - 1), max_size=POINTS)
stretches = st.tuples(st.integers(0, POINTS - 1), st.integers(1, POINTS)).map(
    lambda each: Span(each[0], min(POINTS, each[0] + each[1]))
)
events = st.one_of(
    st.tuples(st.just("comes"), stretches),
    st.tuples(st.just("vanishes"), stretches),
    st.tuples(st.just("look"), stretches),
    st.tuples(st.just("ask"), stretches),
    st.tuples(st.just("ask"), st.just(WHOLE)),
    st.tuples(st.just("owed"), some),
    st.tuples(st.just("waits"), st.sampled_from([timedelta(minutes=1), HOUR / 2, HOUR, 5 * HOUR])),
)


def happen(ledger: Ledger, what: str, value) -> list[Gap]:
    if what == "comes":
        ledger.stored |= set(range(*value))
    elif what == "vanishes":
        ledger.stored -= set(range(*value))
    elif what == "owed":
        ledger.owed = set(value) | {0, POINTS - 1}
    elif what == "waits":
        ledger.now += value
    else:
        return ledger.look(value if what == "look" else WHOLE, value if what == "ask" else None)
    return []


@settings(max_examples=200)
@given(some, st.lists(events, max_size=25))
def test_whatever_happens_the_ledger_is_what_is_owed_and_was_found_missing(stored, history):
    ledger = Ledger(stored=set(stored))
    for what, value in history:
        before = ledger.gaps
        repaired = happen(ledger, what, value)
        if what not in ("look", "ask"):
            continue
        assert points(gap.span for gap in ledger.gaps) == ledger.lacking
        assert all(left.span.end <= right.span.start for left, right in pairwise(ledger.gaps))
        for gap in repaired:
            assert gap.repaired_at == ledger.now
            [origin] = [each for each in before if intersect([each.span], [gap.span]) == [gap.span]]
            assert (gap.attempts, gap.first_seen, gap.evidence) == (
                origin.attempts,
                origin.first_seen,
                origin.evidence,
            )
        was_source = points(gap.span for gap in before if gap.status == SOURCE)
        for gap in ledger.gaps:
            keeps_its_word(ledger, gap, was_source)


def keeps_its_word(ledger: Ledger, gap: Gap, was_source: set[int]) -> None:
    inside = set(range(*gap.span))
    fewest = min(len(ledger.answers[point]) for point in inside)
    assert gap.attempts <= fewest, "no gap claims answers that a part of it never had"
    assert gap.first_seen <= ledger.now
    answers = gap.evidence.get("answers", [])
    assert bool(gap.attempts) == (gap.last_checked is not None) == bool(answers)
    assert len(answers) <= 4
    assert gap.evidence.get("asked", 0) >= gap.attempts
    if gap.status == SOURCE:
        assert fewest >= POLICY.answers
        assert (gap.evidence["before"], gap.evidence["after"]) == (NOW.isoformat(), NOW.isoformat())
        if not inside <= was_source:
            assert all(ledger.neighbours(gap.span))


def test_gaps_that_touch_and_were_treated_alike_are_one():
    left, right = Gap(Span(0, 4), OPEN, 0, NOW), Gap(Span(4, 9), OPEN, 0, NOW + HOUR)
    [joined] = reconciled([left, right], [WHOLE], [Span(0, 9)], [WHOLE], NOW + HOUR)
    assert joined == replace(left, span=Span(0, 9))


def test_gaps_that_touch_and_were_not_stay_two():
    asked = Gap(Span(0, 4), OPEN, 2, NOW, NOW, evidence={"asked": 2, "answers": [{}, {}]})
    fresh = Gap(Span(4, 9), OPEN, 0, NOW)
    assert reconciled([asked, fresh], [WHOLE], [Span(0, 9)], [WHOLE], NOW) == [asked, fresh]


def test_joined_gaps_have_the_fewest_answers_and_the_latest_of_them():
    def gap(span, attempts, at):
        return Gap(span, SOURCE, attempts, NOW, at, evidence={"asked": attempts, "answers": [{}], "after": f"{span}"})

    left, right = gap(Span(0, 4), 5, NOW), gap(Span(4, 9), 3, NOW + HOUR)
    [joined] = reconciled([left, right], [WHOLE], [Span(0, 9)], [WHOLE], NOW)
    assert (joined.span, joined.attempts, joined.last_checked) == (Span(0, 9), 3, NOW + HOUR)
    assert joined.evidence["after"] == str(Span(4, 9))


def test_what_came_in_the_middle_splits_a_gap_and_both_rests_keep_its_history():
    gap = Gap(Span(2, 9), OPEN, 2, NOW, NOW, evidence={"asked": 2, "answers": [{}, {}]})
    rest = reconciled([gap], [WHOLE], [Span(2, 4), Span(6, 9)], [WHOLE], NOW + HOUR)
    assert rest == [
        replace(gap, span=Span(2, 4)),
        replace(gap, span=Span(6, 9)),
        replace(gap, span=Span(4, 6), status=REPAIRED, repaired_at=NOW + HOUR),
    ]


def test_what_is_owed_no_more_is_neither_missing_nor_repaired():
    gap = Gap(Span(2, 9), OPEN, 0, NOW)
    assert reconciled([gap], [], [], [Span(5, 20)], NOW) == [replace(gap, span=Span(5, 9))]
    assert reconciled([gap], [WHOLE], [Span(2, 9)], [], NOW) == []


def both(_: Span):
    return NOW, NOW


def ask(gaps, at, span=WHOLE, neighbours=both, policy=POLICY, rows=0):
    noted = answered(gaps, [Answer(span, at, at, rows, "d", refused=rows)], policy.spacing, at)
    return confirmed(noted, neighbours, policy.answers, at)


def test_answers_count_when_they_are_spaced_and_all_are_kept_count_of():
    gaps = [Gap(Span(2, 9), OPEN, 0, NOW)]
    for minutes in (0, 10, 59, 61, 100, 121):
        gaps = ask(gaps, NOW + timedelta(minutes=minutes), rows=3)
        [gap] = gaps
    # 0, 61 and 121 are 60 minutes apart: the last is not, after 61.
    assert (gap.attempts, gap.status, gap.evidence["asked"]) == (3, SOURCE, 6)
    assert [each["at"][11:16] for each in gap.evidence["answers"]] == ["00:00", "01:01", "02:01"]
    assert gap.evidence["answers"][0] == {
        "at": "2023-04-01T00:00:00",
        "exchange_clock": "2023-04-01T00:00:00",
        "rows": 3,
        "refused": 3,
        "digest": "d",
    }


@pytest.mark.parametrize("neighbours", [(None, NOW), (NOW, None), (None, None)])
def test_a_gap_without_a_candle_on_either_side_stays_open_and_says_so(neighbours):
    gaps = [Gap(Span(2, 9), OPEN, 0, NOW)]
    for number in range(6):
        gaps = ask(gaps, NOW + number * HOUR, neighbours=lambda _: neighbours)
    [gap] = gaps
    assert (gap.status, gap.attempts) == (OPEN, 6)
    assert [gap.evidence["before"], gap.evidence["after"]] == [each and each.isoformat() for each in neighbours]
    [gap] = ask(gaps, NOW + 6 * HOUR)
    assert gap.status == SOURCE


def test_only_what_was_asked_about_is_affected():
    gap = Gap(Span(2, 9), OPEN, 2, NOW, NOW, evidence={"asked": 2, "answers": [{}, {}]})
    at = NOW + HOUR
    before, asked, after = ask([gap], at, Span(4, 6))
    assert (before, after) == (replace(gap, span=Span(2, 4)), replace(gap, span=Span(6, 9)))
    assert (asked.span, asked.status, asked.attempts, asked.last_checked) == (Span(4, 6), SOURCE, 3, at)
    assert ask([gap], at, Span(9, 20)) == [gap]


def test_the_first_answer_and_the_newest_are_kept():
    gaps = [Gap(Span(2, 9), OPEN, 0, NOW)]
    for number in range(10):
        gaps = ask(gaps, NOW + number * HOUR)
    assert [each["at"][11:13] for each in gaps[0].evidence["answers"]] == ["00", "07", "08", "09"]


def test_a_repaired_gap_is_not_asked_about():
    gap = Gap(Span(2, 9), REPAIRED, 2, NOW, NOW, NOW)
    assert ask([gap], NOW + HOUR) == [gap]


def test_a_fresh_gap_is_due_at_once():
    assert Gap(WHOLE, OPEN, 0, NOW).due_at(POLICY) == NOW


@given(
    st.integers(1, 10),
    st.timedeltas(timedelta(0), timedelta(days=30)),
    st.integers(0, 30),
    st.booleans(),
)
def test_the_wait_grows_with_every_answer_is_capped_and_never_too_short_to_count(needed, spacing, more, has_neighbours):
    policy = Policy(needed, spacing)
    status = {True: SOURCE, False: OPEN}
    waits = []
    for attempts in range(1, needed + more + 1):
        gap = Gap(WHOLE, status[has_neighbours and attempts >= needed], attempts, NOW, NOW)
        waits.append(gap.due_at(policy) - NOW)
    assert waits == sorted(waits)
    assert waits[0] >= spacing
    longest = timedelta(days=7) if has_neighbours else timedelta(days=1)
    assert waits[-1] <= max(longest, spacing)


def test_an_open_gap_is_asked_about_at_intervals_that_double_up_to_a_day():
    waits = [Gap(WHOLE, OPEN, attempts, NOW, NOW).due_at(POLICY) - NOW for attempts in range(1, 8)]
    assert [wait / HOUR for wait in waits] == [1, 2, 4, 8, 16, 24, 24]


def test_a_confirmed_gap_is_asked_about_daily_for_a_week_then_weekly():
    waits = [Gap(WHOLE, SOURCE, attempts, NOW, NOW).due_at(POLICY) - NOW for attempts in range(3, 12)]
    assert [wait.days for wait in waits] == [1] * 7 + [7] * 2


def test_our_clock_is_naive():
    assert our_clock().tzinfo is None


def test_looking_twice_changes_nothing():
    missing = [Span(2, 4), Span(6, 9)]
    once = reconciled([], [WHOLE], missing, [WHOLE], NOW)
    assert reconciled(once, [WHOLE], missing, [WHOLE], NOW + HOUR) == once
    assert subtract(missing, [gap.span for gap in once]) == []
