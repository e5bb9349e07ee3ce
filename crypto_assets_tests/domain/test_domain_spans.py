"""The algebra of spans, held against sets of the milliseconds they contain."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from crypto_assets.domain.spans import Span, SpanIndex, intersect, merge, subtract

# Reversed and empty ones included: both contain nothing.
spans = st.lists(st.builds(Span, st.integers(0, 40), st.integers(0, 40)), max_size=8)


def times(of: list[Span]) -> set[int]:
    return {time for span in of for time in range(span.start, span.end)}


def is_canonical(of: list[Span]) -> bool:
    """In order, none empty, none touching the next."""
    return all(span.start < span.end for span in of) and all(left.end < right.start for left, right in pairwise(of))


@given(spans)
def test_merging_keeps_the_times_and_is_canonical(some):
    merged = merge(some)
    assert times(merged) == times(some)
    assert is_canonical(merged)
    assert merge(merged) == merged


@given(spans, spans)
def test_intersection_holds_the_times_of_both(left, right):
    common = intersect(left, right)
    assert times(common) == times(left) & times(right)
    assert is_canonical(common)
    assert common == intersect(right, left)


@given(spans, spans)
def test_subtraction_holds_the_times_of_the_first_alone(left, right):
    rest = subtract(left, right)
    assert times(rest) == times(left) - times(right)
    assert is_canonical(rest)


@given(spans, spans)
def test_a_set_is_what_it_shares_with_another_and_what_it_does_not(left, right):
    assert merge([*intersect(left, right), *subtract(left, right)]) == merge(left)


@given(st.builds(Span, st.integers(0, 40), st.integers(0, 40)), st.builds(Span, st.integers(0, 40), st.integers(0, 40)))
def test_two_spans_share_what_their_sets_share_and_never_end_before_they_start(one, other):
    shared = one.intersect(other)
    assert times([shared]) == times([one]) & times([other])
    assert shared.end >= shared.start


@given(spans, st.builds(Span, st.integers(0, 40), st.integers(0, 40)))
def test_an_index_says_of_any_span_what_the_sets_say(some, span):
    index = SpanIndex(some)
    assert index.touches(span) == bool(times([span]) & times(some))
    assert index.holds(span) == (times([span]) <= times(some))


def test_touching_spans_become_one():
    assert merge([Span(5, 9), Span(1, 5), Span(3, 4)]) == [Span(1, 9)]
