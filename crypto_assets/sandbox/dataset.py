"""What the sandbox serves, as one small protocol: a clock, symbols, candles and funding rates.

Candles are integer columns scaled by each symbol's decimals, so that sums are exact. Where they come from belongs to
`generated` and `recorded`, how they look on the wire to `klines` and `markets`. Called by those modules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import MINUTE_MS, Interval

Integers = NDArray[np.int64]

PERPETUAL = "PERPETUAL"
NO_DELIVERY_MS = 4_133_404_800_000
"""The delivery date (2100-12-25 08:00 UTC) that Binance gives perpetual contracts."""


@dataclass(frozen=True, slots=True)
class SymbolInfo:
    """One symbol of one market. Times are milliseconds UTC; `ended_ms` is the first moment without trading, if any.

    `price_decimals`, `volume_decimals` and `quote_decimals` scale the integers of its candles; the tick and the step
    are one unit of the last decimal. `funding_hours` is 0 for what has no funding.
    """

    symbol: str
    base: str
    quote: str
    price_decimals: int
    volume_decimals: int
    quote_decimals: int
    listed_ms: int
    ended_ms: int | None = None
    contract_type: str = PERPETUAL
    delivery_ms: int = NO_DELIVERY_MS
    funding_hours: int = 0

    def trading_at(self, clock_ms: int) -> bool:
        """Whether it is traded at `clock_ms`: listed already and not ended yet."""
        return self.listed_ms <= clock_ms and (self.ended_ms is None or clock_ms < self.ended_ms)


class FundingRate(NamedTuple):
    """One funding: its time in milliseconds UTC, the rate times 10^8, and the mark price as text (may be empty)."""

    time_ms: int
    rate_e8: int
    mark_price: str


@dataclass(frozen=True, slots=True)
class Candles:
    """Candles as parallel integer columns, oldest first, in the order of Binance's kline array.

    Times are milliseconds UTC, prices and sizes are scaled by the decimals of their `SymbolInfo`.
    """

    open_time: Integers
    open: Integers
    high: Integers
    low: Integers
    close: Integers
    volume: Integers
    close_time: Integers
    quote_volume: Integers
    trades: Integers
    taker_base: Integers
    taker_quote: Integers

    def __len__(self) -> int:
        return len(self.open_time)

    @staticmethod
    def empty() -> Candles:
        """No candles."""
        return Candles(*(np.empty(0, np.int64) for _ in fields(Candles)))

    def columns(self) -> list[Integers]:
        """The columns in the order of the kline array."""
        return [getattr(self, field.name) for field in fields(self)]

    def between(self, start_ms: int, end_ms: int) -> Candles:
        """The candles with start_ms <= open time < end_ms, without copying."""
        first, last = np.searchsorted(self.open_time, [start_ms, end_ms])
        return Candles(*(column[first:last] for column in self.columns()))


def concatenate(parts: Sequence[Candles]) -> Candles:
    """The candles of all parts, which must be in order, as one."""
    if not parts:
        return Candles.empty()
    if len(parts) == 1:
        return parts[0]
    return Candles(*(np.concatenate(columns) for columns in zip(*(part.columns() for part in parts), strict=True)))


def aggregate(minutes: Candles, interval: Interval) -> Candles:
    """The candles of `interval` that the minutes make: first open, extreme high and low, last close, exact sums.

    An interval without a minute has no candle. As recorded from Binance on 2023-03-24, a candle whose last minute was
    cut short by a halt closes with that minute; every other candle closes 1 ms before the next grid point.
    """
    if interval is Interval.M1 or not len(minutes):
        return minutes
    opens = minutes.open_time - minutes.open_time % interval.milliseconds
    first = np.flatnonzero(np.concatenate(([True], opens[1:] != opens[:-1])))
    last = np.append(first[1:], len(opens)) - 1
    last_close = minutes.close_time[last]
    cut_short = last_close < minutes.open_time[last] + MINUTE_MS - 1
    return Candles(
        open_time=opens[first],
        open=minutes.open[first],
        high=np.maximum.reduceat(minutes.high, first),
        low=np.minimum.reduceat(minutes.low, first),
        close=minutes.close[last],
        volume=np.add.reduceat(minutes.volume, first),
        close_time=np.where(cut_short, last_close, opens[first] + interval.milliseconds - 1),
        quote_volume=np.add.reduceat(minutes.quote_volume, first),
        trades=np.add.reduceat(minutes.trades, first),
        taker_base=np.add.reduceat(minutes.taker_base, first),
        taker_quote=np.add.reduceat(minutes.taker_quote, first),
    )


def decimal_text(value: int, decimals: int) -> str:
    """An integer scaled by 10^decimals as plain decimal text, never in exponent form."""
    digits = str(abs(value)).rjust(decimals + 1, "0")
    text = f"{digits[:-decimals]}.{digits[-decimals:]}" if decimals else digits
    return f"-{text}" if value < 0 else text


class Dataset(Protocol):
    """What the sandbox needs of a source of market data. All times are milliseconds UTC."""

    def clock_ms(self) -> int:
        """The exchange's clock."""
        ...

    def symbols(self, market: MarketType) -> Sequence[SymbolInfo]:
        """Every symbol of a market, ended ones included, in the exchange's order."""
        ...

    def candles(
        self, market: MarketType, symbol: str, interval: Interval, start_ms: int, end_ms: int, clock_ms: int
    ) -> Candles:
        """The candles that open in [start_ms, end_ms), as they stand at `clock_ms`: the last may still be open.

        `start_ms` and `end_ms` lie on the interval's grid, or `end_ms` is the clock. `symbol` is one of `symbols`.
        """
        ...

    def funding(self, symbol: str, start_ms: int, end_ms: int) -> Sequence[FundingRate]:
        """The fundings of a perpetual in [start_ms, end_ms), oldest first."""
        ...
