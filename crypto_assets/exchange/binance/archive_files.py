"""Which files of Binance's public archive cover a span: names, paths and when each can be expected. Pure functions.

Here belongs the layout of https://github.com/binance/binance-public-data. Asking for a file belongs to `archive`,
reading it to `archive_csv`. Called by both and by `venue`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import (
    Interval,
    PartitionScheme,
    partition_keys,
    to_datetime,
    to_milliseconds,
)
from crypto_assets.domain.spans import Span, subtract
from crypto_assets.exchange.binance.weights import PAGE_ROWS
from crypto_assets.exchange.bulk_files import MONTH_LETTERS, is_month, period_span

_FOLDERS = {MarketType.SPOT: "spot", MarketType.SWAP: "futures/um"}

_REQUESTS_PER_FILE = 2

_MOST_BYTES_A_CANDLE = 400
"""A line takes 90 to 200, and a file may have some of them twice."""

_MOST_BYTES_BESIDE = 64 * 1024
"""A first line with the columns' names, and what packing takes."""


@dataclass(frozen=True)
class ArchiveFile:
    """One zip of the archive: a symbol's candles of a UTC month (`period` is `2023-03`) or day (`2023-03-20`)."""

    market_type: MarketType
    exchange_id: str
    interval: Interval
    period: str

    @property
    def is_monthly(self) -> bool:
        """Whether it covers a month, else it covers a day."""
        return is_month(self.period)

    @property
    def span(self) -> Span:
        """The times that its candles open in, in ms UTC."""
        return period_span(self.period)

    @property
    def name(self) -> str:
        """`BTCUSDT-1m-2023-03.zip`."""
        return f"{self.exchange_id}-{self.interval.value}-{self.period}.zip"

    @property
    def path(self) -> str:
        """`/data/spot/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2023-03.zip`; its checksum is at the same, + `.CHECKSUM`."""
        folder = f"{_FOLDERS[self.market_type]}/{'monthly' if self.is_monthly else 'daily'}"
        return f"/data/{folder}/klines/{self.exchange_id}/{self.interval.value}/{self.name}"

    @property
    def expected_ms(self) -> int:
        """From when on it can be expected. A file that is not there by then may still come; one may come earlier.

        A day comes some hours after its end, so a day is allowed for it; a month comes on the first Monday after it,
        so that Monday is allowed for it.
        """
        end = to_datetime(self.span.end)
        days = (7 - end.weekday()) % 7 + 1 if self.is_monthly else 1
        return to_milliseconds(end + timedelta(days=days))

    @property
    def most_bytes(self) -> int:
        """More than its candles can take, packed or not: what is longer is not what its name says."""
        return _MOST_BYTES_BESIDE + _MOST_BYTES_A_CANDLE * self.interval.count(*self.span)


def archive_files(
    market_type: MarketType, exchange_id: str, interval: Interval, span: Span, clock_ms: int
) -> list[ArchiveFile]:
    """The files to expect at `clock_ms` that lie wholly inside `span`, oldest first; what they leave is REST's.

    Whole months as monthly files, the days left as daily ones, so that their spans never overlap. Both clocks are ms
    UTC.
    """
    found: list[ArchiveFile] = []
    rest = [Span(*span)] if span.start < span.end else []
    for scheme, letters in ((PartitionScheme.MONTHLY, MONTH_LETTERS), (PartitionScheme.DAILY, None)):
        for part in rest:
            keys = partition_keys(scheme, *part)
            files = [ArchiveFile(market_type, exchange_id, interval, key[:letters]) for key in keys]
            found += [
                file
                for file in files
                if part.start <= file.span.start and file.span.end <= part.end and file.expected_ms <= clock_ms
            ]
        rest = subtract(rest, [file.span for file in found])
    return sorted(found, key=lambda file: file.span)


def pages_to_check(market_type: MarketType, span: Span) -> int:
    """How many pages of REST the hours of a file take, with which its candles are compared."""
    return -(-Interval.H1.count(*span) // PAGE_ROWS[market_type])


def spares_requests(file: ArchiveFile) -> bool:
    """Whether REST would need more requests for a file's candles than the file with what checks it.

    It does for months up to 5m, of USDT-M with its smaller pages up to 15m.
    """
    pages = -(-file.interval.count(*file.span) // PAGE_ROWS[file.market_type])
    return pages > _REQUESTS_PER_FILE + pages_to_check(file.market_type, file.span)


def files_for(
    market_type: MarketType, exchange_id: str, interval: Interval, span: Span, clock_ms: int
) -> list[ArchiveFile]:
    """The files to ask for the candles of `span` at `clock_ms`, oldest first: those to expect that spare requests."""
    return list(filter(spares_requests, archive_files(market_type, exchange_id, interval, span, clock_ms)))
