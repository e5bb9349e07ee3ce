"""Candles as they are fetched: pages of REST and bulk files, and how they are cut for storing. No Dagster here.

Here belongs what came, as it came. `collect.span_reader` decides which source is asked for what, `collect.judge` what
is fit to store, and `collect.candles` stores it. Called by all three.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from crypto_assets.domain.intervals import to_naive
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.bulk_files import BulkCandles, BulkFile
from crypto_assets.exchange.client import CandlePage, RawRows, one_page
from crypto_assets.exchange.errors import ExchangeError
from crypto_assets.frames.candles import Candles
from crypto_assets.quality.gaps.ledger import Answer


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

    def taken(self) -> Candles:
        """The candles as they came."""
        return Candles.of(self.page.table)

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
        return int(self.candles.table[0].max())

    def whole(self) -> Candles:
        """All candles as they are in the file."""
        return Candles.of(self.candles.table, archived=True)

    def taken(self) -> Candles:
        """The candles that are taken from it, as `whole` has them."""
        return self.whole() if self.spans is None and not self.disputed else self.whole()[self._taken]

    @property
    def _taken(self) -> npt.NDArray[np.bool_]:
        times = self.candles.table[0]
        taken = _opens_in(times, self.spans) if self.spans is not None else np.full(len(times), fill_value=True)
        return taken & ~_opens_in(times, self.disputed)

    def raw(self, positions: Sequence[int]) -> RawRows:
        """The candles at these positions of `taken` as REST would have given them."""
        return self.candles.raw_rows(np.flatnonzero(self._taken)[list(positions)].tolist())

    def as_remembered(self) -> dict[str, Any]:
        """What is to be known of it later, by column of `crypto_source_file`."""
        return {
            "period": self.file.period,
            "sha256": self.candles.sha256,
            "rows": self.candles.table.shape[1],
            "last_timestamp": to_naive(self.newest),
        }


Fetched: TypeAlias = RestRows | FileRows


def _opens_in(times: npt.NDArray[np.float64], spans: Iterable[Span]) -> npt.NDArray[np.bool_]:
    found = np.zeros(len(times), dtype=bool)
    for span in spans:
        found |= (times >= span.start) & (times < span.end)
    return found


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
