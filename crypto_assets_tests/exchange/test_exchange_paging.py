"""Pages asked for ahead: which rows come, in which order, with how many requests, and how many are held at once."""

from __future__ import annotations

import threading
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_assets.domain.intervals import Interval
from crypto_assets.domain.series import CANDLE_COLUMNS
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.client import CandlePage
from crypto_assets.exchange.errors import TransientError
from crypto_assets.exchange.paging import Ahead, pages_of

STEP = Interval.M1.milliseconds
ROWS = 10


class Book:
    """Candles at some minutes, given ten at a time; counts requests, and those asked for that nobody took yet."""

    def __init__(self, minutes, failing=()):
        self.times = sorted(minute * STEP for minute in minutes)
        self.failing = set(failing)
        self.requests = 0
        self.held = self.most_held = 0
        self._lock = threading.Lock()

    def ask(self, span):
        with self._lock:
            self.requests += 1
            self.held += 1
            self.most_held = max(self.most_held, self.held)
        if span.start // STEP in self.failing:
            raise TransientError("no answer")
        times = [time for time in self.times if span.start <= time < span.end][:ROWS]
        return CandlePage(np.array([times] * len(CANDLE_COLUMNS), dtype=np.float64))

    def took(self, rows):
        with self._lock:
            self.held -= -(-len(rows) // ROWS)


def times(pages):
    return [time for page in pages for time in page.table[0].tolist()]


@given(
    minutes=st.sets(st.integers(0, 120)),
    first=st.integers(0, 60),
    length=st.integers(0, 70),
    in_flight=st.sampled_from([2, 3, 8]),
)
def test_the_rows_are_those_of_one_page_after_another(minutes, first, length, in_flight):
    span = Span(first * STEP, (first + length) * STEP)
    with closing(Ahead(in_flight)) as ahead:
        pages = list(ahead.pages(Book(minutes).ask, Interval.M1, span, ROWS))
    assert all(pages)
    assert times(pages) == times(pages_of(Book(minutes).ask, Interval.M1, span))


@pytest.mark.parametrize("in_flight", [2, 8])
def test_a_full_grid_costs_a_request_a_page(in_flight):
    book = Book(range(1000))
    with closing(Ahead(in_flight)) as ahead:
        assert len(times(ahead.pages(book.ask, Interval.M1, Span(0, 1000 * STEP), ROWS))) == 1000
    assert book.requests == 100


def assert_four_are_asked_for_ahead(ahead):
    """To the one that is granted, by an `Ahead` for eight that nobody else reads; it is closed at the end."""
    book, asked = Book(range(50)), threading.Event()

    def ask(span):
        page = book.ask(span)
        if book.requests == 5:
            asked.set()
        return page

    pages = ahead.pages(ask, Interval.M1, Span(0, 50 * STEP), ROWS)
    first = next(pages)
    assert asked.wait(30)
    ahead.close()  # so that all of them have come
    assert len(first) <= 2 * ROWS
    assert max(len(page) for page in pages) == 2 * ROWS


def test_a_slow_caller_takes_what_has_come_in_one_go():
    assert_four_are_asked_for_ahead(Ahead(8))


def test_what_is_asked_for_and_not_taken_is_bounded_for_all_callers_together():
    book, in_flight = Book(range(3000)), 6
    callers = 3
    begun = threading.Barrier(callers)

    def take():
        for page in ahead.pages(book.ask, Interval.M1, Span(0, 3000 * STEP), ROWS):
            if page.table[0][0] == 0:
                begun.wait(30)  # all hold their first page while the others ask
            book.took(page)

    with closing(Ahead(in_flight)) as ahead:
        assert ahead.readers == callers
        threads = [threading.Thread(target=take) for _ in range(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert book.requests == callers * 300
    assert book.most_held <= in_flight


def test_what_came_before_a_failure_is_given_first_and_no_slot_stays_taken():
    ahead = Ahead(8)
    for _ in range(8):
        given_before = []
        with pytest.raises(TransientError):  # noqa: PT012 - after what came
            for page in ahead.pages(Book(range(100), failing=[30]).ask, Interval.M1, Span(0, 100 * STEP), ROWS):
                given_before += page.table[0].tolist()
        assert given_before == [minute * STEP for minute in range(30)]
        with closing(ahead.pages(Book(range(100)).ask, Interval.M1, Span(0, 100 * STEP), ROWS)) as abandoned:
            next(abandoned)
    assert_four_are_asked_for_ahead(ahead)
