"""What we need of an exchange's bulk files, as Protocols: closed months and days of candles, as files over HTTP.

Here belongs the shape that `collect` depends on and that tests may implement; where the files are and what is inside
them belongs to `exchange.<venue>`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import Interval, PartitionScheme, partition_span
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.client import RawRows

MONTH_LETTERS = len("2023-03")


def is_month(period: str) -> bool:
    """Whether a period is a month, such as `2023-03`, else it is a day, such as `2023-03-20`."""
    return len(period) == MONTH_LETTERS


def period_span(period: str) -> Span:
    """The UTC month or day that a period names, in ms."""
    if is_month(period):
        return partition_span(PartitionScheme.MONTHLY, f"{period}-01")
    return partition_span(PartitionScheme.DAILY, period)


class BulkFile(Protocol):
    """One file: a symbol's candles of a UTC month (`period` is `2023-03`) or day (`2023-03-20`)."""

    @property
    def market_type(self) -> MarketType:
        """The market of its symbol."""

    @property
    def exchange_id(self) -> str:
        """The exchange's own name of its symbol."""

    @property
    def interval(self) -> Interval:
        """That of its candles."""

    @property
    def period(self) -> str:
        """The month or day."""

    @property
    def span(self) -> Span:
        """The times that its candles open in, in ms UTC."""

    @property
    def name(self) -> str:
        """The exchange's name for it."""

    @property
    def path(self) -> str:
        """Where it is on its host; its checksum may be beside it."""

    @property
    def most_bytes(self) -> int:
        """More than its candles can take, packed or not: what is longer is not what its name says."""

    @property
    def expected_ms(self) -> int:
        """From when on it can be expected. A file that is not there by then may still come; one may come earlier."""


class BulkCandles(Protocol):
    """A file's candles, in its order, duplicates included."""

    @property
    def file(self) -> BulkFile:
        """Where they are from."""

    @property
    def sha256(self) -> str:
        """The checksum that it was published with and has, in hexadecimal."""

    @property
    def table(self) -> npt.NDArray[np.float64]:
        """A row of float64 for each of `CANDLE_COLUMNS`, as `CandlePage` has them; at least one candle."""

    def raw_rows(self, positions: Iterable[int]) -> RawRows:
        """These rows of `table` as REST would have sent them: evidence for what was rejected."""


class BulkFiles(Protocol):
    """The files of one host. For any number of threads."""

    @property
    def requests(self) -> int:
        """How many HTTP requests were made so far, retries included."""

    def file(self, market_type: MarketType, exchange_id: str, interval: Interval, period: str) -> BulkFile:
        """The file of a symbol's month or day, whether it is there or not."""

    def expected(
        self, market_type: MarketType, exchange_id: str, interval: Interval, span: Span, clock_ms: int
    ) -> Sequence[BulkFile]:
        """The files to ask for the candles of `span` at `clock_ms`, oldest first: those that spare requests."""

    def fetch(self, file: BulkFile) -> BulkCandles | None:
        """The candles of a file, None if there is no such file. Raises ExchangeError where they cannot be trusted."""

    def checksum(self, file: BulkFile) -> str | None:
        """The SHA-256 that is published for a file, in lower-case hexadecimal; None if there is none."""

    def stop(self) -> None:
        """Let no thread wait any longer."""

    def close(self) -> None:
        """Give connections back."""
