"""A span of candles as pages: one request after another, or several at once and handed on in order.

Here belongs which windows are asked for. What a request is belongs to `binance`, which calls this.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from typing import TypeAlias

from crypto_assets.domain.intervals import Interval
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.client import RawPage

Ask: TypeAlias = Callable[[Span], tuple[RawPage, int]]
"""One request for the candles that open in a span: the page, and the open time of its newest candle (0 if empty)."""


def pages_of(ask: Ask, interval: Interval, span: Span) -> Iterator[RawPage]:
    """The pages of `span`, each asked for when it is wanted, oldest first.

    A short page says nothing (a gap, or a host with a smaller page): only an empty one or the end of the span stops.
    """
    cursor = span.start
    while cursor < span.end:
        page, newest = ask(Span(cursor, span.end))
        if not page:
            return
        yield page
        # On the grid this is newest + interval. After an off-grid candle (February 2018) it is the next grid point,
        # where the first candle back on the grid may open less than an interval later.
        cursor = interval.floor(newest) + interval.milliseconds


class Ahead:
    """Requests made ahead of those who want their pages, by one executor for all of them.

    At most `in_flight` pages, and one for each caller, are asked for and not yet dealt with, however many callers there
    are: that bounds the memory, and what a kill loses.
    """

    def __init__(self, in_flight: int) -> None:
        self._executor = ThreadPoolExecutor(in_flight, "candles")
        self._slots = threading.BoundedSemaphore(in_flight)
        # While half of them are dealt with, the other half is under way.
        self._most_at_once = max(1, in_flight // 2)

    def pages(self, ask: Ask, interval: Interval, span: Span, page_rows: int) -> Iterator[RawPage]:
        """The same rows, all that have come by the time they are wanted as one page.

        So a caller that is slower than the exchange deals with several pages at once, which costs it less, and one
        that waits for the exchange with each as it comes. On a full grid this is as many requests as `pages_of` makes.
        A window whose page is short is asked for its rest, so a gap costs a request more, and one of many windows a
        request for each.
        """
        windows = _windows(interval, span, page_rows)
        following = next(windows, None)
        pending: deque[Future[list[RawPage]]] = deque()
        slots = 0

        def fill() -> None:
            nonlocal following, slots
            # One window needs no slot, so that no caller waits for another.
            while following is not None and (not pending or self._slots.acquire(blocking=False)):
                slots += bool(pending)
                pending.append(self._executor.submit(lambda of: list(pages_of(ask, interval, of)), following))
                following = next(windows, None)

        try:
            fill()
            while pending:
                came = pending.popleft().result()
                taken = 1
                while pending and taken < self._most_at_once and _has_come(pending[0]):
                    came += pending.popleft().result()
                    taken += 1
                fill()
                if came:
                    yield list(chain.from_iterable(came))
                for _ in range(slots - len(pending)):
                    self._slots.release()
                    slots -= 1
                fill()
        finally:
            for future in pending:
                future.cancel()
            for _ in range(slots):
                self._slots.release()

    def close(self) -> None:
        """Ask for nothing more, and wait for what is under way."""
        self._executor.shutdown(cancel_futures=True)


def _has_come(future: Future[list[RawPage]]) -> bool:
    return future.done() and future.exception() is None


def _windows(interval: Interval, span: Span, page_rows: int) -> Iterator[Span]:
    """The span cut where full pages of it end."""
    start = span.start
    while start < span.end:
        end = min(interval.ceil(start) + page_rows * interval.milliseconds, span.end)
        yield Span(start, end)
        start = end
