"""A market that never was: deterministic candles that look like one, addressable by day.

Every UTC day of a symbol is made from (seed, symbol, day) alone and runs from the day's anchor price to the next
day's, so a range is the same whatever was asked before. Which symbols there are belongs to `listing`. Called by whoever
starts a sandbox.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import DAY_MS, MINUTE_MS, Interval, parse_time
from crypto_assets.sandbox.dataset import (
    Candles,
    FundingRate,
    Integers,
    SymbolInfo,
    aggregate,
    concatenate,
    decimal_text,
)
from crypto_assets.sandbox.listing import GeneratedSymbol, default_symbols, many_symbols

GENESIS_MS = parse_time("2023-01-01")
"""Where the history of the majors starts unless another genesis is asked for."""

_DAY_MINUTES = 1440
_FIRST_DAY = parse_time("2017-01-01") // DAY_MS
_REFERENCE_DAY = parse_time("2024-01-01") // DAY_MS
_DAYS = 36_525
_HOUR_MS = 60 * MINUTE_MS
_EUROPE_WAKES = 7
_Floats = NDArray[np.float64]


def _machine_clock() -> int:
    return time.time_ns() // 1_000_000


class GeneratedDataset:
    """Generated candles. See `sandbox.dataset.Dataset` for the methods.

    Args:
        seed: two datasets with the same seed agree in every candle.
        genesis_ms: first listing, ms UTC. Changes which candles exist, never their values.
        symbols: None for the 17 well-known ones, a number for that many per market, or your own (market, symbol) list.
        clock: the exchange's clock in ms UTC; by default the machine's.
    """

    def __init__(
        self,
        seed: int = 0,
        genesis_ms: int = GENESIS_MS,
        symbols: int | Sequence[GeneratedSymbol] | None = None,
        clock: Callable[[], int] = _machine_clock,
    ) -> None:
        self._seed = seed
        self._clock = clock
        if symbols is None:
            symbols = default_symbols(genesis_ms, clock())
        elif isinstance(symbols, int):
            symbols = many_symbols(genesis_ms, clock(), symbols)
        self._symbols = {(symbol.market, symbol.info.symbol): symbol for symbol in symbols}
        self._day = lru_cache(maxsize=256)(self._make_day)
        self._anchors = lru_cache(maxsize=None)(self._make_anchors)

    def clock_ms(self) -> int:
        """The injected clock, or the machine's."""
        return self._clock()

    def symbols(self, market: MarketType) -> Sequence[SymbolInfo]:
        """The symbols of a market in the order they were given."""
        return [symbol.info for (of, _), symbol in self._symbols.items() if of is market]

    def candles(
        self, market: MarketType, symbol: str, interval: Interval, start_ms: int, end_ms: int, clock_ms: int
    ) -> Candles:
        """Candles that open in [start_ms, end_ms); the minute that contains the clock is shown as far as it got."""
        info = self._symbols[market, symbol].info
        # Minutes of the whole last interval, so that its candle is complete unless the clock or the end cuts it.
        first, last = max(start_ms, info.listed_ms), min(interval.ceil(end_ms), info.ended_ms or clock_ms, clock_ms)
        if first >= last:
            return Candles.empty()
        days = range(first // DAY_MS, -(-last // DAY_MS))
        minutes = concatenate([self._day(market, symbol, day) for day in days]).between(first, last)
        if len(minutes) and minutes.close_time[-1] >= clock_ms:
            minutes = _as_far_as(minutes, clock_ms)
        return aggregate(minutes, interval)

    def funding(self, symbol: str, start_ms: int, end_ms: int) -> Sequence[FundingRate]:
        """Deterministic rates at every funding hour; the mark price is the open of that minute."""
        info = self._symbols[MarketType.SWAP, symbol].info
        if not info.funding_hours:
            return []
        step = info.funding_hours * _HOUR_MS
        first, last = max(start_ms, info.listed_ms + 1), min(end_ms, info.ended_ms or end_ms)
        return [self._funding_at(symbol, info, at) for at in range(-(-first // step) * step, last, step)]

    def _funding_at(self, symbol: str, info: SymbolInfo, at: int) -> FundingRate:
        noise = self._random(MarketType.SWAP, symbol, 2, at // _HOUR_MS).standard_normal()
        day = self._day(MarketType.SWAP, symbol, at // DAY_MS)
        mark = int(day.open[at % DAY_MS // MINUTE_MS]) * 10 ** (8 - info.price_decimals)
        return FundingRate(at, round(10_000 + 8_000 * noise), decimal_text(mark, 8))

    def _random(self, market: MarketType, symbol: str, stream: int, number: int) -> np.random.Generator:
        return self._random_of(f"{market.value}:{symbol}", stream, number)

    def _random_of(self, name: str, stream: int, number: int) -> np.random.Generator:
        entropy = (self._seed, crc32(name.encode()), stream, number)
        return np.random.Generator(np.random.SFC64(np.random.SeedSequence(entropy)))

    def _make_anchors(self, market: MarketType, symbol: str) -> _Floats:
        """The logarithm of the price at each midnight; the base price at the reference day, a walk around it."""
        about = self._symbols[market, symbol]
        # All markets of a pair follow one path: a perpetual stays near its spot price.
        steps = (
            self._random_of(about.info.base + about.info.quote, 0, 0).standard_normal(_DAYS) * about.daily_volatility
        )
        walk = steps if about.pegged else np.cumsum(steps)
        anchors: _Floats = np.log(about.price) + walk - walk[_REFERENCE_DAY - _FIRST_DAY]
        return anchors

    def _make_day(self, market: MarketType, symbol: str, day: int) -> Candles:
        about = self._symbols[market, symbol]
        random = self._random(market, symbol, 1, day)
        start, end = self._anchors(market, symbol)[day - _FIRST_DAY : day - _FIRST_DAY + 2]
        scale = 10.0**about.info.price_decimals
        season = _season()
        noise = self._random_of(about.info.base + about.info.quote, 1, day).standard_normal(_DAY_MINUTES)
        steps = noise * season * (about.daily_volatility / _DAY_MINUTES**0.5)
        path = np.cumsum(steps)
        # A bridge: whatever the noise, the day ends at the next day's anchor.
        path += (end - start - path[-1]) * np.arange(1, _DAY_MINUTES + 1) / _DAY_MINUTES
        closes = np.maximum(1, np.rint(np.exp(start + path) * scale)).astype(np.int64)
        closes[-1] = max(1, round(np.exp(end) * scale))
        quiet = random.random(_DAY_MINUTES) < about.quiet_share
        quiet[-1] = False
        before = max(1, round(np.exp(start) * scale))
        closes = _held(closes, quiet, before)
        opens = np.concatenate(([before], closes[:-1]))
        return _trade(about, random, day, opens, closes, quiet, season)


@lru_cache(maxsize=1)
def _season() -> _Floats:
    """How busy each minute of a UTC day is, around 1: quiet at night in Europe, busy when New York opens."""
    hours = np.arange(_DAY_MINUTES) / 60
    return (
        0.75
        + 0.35 * np.exp(-((hours - 14.5) ** 2) / 8)
        + 0.2 * np.exp(-((hours - 1) ** 2) / 2)
        + 0.1 * (hours > _EUROPE_WAKES)
    )


def _held(closes: Integers, quiet: NDArray[np.bool_], before: int) -> Integers:
    """The closes with each quiet minute repeating the close before it."""
    latest = np.maximum.accumulate(np.where(quiet, -1, np.arange(len(closes))))
    return np.where(latest < 0, before, closes[latest])


def _trade(
    about: GeneratedSymbol,
    random: np.random.Generator,
    day: int,
    opens: Integers,
    closes: Integers,
    quiet: NDArray[np.bool_],
    season: _Floats,
) -> Candles:
    """A day's candles around given opens and closes: wicks, bursts of volume with the moves, takers, trade counts."""
    top, bottom = np.maximum(opens, closes), np.minimum(opens, closes)
    wicks = np.abs(random.standard_normal((2, _DAY_MINUTES))) * (about.daily_volatility / 90) * top
    wicks[:, quiet] = 0
    high = top + np.rint(wicks[0]).astype(np.int64)
    low = np.maximum(bottom - np.rint(wicks[1]).astype(np.int64), 1)
    move = (high - low) / (top * about.daily_volatility / 20)
    bursts = np.exp(0.7 * random.standard_normal(_DAY_MINUTES)) * season**2 * (0.4 + move)
    unit = about.minute_volume * 10**about.info.volume_decimals
    volume = np.where(quiet, 0, np.maximum(1, np.rint(unit * bursts))).astype(np.int64)
    share, inside = random.random((2, _DAY_MINUTES))
    taker = np.rint(volume * (0.3 + 0.4 * share)).astype(np.int64)
    # Both vwaps lie between low and high: the typical price plus less than a tick where there is room above it.
    typical = (opens + high + low + closes) // 4
    above = np.where(high > typical, inside, 0.0)
    minute = day * DAY_MS + np.arange(_DAY_MINUTES, dtype=np.int64) * MINUTE_MS
    return Candles(
        open_time=minute,
        open=opens,
        high=high,
        low=low,
        close=closes,
        volume=volume,
        close_time=minute + MINUTE_MS - 1,
        quote_volume=typical * volume + (above * volume).astype(np.int64),
        trades=np.where(quiet, 0, 1 + np.rint(bursts * about.minute_trades)).astype(np.int64),
        taker_base=taker,
        taker_quote=typical * taker + (above * taker).astype(np.int64),
    )


def _as_far_as(minutes: Candles, clock_ms: int) -> Candles:
    """The same minutes with the last, still open one shrunk to what happened until the clock."""
    elapsed = int(clock_ms - minutes.open_time[-1])
    columns = {name: column.copy() for name, column in zip(Candles.__slots__, minutes.columns(), strict=True)}
    opened = int(minutes.open[-1])
    for name in ("high", "low", "close"):
        # Truncated towards the open: each price stays within the final range and the order low <= close <= high holds.
        distance = int(columns[name][-1]) - opened
        columns[name][-1] = opened + (abs(distance) * elapsed // MINUTE_MS) * (1 if distance > 0 else -1)
    for name in ("volume", "trades", "taker_base"):
        columns[name][-1] = int(columns[name][-1]) * elapsed // MINUTE_MS
    columns["quote_volume"][-1] = opened * int(columns["volume"][-1])
    columns["taker_quote"][-1] = opened * int(columns["taker_base"][-1])
    return Candles(**columns)
