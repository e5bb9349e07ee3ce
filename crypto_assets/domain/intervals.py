"""Candle intervals, their UTC grid, and the partitions a grid is collected in.

Times are integer milliseconds since 1970-01-01 UTC. Spans are half open: [start, end).
Here belongs what an interval is; what a table or an asset is called belongs to `entities`. Called by every package.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import lru_cache

from crypto_assets.domain.spans import Span

MINUTE_MS = 60_000
DAY_MS = 86_400_000


class PartitionScheme(Enum):
    """How the history of an interval is cut into partitions: by UTC day or by UTC calendar month."""

    DAILY = "daily"
    MONTHLY = "monthly"


class Interval(Enum):
    """A candle interval by its usual name. All of them divide a UTC day, so every grid starts at midnight."""

    M1 = "1m"
    M5 = "5m"
    M15 = "15m"
    M30 = "30m"
    H1 = "1h"
    H4 = "4h"
    D1 = "1d"

    @property
    def milliseconds(self) -> int:
        """The interval's length."""
        return _MILLISECONDS[self]

    @property
    def partition_scheme(self) -> PartitionScheme:
        """Daily for 1m and 5m, monthly for the rest: between 24 and 2,976 candles of one symbol in a partition."""
        return PartitionScheme.DAILY if self in (Interval.M1, Interval.M5) else PartitionScheme.MONTHLY

    def floor(self, time_ms: int) -> int:
        """The last grid point at or before `time_ms`."""
        return time_ms - time_ms % self.milliseconds

    def ceil(self, time_ms: int) -> int:
        """The first grid point at or after `time_ms`."""
        return -(-time_ms // self.milliseconds) * self.milliseconds

    def on_grid(self, time_ms: int) -> bool:
        """Whether a candle of this interval can open at `time_ms`."""
        return time_ms % self.milliseconds == 0

    def count(self, start_ms: int, end_ms: int) -> int:
        """How many grid points lie in [start_ms, end_ms)."""
        return max(0, (self.ceil(end_ms) - self.ceil(start_ms)) // self.milliseconds)

    def closed_before(self, clock_ms: int) -> int:
        """The end of the closed candles at `clock_ms`: every candle that opens before it has closed.

        A candle is closed once its close time, open + interval - 1 ms, has passed.
        """
        return self.floor(clock_ms)


_MILLISECONDS = {
    Interval.M1: MINUTE_MS,
    Interval.M5: 5 * MINUTE_MS,
    Interval.M15: 15 * MINUTE_MS,
    Interval.M30: 30 * MINUTE_MS,
    Interval.H1: 60 * MINUTE_MS,
    Interval.H4: 240 * MINUTE_MS,
    Interval.D1: DAY_MS,
}


def to_datetime(time_ms: int) -> datetime:
    """`time_ms` as an aware UTC datetime, exact to the millisecond."""
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=time_ms)


def to_naive(time_ms: int) -> datetime:
    """`time_ms` as the databases hold it: a naive datetime that means UTC, exact to the millisecond."""
    return naive_utc(to_datetime(time_ms))


def naive_utc(moment: datetime) -> datetime:
    """`moment` as the databases hold it: naive, in UTC, exact to the microsecond; a naive one is in UTC already."""
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def to_milliseconds(moment: datetime) -> int:
    """`moment` as integer milliseconds; a naive datetime is taken as UTC, the project's storage convention."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)


_ISO = re.compile(r"\d{4}-\d{2}-\d{2}")  # fromisoformat alone would also read 20230324 and 2023-W12


def parse_time(text: str) -> int:
    """An ISO 8601 date or time as milliseconds; without an offset it means UTC.

    Raises ValueError with the text and an example.
    """
    refusal = f"{text!r} is not an ISO date or time such as 2023-03-24 or 2023-03-24T12:40"
    if not _ISO.match(text.strip()):
        raise ValueError(refusal)
    try:
        moment = datetime.fromisoformat(text.strip())
        return to_milliseconds(moment if moment.tzinfo is None else moment.astimezone(UTC))
    except (ValueError, OverflowError):  # also of a day before the first or after the last that there is
        raise ValueError(refusal) from None


def format_time(time_ms: int) -> str:
    """`time_ms` as `2023-03-24 12:40` UTC, with seconds and milliseconds only where they are not zero."""
    moment = to_datetime(time_ms)
    if time_ms % MINUTE_MS == 0:
        return moment.strftime("%Y-%m-%d %H:%M")
    return moment.strftime("%Y-%m-%d %H:%M:%S") + (f".{time_ms % 1000:03d}" if time_ms % 1000 else "")


def partition_key(scheme: PartitionScheme, time_ms: int) -> str:
    """The key of the partition that contains `time_ms`: `2023-03-20`, or `2023-03-01` for its month."""
    return to_datetime(time_ms).strftime("%Y-%m-%d" if scheme is PartitionScheme.DAILY else "%Y-%m-01")


@lru_cache(maxsize=16_384)  # days of 44 years: whoever goes through a history asks for the same ones symbol by symbol
def partition_span(scheme: PartitionScheme, key: str) -> Span:
    """The half-open span of milliseconds that the partition `key` covers."""
    start = datetime.strptime(key, "%Y-%m-%d").replace(tzinfo=UTC)
    if scheme is PartitionScheme.DAILY:
        end = start + timedelta(days=1)
    else:
        end = (start.replace(day=1) + timedelta(days=32)).replace(day=1)
    return Span(to_milliseconds(start), to_milliseconds(end))


def is_partition_key(scheme: PartitionScheme, text: str) -> bool:
    """Whether `text` is the key of a partition, written as `partition_key` writes it."""
    try:
        return partition_key(scheme, partition_span(scheme, text)[0]) == text
    except (ValueError, OverflowError):  # no date, or the last day of all time
        return False


def partition_keys(scheme: PartitionScheme, start_ms: int, end_ms: int) -> list[str]:
    """The keys of all partitions that overlap [start_ms, end_ms), oldest first."""
    keys: list[str] = []
    position = start_ms
    while position < end_ms:
        keys.append(partition_key(scheme, position))
        position = partition_span(scheme, keys[-1])[1]
    return keys


def whole_partitions(scheme: PartitionScheme, span: Span) -> Span:
    """The span of the partitions that overlap `span`, which holds at least one time."""
    first, last = (partition_span(scheme, partition_key(scheme, time)) for time in (span.start, span.end - 1))
    return Span(first.start, last.end)
