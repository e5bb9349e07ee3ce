"""A span of candles as pages: one request after another, or several at once and handed on in order.

Here belongs which windows are asked for. What a request is belongs to `exchange.<venue>`, which calls this.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias

from crypto_assets.domain.intervals import Interval
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.client import CandlePage, one_page

Ask: TypeAlias = Callable[[Span], CandlePage]
"""One request for the candles that open in a span; a page without candles where the exchange has none."""


def pages_of(ask: Ask, interval: Interval, span: Span) -> Iterator[CandlePage]:
    """The pages of `span`, each asked for when it is wanted, oldest first.

    A short page says nothing (a gap, or a host with a smaller page): only an empty one or the end of the span stops.
    """
    cursor = span.start
    while cursor < span.end:
        page = ask(Span(cursor, span.end))
        if not len(page):
            return
        yield page
        # On the grid this is the newest + interval. After an off-grid candle (February 2018) it is the next grid point,
        # where the first candle back on the grid may open less than an interval later.
        cursor = interval.floor(page.newest) + interval.milliseconds


class Ahead:
    """Requests made ahead of those who want their pages, by one executor for all of them.

    At most `in_flight` pages are asked for and not yet dealt with, as long as there are no more than `readers` callers:
    that bounds the memory, and what a kill loses. One page is always granted to each of them, so that none waits for
    another; who is faster takes the others.
    """

    def __init__(self, in_flight: int) -> None:
        self.readers = (in_flight + 1) // 2
        slots = in_flight - self.readers
        self._executor = ThreadPoolExecutor(in_flight, "candles")
        self._slots = threading.BoundedSemaphore(slots)
        # While a caller deals with half of what it may have, the other half is under way.
        self._most_at_once = max(1, (slots + 1) // 2)

    def pages(self, ask: Ask, interval: Interval, span: Span, page_rows: int) -> Iterator[CandlePage]:
        """The same rows, all that have come by the time they are wanted as one page.

        So a caller that is slower than the exchange deals with several pages at once, which costs it less, and one
        that waits for the exchange with each as it comes. On a full grid this is as many requests as `pages_of` makes.
        A window whose page is short is asked for its rest, so a gap costs a request more, and one of many windows a
        request for each.
        """
        windows = _windows(interval, span, page_rows)

        def submit(window: Span) -> Future[list[CandlePage]]:
            return self._executor.submit(lambda: list(pages_of(ask, interval, window)))

        reader = _Reader(windows, submit, self._slots)
        try:
            reader.ask()
            while reader.is_waiting:
                came = reader.take(self._most_at_once)
                reader.ask()
                if came:
                    yield one_page(came)
                reader.give_back()
                reader.ask()
        finally:
            reader.stop()

    def close(self) -> None:
        """Ask for nothing more, and wait for what is under way."""
        self._executor.shutdown(cancel_futures=True)


class _Reader:
    """The windows of one caller: those under way, those it deals with, and a slot for each of both but one."""

    def __init__(
        self,
        windows: Iterator[Span],
        submit: Callable[[Span], Future[list[CandlePage]]],
        slots: threading.BoundedSemaphore,
    ) -> None:
        self._windows, self._submit, self._slots = windows, submit, slots
        self._following = next(windows, None)
        self._pending: deque[Future[list[CandlePage]]] = deque()
        self._in_hand = self._held = 0

    @property
    def is_waiting(self) -> bool:
        """Whether anything was asked for that was not taken yet."""
        return bool(self._pending)

    def ask(self) -> None:
        """Asks for as many windows as there are slots."""
        while self._following is not None:
            if self._pending or self._in_hand:
                if not self._slots.acquire(blocking=False):
                    return
                self._held += 1
            self._pending.append(self._submit(self._following))
            self._following = next(self._windows, None)

    def take(self, most: int) -> list[CandlePage]:
        """The pages of the next window, waited for, and of those after it that have come, `most` windows at once."""
        came = self._pending.popleft().result()
        self._in_hand = 1
        while self._pending and self._in_hand < most and _has_come(self._pending[0]):
            came += self._pending.popleft().result()
            self._in_hand += 1
        return came

    def give_back(self) -> None:
        """The slots of the windows that were taken: they are dealt with."""
        self._in_hand = 0
        self._release(max(0, len(self._pending) - 1))

    def stop(self) -> None:
        """Asks for nothing more."""
        for future in self._pending:
            future.cancel()
        self._release(0)

    def _release(self, keep: int) -> None:
        while self._held > keep:
            self._slots.release()
            self._held -= 1


def _has_come(future: Future[list[CandlePage]]) -> bool:
    return future.done() and future.exception() is None


def _windows(interval: Interval, span: Span, page_rows: int) -> Iterator[Span]:
    """The span cut where full pages of it end."""
    start = span.start
    while start < span.end:
        end = min(interval.ceil(start) + page_rows * interval.milliseconds, span.end)
        yield Span(start, end)
        start = end
