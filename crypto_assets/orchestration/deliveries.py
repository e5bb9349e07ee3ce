"""Where the candles of a span come from: files of the exchange's archive, and REST for all that these leave.

Here belongs which of the two is asked for what, and what each of them said. What is fit to store is judged by
`judged_candles`, stored by `collection`, the caller. No Dagster here.

A file is taken for what it holds and proves nothing about what it lacks: candles that are missing in it are asked for
by REST, and only what REST answers is evidence of a gap.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

import numpy as np
import orjson
import pandas as pd

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import Interval, PartitionScheme, partition_key, to_datetime
from crypto_assets.domain.spans import Span, intersect, merge, subtract
from crypto_assets.exchange.archive import BinanceArchive, files_for, spares_requests
from crypto_assets.exchange.archive_csv import ArchiveCandles
from crypto_assets.exchange.archive_files import ArchiveFile
from crypto_assets.exchange.client import Exchange, RawPage, StrayRow, marked
from crypto_assets.exchange.errors import ContractViolation, ExchangeError
from crypto_assets.frames.candles import archived_candles, parse_candles
from crypto_assets.orchestration.asking import joined
from crypto_assets.quality.ledger import Answer

_WORTH_A_REQUEST = 500
"""How many candles must lie between two that a file lacks, for them to be asked for by themselves."""

_log = logging.getLogger(__name__)


@dataclass
class Window:
    """A span that REST was asked for, and what it said. `lacked_by` are files that lack candles of it."""

    span: Span
    lacked_by: tuple[str, ...] = ()
    received: int = 0
    refused: int = 0
    said: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=16))

    def answer(self, at: datetime, clock: datetime) -> Answer:
        """The same as the ledger takes it."""
        return Answer(self.span, at, clock, self.received, self.said.hexdigest(), self.refused, self.lacked_by)


@dataclass
class RestRows:
    """Candles that REST gave: a page, or several in a row. `strays` came with them, and were not asked for."""

    window: Window
    rows: RawPage
    strays: RawPage = field(default_factory=list)

    @property
    def newest(self) -> int:
        """The latest open time."""
        return max((int(row[0]) for row in self.rows), default=0)

    def frame(self) -> pd.DataFrame:
        """The candles as they came, `row` their position."""
        return parse_candles(self.rows)

    def raw(self, positions: Sequence[int]) -> RawPage:
        """The candles at these positions as REST gave them."""
        return [self.rows[position] for position in positions]


@dataclass
class FileRows:
    """Candles of a file of the archive."""

    candles: ArchiveCandles

    @property
    def file(self) -> ArchiveFile:
        """The file."""
        return self.candles.file

    @property
    def newest(self) -> int:
        """The latest open time."""
        return int(self.candles.table["open_time"].to_numpy().max())

    def frame(self) -> pd.DataFrame:
        """The candles as they are in it, `row` their position."""
        return archived_candles(self.candles.table)

    def raw(self, positions: Sequence[int]) -> RawPage:
        """The candles at these positions as REST would have given them."""
        return self.candles.raw_rows(positions)

    def as_remembered(self) -> dict[str, Any]:
        """What is to be known of it later, by column of `crypto_source_file`."""
        return {
            "period": self.file.period,
            "sha256": self.candles.sha256,
            "rows": self.candles.table.num_rows,
            "last_timestamp": to_datetime(self.newest).replace(tzinfo=None),
        }


Delivery: TypeAlias = RestRows | FileRows


class ArchiveInUse:
    """The archive as one run uses it, for all its symbols: what came from it, what it lacks, and when to ask no more.

    Without an archive there are no files.
    """

    def __init__(self, archive: BinanceArchive | None = None) -> None:
        self._archive = archive
        self._lock = threading.Lock()
        self.used: list[str] = []
        self.lacking = 0
        self.refused: list[tuple[str, str]] = []
        self.given_up = ""

    @property
    def requests(self) -> int:
        """How many HTTP requests were made, retries included."""
        return self._archive.requests if self._archive is not None else 0

    @property
    def is_asked(self) -> bool:
        """Whether there is an archive that answers, as far as is known."""
        return self._archive is not None and not self.given_up

    def fetch(self, file: ArchiveFile) -> FileRows | None:
        """A file that can be trusted, or None; after an archive that does not answer None for all that follow."""
        if self._archive is None or self.given_up:
            return None
        try:
            candles = self._archive.fetch(file)
        except ContractViolation as error:
            self.refused.append((file.name, str(error)))
            return None
        except ExchangeError as error:
            with self._lock:
                if not self.given_up:
                    self.given_up = str(error)
                    _log.warning("the archive is left alone for this run, REST is asked instead: %s", error)
            return None
        if candles is None:
            with self._lock:
                self.lacking += 1
            return None
        self.used.append(file.name)
        return FileRows(candles)


class SpanReader:
    """Reads one span of one symbol, with its context on both sides, once. Times are milliseconds UTC.

    `context` contains `span`. What the exchange raises is raised; what the archive has not, REST is asked for.
    """

    def __init__(
        self,
        exchange: Exchange,
        archive: ArchiveInUse,
        series: tuple[MarketType, str, Interval],
        span: Span,
        context: Span,
        clock: int,
    ) -> None:
        self._exchange, self._archive, self._series = exchange, archive, series
        self._span, self._context, self._clock = span, context, clock
        self._windows: list[Window] = []
        self._days_tried: set[str] = set()

    @property
    def _interval(self) -> Interval:
        return self._series[2]

    def deliveries(self) -> Iterator[Delivery]:
        """All of it in order of time: files, and pages for what no file covers."""
        start = self._context.start
        for found in self._files():
            yield from self._rest(Span(start, found.file.span.start))
            yield found
            start = found.file.span.end
        yield from self._rest(Span(start, self._context.end))

    def daily_instead(self, off_grid: Iterable[int]) -> list[Delivery]:
        """The daily files of days of which candles came that open at these times, off the grid.

        Of 9 and 10 February 2018 they have the candles on it, while months and REST have not.
        """
        days = {partition_key(PartitionScheme.DAILY, time) for time in off_grid} - self._days_tried
        self._days_tried |= days
        files = [ArchiveFile(*self._series, day) for day in sorted(days)]
        files = [file for file in files if self._covers(file) and file.expected_ms <= self._clock]
        return [found for file in files if (found := self._archive.fetch(file)) is not None]

    def lacking(self, deliveries: Iterable[Delivery], there: np.ndarray[Any, np.dtype[np.int64]]) -> list[Delivery]:
        """What REST has of the candles that are missing in files; `there` are the open times of those to be kept."""
        files = [delivery.file for delivery in deliveries if isinstance(delivery, FileRows)]
        unasked = subtract((file.span for file in files), (window.span for window in self._windows))
        missing = [gap for span in unasked for gap in self._missing(span, there)]
        found: list[Delivery] = []
        for span in joined(missing, _WORTH_A_REQUEST * self._interval.milliseconds):
            lacked_by = tuple(file.name for file in files if intersect([file.span], [span]))
            found += self._rest(span, lacked_by)
        return found

    def answers(self, at: datetime, clock: datetime) -> list[Answer]:
        """What REST said about the span, once all was read: `at` by our clock, `clock` the exchange's (naive UTC)."""
        return [window.answer(at, clock) for window in self._windows if window.span.start < window.span.end]

    def _files(self) -> Iterator[FileRows]:
        """The files of the span that can be had, oldest first. Of a month that cannot, days until one cannot either."""
        if not self._archive.is_asked:
            return
        for file in files_for(*self._series, self._span, self._clock):
            found = self._archive.fetch(file)
            if found is not None:
                yield found
            elif file.is_monthly:
                for day in filter(spares_requests, file.days()):
                    found = self._archive.fetch(day)
                    if found is None:
                        break
                    yield found

    def _rest(self, asked: Span, lacked_by: tuple[str, ...] = ()) -> Iterator[RestRows]:
        if asked.start >= asked.end:
            return
        window = Window(asked.intersect(self._span), lacked_by)
        self._windows.append(window)
        for page in self._exchange.candle_pages(*self._series, asked):
            window.said.update(_as_bytes(page))
            rows, strays = _parted(marked(page, asked))
            window.received += sum(window.span.start <= row[0] < window.span.end for row in rows)
            yield RestRows(window, rows, strays)

    def _covers(self, file: ArchiveFile) -> bool:
        return self._span.start <= file.span.start and file.span.end <= self._span.end

    def _missing(self, span: Span, there: np.ndarray[Any, np.dtype[np.int64]]) -> list[Span]:
        step = self._interval.milliseconds
        grid = np.arange(self._interval.ceil(span.start), span.end, step)
        return merge(Span(time, time + step) for time in grid[~np.isin(grid, there)].tolist())


def _parted(page: RawPage) -> tuple[RawPage, RawPage]:
    """The rows that were asked for, and the strays."""
    if StrayRow not in set(map(type, page)):
        return page, []
    strays: RawPage = [row for row in page if isinstance(row, StrayRow)]
    return [row for row in page if not isinstance(row, StrayRow)], strays


def _as_bytes(page: RawPage) -> bytes:
    """What a page says, the same however the rows are cut into pages."""
    try:
        return orjson.dumps(page)[1:-1] + b","
    except TypeError:  # a number of more than 64 bits, or text that is none
        return json.dumps(page)[1:-1].encode() + b","


def batches(deliveries: Iterable[Delivery], tail: int) -> Iterator[list[Delivery]]:
    """Each delivery, as what is stored in one go; from the candle that opens at `tail` on, all that is left.

    What came before an error of the exchange is given first, so that it is stored.
    """
    batch: list[Delivery] = []
    try:
        for delivery in deliveries:
            newest, last = delivery.newest, batch[-1] if batch else None
            if isinstance(delivery, RestRows) and isinstance(last, RestRows) and last.window is delivery.window:
                last.rows = last.rows + delivery.rows  # parsed at once, which costs less
                last.strays = last.strays + delivery.strays
            else:
                batch.append(delivery)
            if newest < tail:
                yield batch
                batch = []
    except ExchangeError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch
