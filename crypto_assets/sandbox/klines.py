"""Kline pages as bytes: rows are rendered once per (symbol, interval, chunk of days) and pages are cut out of them.

Here belongs how candles become Binance's 12-element JSON arrays and how a page is chosen. Parameters, errors and
weights belong to `endpoints`. Called by `endpoints`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import DAY_MS, Interval
from crypto_assets.domain.spans import Span, subtract
from crypto_assets.sandbox.dataset import Candles, Dataset, Integers, SymbolInfo

SPOT_DECIMALS = 8
"""Binance prints spot prices and sizes with 8 decimals, whatever the tick."""

_CHUNK_DAYS = {
    Interval.M1: 1,
    Interval.M5: 4,
    Interval.M15: 8,
    Interval.M30: 16,
    Interval.H1: 32,
    Interval.H4: 64,
    Interval.D1: 256,
}


@dataclass(frozen=True, slots=True)
class Rows:
    """Rendered rows: `data[ends[i]:ends[i + 1]]` is row i with a comma before it. Complete for opens before `until`."""

    open_time: Integers
    ends: Integers
    data: bytes
    until: int

    def cut(self, span: Span, limit: int, *, newest: bool) -> tuple[bytes, int]:
        """The first (or last) `limit` rows that open in the span, each with a comma before it, and their number."""
        first, last = (int(index) for index in np.searchsorted(self.open_time, span))
        if newest:
            first = max(first, last - limit)
        else:
            last = min(last, first + limit)
        if last <= first:
            return b"", 0
        return self.data[self.ends[first] : self.ends[last]], last - first


_FOUR_DIGITS = np.frombuffer(b"".join(b"%04d" % number for number in range(10_000)), np.uint32)
"""The four characters of each number below 10,000, as one machine word."""


class _Printer:
    """Prints integer columns side by side as fixed-width characters, then strikes out the leading zeros.

    Formatting row by row costs 6 microseconds a candle, this a fraction: the sandbox must not be what a benchmark
    measures.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._characters: list[NDArray[np.uint8]] = []
        self._kept: list[NDArray[np.bool_]] = []

    def text(self, literal: str) -> None:
        """The same characters in every row."""
        shape = (self._count, len(literal))
        self._characters.append(np.broadcast_to(np.frombuffer(literal.encode(), np.uint8), shape))
        self._kept.append(np.broadcast_to(np.True_, shape))

    def number(self, values: Integers, decimals: int) -> None:
        """Non-negative integers scaled by 10^decimals, without leading zeros."""
        width = max(len(str(int(values.max(initial=0)))), decimals + 1)
        words = np.empty((self._count, -(-width // 4)), np.uint32)
        rest = values
        for group in reversed(range(words.shape[1])):
            higher = rest // 10_000
            words[:, group] = _FOUR_DIGITS[rest - higher * 10_000]
            rest = higher
        digits = words.view(np.uint8)[:, -width:]
        whole = width - decimals
        self._characters.append(digits[:, :whole])
        # The units digit is printed always, one further left only if the number reaches it.
        powers = np.array([10**place for place in range(width - 1, decimals, -1)] + [0], np.int64)
        self._kept.append(values[:, None] >= powers)
        if decimals:
            self.text(".")
            self._characters.append(digits[:, whole:])
            self._kept.append(np.broadcast_to(np.True_, (self._count, decimals)))

    def finish(self) -> tuple[Integers, bytes]:
        """Where each row starts and ends in the bytes, and the bytes."""
        kept = np.concatenate(self._kept, axis=1)
        ends = np.concatenate(([0], np.cumsum(np.count_nonzero(kept, axis=1))))
        return ends, np.concatenate(self._characters, axis=1)[kept].tobytes()


def render(candles: Candles, info: SymbolInfo, market: MarketType, until: int) -> Rows:
    """The candles as JSON rows, as Binance prints them: spot with 8 decimals, futures with the symbol's own."""
    if not len(candles):
        return Rows(candles.open_time, np.zeros(1, np.int64), b"", until)
    price, volume, quote = info.price_decimals, info.volume_decimals, info.quote_decimals
    decimals = (0, price, price, price, price, volume, 0, quote, 0, volume, quote)
    quoted = (False, True, True, True, True, True, False, True, False, True, True)
    printer = _Printer(len(candles))
    before = ",["
    for values, places, is_text in zip(candles.columns(), decimals, quoted, strict=True):
        printer.text(before + '"' * is_text)
        printer.number(values, places)
        if is_text and market is MarketType.SPOT and places < SPOT_DECIMALS:
            printer.text(("" if places else ".") + "0" * (SPOT_DECIMALS - places))
        before = '"' * is_text + ","
    printer.text(before + '"0"]')
    ends, data = printer.finish()
    return Rows(candles.open_time.copy(), ends, data, until)


def _append(rows: Rows, more: Rows) -> Rows:
    size = rows.ends[-1]
    return Rows(
        np.concatenate((rows.open_time, more.open_time)),
        np.concatenate((rows.ends, more.ends[1:] + size)),
        rows.data[:size] + more.data[: more.ends[-1]],
        more.until,
    )


class KlinePages:
    """Pages of a dataset's candles. Keeps at most `max_bytes` of rendered rows, dropping the longest unused."""

    def __init__(self, dataset: Dataset, max_bytes: int = 600_000_000) -> None:
        self._dataset = dataset
        self._max_bytes = max_bytes
        self._bytes = 0
        self._chunks: OrderedDict[tuple[MarketType, str, Interval, int], Rows] = OrderedDict()

    def page(
        self,
        market: MarketType,
        info: SymbolInfo,
        interval: Interval,
        window: Span,
        limit: int,
        *,
        newest: bool,
        clock_ms: int,
        hidden: Sequence[Span] = (),
    ) -> bytes:
        """One page as a JSON array, oldest row first: the first (`newest`: the last) `limit` candles of the window.

        A window that starts in a gap goes on to the first candle after it. Candles opening in `hidden` do not exist.
        """
        lived = Span(interval.floor(info.listed_ms), min(clock_ms, info.ended_ms or clock_ms))
        spans = subtract([window.intersect(lived)], hidden)
        found: list[bytes] = []
        for span in reversed(spans) if newest else spans:
            for rows in self._covering(market, info, interval, span, clock_ms, newest=newest):
                data, count = rows.cut(span, limit, newest=newest)
                limit -= count
                if count:
                    found.append(data)
                if limit <= 0:
                    break
            if limit <= 0:
                break
        if newest:
            found.reverse()
        body = b"".join(found)
        return b"[" + body[1:] + b"]"

    def _covering(
        self, market: MarketType, info: SymbolInfo, interval: Interval, span: Span, clock_ms: int, *, newest: bool
    ) -> Iterator[Rows]:
        """The rendered rows that cover a span, in the asked direction, made as they are needed."""
        closed_end = interval.closed_before(clock_ms)
        size = _CHUNK_DAYS[interval] * DAY_MS
        indices = range(span.start // size, -(-min(span.end, closed_end) // size))
        if newest and span.end > closed_end:
            yield self._open_row(market, info, interval, closed_end, clock_ms)
        for index in reversed(indices) if newest else indices:
            yield self._chunk(market, info, interval, index, min((index + 1) * size, closed_end), clock_ms)
        if not newest and span.end > closed_end:
            yield self._open_row(market, info, interval, closed_end, clock_ms)

    def _open_row(
        self, market: MarketType, info: SymbolInfo, interval: Interval, closed_end: int, clock_ms: int
    ) -> Rows:
        candles = self._dataset.candles(market, info.symbol, interval, closed_end, clock_ms, clock_ms)
        return render(candles, info, market, closed_end)

    def _chunk(
        self, market: MarketType, info: SymbolInfo, interval: Interval, index: int, until: int, clock_ms: int
    ) -> Rows:
        key = (market, info.symbol, interval, index)
        known = self._chunks.get(key)
        if known is not None and known.until >= until:
            self._chunks.move_to_end(key)
            return known
        start = known.until if known is not None else index * _CHUNK_DAYS[interval] * DAY_MS
        candles = self._dataset.candles(market, info.symbol, interval, start, until, clock_ms)
        fresh = render(candles, info, market, until)
        rows = fresh if known is None else _append(known, fresh)
        self._bytes += len(rows.data) - (0 if known is None else len(known.data))
        self._chunks[key] = rows
        self._chunks.move_to_end(key)
        while self._bytes > self._max_bytes and len(self._chunks) > 1:
            self._bytes -= len(self._chunks.popitem(last=False)[1].data)
        return rows
