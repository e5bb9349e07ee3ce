"""What is meant by runs of collected partitions, the holes between them, and decisions about these."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from crypto_assets.domain.intervals import DAY_MS
from crypto_assets.domain.spans import Span, intersect, merge, subtract
from crypto_assets.quality.gaps.holes import COLLECT, LEAVE, Decision, meant

ALWAYS = [Span(0, 10_000 * DAY_MS)]
WEEK = timedelta(days=7)


def days(first, end):
    return Span(first * DAY_MS, end * DAY_MS)


def decision(span, word):
    return Decision(span, word, datetime(2023, 4, 10), "the test")  # noqa: DTZ001 - our clock is naive UTC


spans = st.tuples(st.integers(0, 60), st.integers(1, 30)).map(lambda each: days(each[0], each[0] + each[1]))
several_spans = st.lists(spans, max_size=6).map(merge)
decisions = st.lists(st.builds(decision, spans, st.sampled_from([COLLECT, LEAVE])), max_size=4)
limits = st.integers(0, 20).map(lambda count: timedelta(days=count))


def test_a_short_hole_is_owed_and_a_long_one_waits():
    runs = [days(0, 1), days(8, 9), days(17, 18)]
    found = meant(runs, ALWAYS, longest_hole=WEEK)
    assert found.owed == [days(0, 9), days(17, 18)]
    assert found.waiting == [days(9, 17)]


def test_what_was_not_listed_makes_no_hole_long():
    found = meant([days(0, 1), days(100, 101)], [days(0, 3), days(97, 200)], longest_hole=WEEK)
    assert found.owed == [days(0, 3), days(97, 101)]
    assert found.waiting == []


def test_a_decision_holds_for_its_part_of_a_hole_alone():
    runs = [days(0, 1), days(100, 101)]
    chosen = [decision(days(50, 120), COLLECT), decision(days(10, 20), LEAVE)]
    found = meant(runs, ALWAYS, chosen, WEEK)
    assert found.owed == [days(0, 1), days(50, 101)]
    assert found.waiting == [days(1, 10), days(20, 50)]
    assert found.left == [days(10, 20)]


def test_what_was_left_stays_left_when_so_much_is_collected_that_it_is_short():
    found = meant([days(0, 50), days(53, 101)], ALWAYS, [decision(days(1, 100), LEAVE)], WEEK)
    assert (found.owed, found.waiting, found.left) == ([days(0, 50), days(53, 101)], [], [days(50, 53)])


def test_no_decision_reaches_beyond_what_was_collected():
    assert meant([days(5, 6)], ALWAYS, [decision(days(0, 100), COLLECT)], WEEK).owed == [days(5, 6)]
    assert meant([], ALWAYS, [decision(days(0, 100), COLLECT)], WEEK).owed == []


@given(several_spans, several_spans, decisions, limits)
def test_every_time_between_the_first_and_the_last_run_is_one_of_the_three(runs, listed, chosen, longest):
    found = meant(runs, listed, chosen, longest)
    hull = intersect([Span(runs[0].start, runs[-1].end)], listed) if runs else []
    parts = [*found.owed, *found.waiting, *found.left]
    assert merge(parts) == hull
    assert sum(end - start for start, end in parts) == sum(end - start for start, end in hull)


@given(several_spans, several_spans, decisions, limits)
def test_owed_is_what_was_collected_the_short_holes_and_what_was_decided(runs, listed, chosen, longest):
    found = meant(runs, listed, chosen, longest)
    collected = intersect(runs, listed)
    collect = [each.span for each in chosen if each.decision == COLLECT]
    leave = [each.span for each in chosen if each.decision == LEAVE]
    assert not subtract(collected, found.owed)
    for before, after in pairwise(runs):
        hole = intersect([Span(before.end, after.start)], listed)
        is_short = sum(end - start for start, end in hole) <= longest // timedelta(milliseconds=1)
        meant_there = merge([*subtract(hole if is_short else [], leave), *intersect(hole, collect)])
        assert intersect(found.owed, hole) == meant_there
        assert not (is_short and intersect(found.waiting, hole))


@given(several_spans, limits, limits)
def test_a_longer_limit_owes_no_less(runs, one, other):
    shorter, longer = sorted([one, other])
    assert not subtract(meant(runs, ALWAYS, (), shorter).owed, meant(runs, ALWAYS, (), longer).owed)


@given(several_spans, spans)
def test_collecting_more_takes_nothing_from_what_is_owed(runs, more):
    before, after = meant(runs, ALWAYS), meant(merge([*runs, more]), ALWAYS)
    assert not subtract(before.owed, after.owed)
