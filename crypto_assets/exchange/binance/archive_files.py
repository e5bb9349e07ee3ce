"""Which files of Binance's public archive cover a span: names, paths and when each can be expected. Pure functions.

Here belongs the layout of https://github.com/binance/binance-public-data. Asking for a file belongs to `archive`,
reading it to `exchange.binance.archive_csv`. Called by both and by `orchestration`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import (
    Interval,
    PartitionScheme,
    partition_keys,
    partition_span,
    to_datetime,
    to_milliseconds,
)
from crypto_assets.domain.spans import Span, subtract

_FOLDERS = {MarketType.SPOT: "spot", MarketType.SWAP: "futures/um"}
_MONTH_LETTERS = len("2023-03")

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
        return len(self.period) == _MONTH_LETTERS

    @property
    def span(self) -> Span:
        """The times that its candles open in, in ms UTC."""
        if self.is_monthly:
            return Span(*partition_span(PartitionScheme.MONTHLY, f"{self.period}-01"))
        return Span(*partition_span(PartitionScheme.DAILY, self.period))

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
    for scheme, letters in ((PartitionScheme.MONTHLY, _MONTH_LETTERS), (PartitionScheme.DAILY, None)):
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
