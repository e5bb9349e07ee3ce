"""Candles as they are fetched: pages of REST and bulk files, and how they are cut for storing. No Dagster here.

Here belongs what came, as it came. `collect.span_reader` decides which source is asked for what, `collect.judge` what
is fit to store, and `collect.candles` stores it. Called by all three.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from crypto_assets.domain.intervals import PartitionScheme, partition_key, to_naive
from crypto_assets.domain.series import Series
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.bulk_files import BulkCandles, BulkFile, BulkFiles
from crypto_assets.exchange.client import CandlePage, RawRows, one_page
from crypto_assets.exchange.errors import ContractViolation, ExchangeError
from crypto_assets.frames.candles import archived_candles, received_candles
from crypto_assets.quality.conflicts import Conflict
from crypto_assets.quality.gaps.ledger import Answer

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class RestRequest:
    """A span that REST is asked for, page by page, and what has come so far. Only `SpanReader` changes it.

    `received` counts the candles of the span, `digest` is of all that came. `lacked_by` names the bulk files that
    cover the span and lack candles of it.
    """

    span: Span
    lacked_by: tuple[str, ...] = ()
    received: int = 0
    digest: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=16))

    def answer(self, refused: int, at: datetime, clock: datetime) -> Answer:
        """The evidence for the gap ledger; `refused` of the candles did not keep the contract."""
        return Answer(self.span, at, clock, self.received, self.digest.hexdigest(), refused, self.lacked_by)


@dataclass(frozen=True)
class RestRows:
    """Candles that REST gave in answer to a request: a page, or several in a row as one."""

    request: RestRequest
    page: CandlePage

    @property
    def newest(self) -> int:
        """The latest open time in ms UTC."""
        return self.page.newest

    def frame(self) -> pd.DataFrame:
        """The candles as they came, `row` their position."""
        return received_candles(self.page.columns)

    def raw(self, positions: Sequence[int]) -> RawRows:
        """The candles at these positions as REST gave them."""
        rows = self.page.raw_rows()
        return [rows[position] for position in positions]


@dataclass(frozen=True)
class FileRows:
    """Candles of a bulk file: all of them, or those of `spans`, and none of the days that are `disputed`."""

    candles: BulkCandles
    spans: Sequence[Span] | None = None
    disputed: tuple[Span, ...] = ()

    @property
    def file(self) -> BulkFile:
        """The file."""
        return self.candles.file

    def without(self, days: Iterable[Span]) -> FileRows:
        """The same file, of which these days are disputed too: another publication has other candles of them."""
        return replace(self, disputed=tuple(sorted({*self.disputed, *days})))

    @property
    def newest(self) -> int:
        """The latest open time."""
        return int(self.candles.table["open_time"].to_numpy().max())

    def whole(self) -> pd.DataFrame:
        """All candles as they are in the file, `row` their position."""
        return archived_candles(self.candles.table)

    def frame(self) -> pd.DataFrame:
        """The candles that are taken from it, as `whole` has them."""
        frame = self.whole()
        if self.spans is None and not self.disputed:
            return frame
        times = frame["open_time"].to_numpy()
        taken = _opens_in(times, self.spans) if self.spans is not None else np.full(len(times), fill_value=True)
        return frame[taken & ~_opens_in(times, self.disputed)].reset_index(drop=True)

    def raw(self, positions: Sequence[int]) -> RawRows:
        """The candles at these positions as REST would have given them."""
        return self.candles.raw_rows(positions)

    def as_remembered(self) -> dict[str, Any]:
        """What is to be known of it later, by column of `crypto_source_file`."""
        return {
            "period": self.file.period,
            "sha256": self.candles.sha256,
            "rows": self.candles.table.num_rows,
            "last_timestamp": to_naive(self.newest),
        }


Fetched: TypeAlias = RestRows | FileRows


def _opens_in(times: npt.NDArray[np.int64], spans: Iterable[Span]) -> npt.NDArray[np.bool_]:
    found = np.zeros(len(times), dtype=bool)
    for span in spans:
        found |= (times >= span.start) & (times < span.end)
    return found


class ArchiveInUse:
    """The archive as one run uses it, for all its symbols: what came from it, what it lacks, and when to ask no more.

    Without an archive there are no files.
    """

    def __init__(self, archive: BulkFiles | None = None) -> None:
        self._archive = archive
        self._lock = threading.Lock()
        self.used: list[str] = []
        self.lacking = 0
        self.refused: list[tuple[str, str]] = []
        self.disputed: list[Conflict] = []
        self.given_up = ""

    @property
    def requests(self) -> int:
        """How many HTTP requests were made, retries included."""
        return self._archive.requests if self._archive is not None else 0

    @property
    def is_asked(self) -> bool:
        """Whether there is an archive that answers, as far as is known."""
        return self._archive is not None and not self.given_up

    def stop(self) -> None:
        """Lets no thread wait for the archive any longer."""
        if self._archive is not None:
            self._archive.stop()

    def expected(self, series: Series, span: Span, clock: int) -> Sequence[BulkFile]:
        """The files to ask for the candles of `span`, oldest first; none once the archive is asked no more."""
        if self._archive is None or self.given_up:
            return []
        return self._archive.expected(*series.at_exchange, span, clock)

    def day(self, series: Series, start: int, clock: int) -> BulkCandles | None:
        """The daily file of the day that begins at `start`, None where there is none to trust, or none yet."""
        if self._archive is None:
            return None
        file = self._archive.file(*series.at_exchange, partition_key(PartitionScheme.DAILY, start))
        return self.fetch(file) if file.expected_ms <= clock else None

    def fetch(self, file: BulkFile) -> BulkCandles | None:
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
        return candles


def batches(fetched: Iterable[Fetched], tail: int) -> Iterator[list[Fetched]]:
    """What is fetched, cut into what is stored in one transaction: a page or a file each.

    All that comes from the candle on that opens at `tail` is one batch. What came before an error of the exchange is
    given first, so that it is stored.
    """
    batch: list[Fetched] = []
    try:
        for rows in fetched:
            batch.append(rows)
            if rows.newest < tail:
                yield _together(batch)
                batch = []
    except ExchangeError:
        if batch:
            yield _together(batch)
        raise
    if batch:
        yield _together(batch)


def _together(batch: Iterable[Fetched]) -> list[Fetched]:
    """The same, the pages of each request as one: they are judged at once, which costs less."""
    found: list[Fetched] = []
    for _, group in groupby(batch, lambda each: id(each.request if isinstance(each, RestRows) else each)):
        first, *others = group
        pages = [each.page for each in (first, *others) if isinstance(each, RestRows)]
        found.append(replace(first, page=one_page(pages)) if isinstance(first, RestRows) else first)
    return found
