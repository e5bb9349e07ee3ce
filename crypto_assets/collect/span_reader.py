"""Fetching the candles of a span: bulk files of the exchange, and REST for all that these leave. No Dagster here.

Here belongs which of the two is asked for what. What came of it is kept as `collect.fetched` has it. Called by
`collect.candles`.

REST is the arbiter. A monthly file is a cheaper way to the same candles: the hours that its candles make must be those
of REST, and days that differ are asked of REST. What a file lacks proves nothing, so that is asked of REST, too, and
only what REST answers is evidence of a gap. A candle that REST has not, in whatever span it is asked for, is taken from
the daily file of its day, if that has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from crypto_assets.collect.bulk_file_reader import BulkFileReader
from crypto_assets.collect.fetched import Fetched, FileRows, RestRequest, RestRows
from crypto_assets.collect.plan import joined
from crypto_assets.collect.publications import days_that_rest_disputes, grid_spans
from crypto_assets.domain.intervals import DAY_MS, Interval
from crypto_assets.domain.series import Series
from crypto_assets.domain.spans import Span, intersect, subtract
from crypto_assets.exchange.bulk_files import BulkCandles
from crypto_assets.exchange.client import Exchange, one_page
from crypto_assets.frames.candles import Candles, no_candles
from crypto_assets.quality.gaps.ledger import Answer

_WORTH_A_REQUEST = 500
"""How many candles must lie between two that a file lacks, for them to be asked for by themselves."""


class SpanReader:
    """Reads one span of one symbol, with its context on both sides, once. Times are milliseconds UTC.

    `context` contains `span`. What the exchange raises is raised.
    """

    def __init__(
        self,
        exchange: Exchange,
        archive: BulkFileReader,
        series: Series,
        span: Span,
        context: Span,
        clock: int,
    ) -> None:
        self._exchange, self._archive, self._series = exchange, archive, series
        self._span, self._context, self._clock = span, context, clock
        self._interval = series.interval
        self._requests: list[RestRequest] = []
        self._days: dict[int, BulkCandles | None] = {}

    def fetch(self) -> Iterator[Fetched]:
        """All of it in order of time: files, and pages for what no file covers."""
        start = self._context.start
        for found in self._files():
            yield from self._rest(Span(start, found.file.span.start))
            yield found
            start = found.file.span.end
        yield from self._rest(Span(start, self._context.end))

    def daily_instead(self, times: npt.NDArray[np.int64]) -> list[Fetched]:
        """The candles that open at these times, and that REST has not, from their daily files.

        Of 9 and 10 February 2018 these have the candles on the grid, while months and REST have not.
        """
        found: list[Fetched] = []
        if not self._archive.is_asked:
            return found
        of_days = times // DAY_MS
        for day in np.unique(of_days).tolist():
            candles = self._day(day * DAY_MS)
            if candles is None:
                continue
            own = times[of_days == day]
            rows = FileRows(candles, grid_spans(own, self._interval))
            there = np.isin(own, candles.table[0])
            if there.any():
                found.append(rows)
            for request in self._requests:
                if intersect([request.span], grid_spans(own[~there], self._interval)):
                    request.lacked_by = (*dict.fromkeys((*request.lacked_by, candles.file.name)),)
        return found

    def lacking(self, fetched: Iterable[Fetched], there: np.ndarray[Any, np.dtype[np.int64]]) -> list[Fetched]:
        """What REST has of the candles that are missing in files; `there` are the open times of those to be kept."""
        files = [rows for rows in fetched if isinstance(rows, FileRows)]
        unasked = subtract((file.file.span for file in files), (request.span for request in self._requests))
        missing = [gap for span in unasked for gap in self._missing(span, there)]
        found: list[Fetched] = []
        for span in joined(missing, _WORTH_A_REQUEST * self._interval.milliseconds):
            found += self._rest(span, tuple(file.file.name for file in files if self._lacks(file, span)))
        return found

    def answers(self, refused: Mapping[RestRequest, int], at: datetime, clock: datetime) -> tuple[Answer, ...]:
        """What REST said about the span, once all was read: `at` by our clock, `clock` the exchange's (naive UTC).

        `refused` is how many candles of each request did not keep the contract.
        """
        asked = [request for request in self._requests if request.span.start < request.span.end]
        return tuple(request.answer(refused.get(request, 0), at, clock) for request in asked)

    def _files(self) -> Iterator[FileRows]:
        """The files of the span that can be had, oldest first, without the days that REST disputes."""
        for file in self._archive.expected(self._series, self._span, self._clock):
            candles = self._archive.fetch(file)
            if candles is not None:
                rows = FileRows(candles)
                yield rows.without(days_that_rest_disputes(rows.whole(), self._hours(file.span)))

    def _hours(self, span: Span) -> Candles:
        """What REST has of the hours of a span."""
        hours = self._series._replace(interval=Interval.H1)
        pages = list(self._exchange.candle_pages(*hours.at_exchange, span))
        return Candles.of(one_page(pages).table) if pages else no_candles()

    def _day(self, start: int) -> BulkCandles | None:
        """The daily file of this day, None where there is none to trust."""
        if start not in self._days:
            self._days[start] = self._archive.day(self._series, start, self._clock)
        return self._days[start]

    def _rest(self, asked: Span, lacked_by: tuple[str, ...] = ()) -> Iterator[RestRows]:
        if asked.start >= asked.end:
            return
        request = RestRequest(asked.intersect(self._span), lacked_by)
        self._requests.append(request)
        for page in self._exchange.candle_pages(*self._series.at_exchange, asked):
            request.digest.update(page.json)
            request.digest.update(b",")
            request.received += page.count_in(request.span)
            yield RestRows(request, page)

    def _lacks(self, file: FileRows, span: Span) -> bool:
        return bool(self._missing(span.intersect(file.file.span), file.candles.table[0]))

    def _missing(self, span: Span, there: np.ndarray[Any, np.dtype[np.int64]]) -> list[Span]:
        step = self._interval.milliseconds
        grid = np.arange(self._interval.ceil(span.start), span.end, step)
        return grid_spans(grid[~np.isin(grid, there)], self._interval)
