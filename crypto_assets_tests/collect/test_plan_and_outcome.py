"""A plan is what is asked for and stays as it was made; an outcome is what came of it, added up part by part."""

from __future__ import annotations

from collections import Counter
from dataclasses import FrozenInstanceError, fields

import pytest

from crypto_assets.collect.outcome import Counts, Outcome
from crypto_assets.collect.plan import Plan
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import DAY_MS, Interval, parse_time
from crypto_assets.domain.series import CandleTable
from crypto_assets.domain.spans import Span

START = parse_time("2023-03-20")
DAYS = ("2023-03-20", "2023-03-21", "2023-03-22")
WINDOW = Span(START, START + 3 * DAY_MS)
LISTED = Span(START + DAY_MS // 2, WINDOW.end)
HOUR = Span(WINDOW.end - Interval.H1.milliseconds, WINDOW.end)


def planned() -> Plan:
    return Plan(
        CandleTable(MarketType.SPOT, Interval.M5),
        WINDOW,
        DAYS,
        askable=(LISTED,),
        spans=(HOUR,),
        missing=(HOUR,),
        altered=frozenset(DAYS[:1]),
        suspects=frozenset(DAYS[:1]),
        neighbours=("2023-03-19",),
    )


def test_nobody_changes_a_plan():
    plan = planned()
    for field in fields(plan):
        with pytest.raises(FrozenInstanceError):
            setattr(plan, field.name, None)
    assert hash(plan) == hash(planned()), "what it holds cannot be changed either"


def test_asking_for_a_partition_as_a_whole_is_another_plan():
    plan = planned()
    whole = plan.whole(DAYS[:1])
    assert whole.spans == (Span(LISTED.start, START + DAY_MS),)
    assert (whole.suspects, whole.altered) == (frozenset(), plan.altered)
    assert plan == planned()


def test_a_partition_is_complete_once_all_that_is_askable_was_asked_for():
    plan = planned()
    assert plan.completed_by([LISTED]) == [*DAYS]
    assert plan.completed_by([Span(LISTED.start, START + DAY_MS), HOUR]) == [DAYS[0]]
    assert plan.completed_by([]) == []


def part(**values) -> Outcome:
    return Outcome(**values)


def test_outcomes_add_up_and_stay_as_they_were():
    first = part(counts=Counts(received=2, first=5, last=6), sources={"a": Counter(rest=2)}, rewritten=frozenset("a"))
    second = part(counts=Counts(received=3, first=7, last=9), sources={"a": Counter(rest=1, archive=2)}, asked=(HOUR,))
    third = part(sources={"b": Counter(archive=4)}, files=frozenset({"2023-03"}), rewritten=frozenset("b"))
    both = first + second + third
    assert both == first + (second + third)
    assert both.counts == Counts(received=5, first=5, last=9)
    assert both.sources == {"a": Counter(rest=3, archive=2), "b": Counter(archive=4)}
    assert (both.asked, both.files, both.rewritten) == ((HOUR,), frozenset({"2023-03"}), frozenset("ab"))
    assert first.sources == {"a": Counter(rest=2)}
    assert second.sources == {"a": Counter(rest=1, archive=2)}


def test_what_is_asked_for_anew_has_no_sources_of_before():
    outcome = part(sources={"a": Counter(rest=2), "b": Counter(rest=1)}, rewritten=frozenset("ab"))
    assert outcome.without_sources(["a"]) == part(sources={"b": Counter(rest=1)}, rewritten=frozenset("ab"))
