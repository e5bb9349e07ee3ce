"""A span of candles as pages: one request after another, or several at once and handed on in order.

Here belongs which windows are asked for. What a request is belongs to `binance`, which calls this.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
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


def pages_ahead(
    executor: Executor, ahead: int, ask: Ask, interval: Interval, span: Span, page_rows: int
) -> Iterator[RawPage]:
    """The same pages, `ahead` windows of one page each being asked for beyond the one that is wanted.

    On a full grid this is as many requests. A window whose page is short is asked for its rest, as above, so a gap
    costs a request more, and one of many windows a request for each.
    """
    windows = iter(_windows(interval, span, page_rows))
    pending: deque[Future[list[RawPage]]] = deque()
    try:
        while True:
            while len(pending) <= ahead and (window := next(windows, None)) is not None:
                pending.append(executor.submit(lambda of: list(pages_of(ask, interval, of)), window))
            if not pending:
                return
            yield from pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()


def _windows(interval: Interval, span: Span, page_rows: int) -> Iterator[Span]:
    """The span cut where full pages of it end."""
    start = span.start
    while start < span.end:
        end = min(interval.ceil(start) + page_rows * interval.milliseconds, span.end)
        yield Span(start, end)
        start = end
