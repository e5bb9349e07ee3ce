"""An exchange on paper: candles in memory behind the `Exchange` protocol, passed in where the real client would be.

For tests of what happens to candles. What happens on the wire is tested against the sandbox over HTTP.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from crypto_assets.domain.entities import PROVIDER, MarketType
from crypto_assets.domain.intervals import MINUTE_MS, Interval, to_milliseconds
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.binance.klines import page_of
from crypto_assets.exchange.errors import UnknownSymbol
from crypto_assets.exchange.markets import Market


def market(symbol: str = "BTC/USDT", **changes) -> Market:
    base, quote = symbol.split(":", maxsplit=1)[0].split("/")
    is_swap = ":" in symbol
    paper = Market(
        provider=PROVIDER,
        market_type=MarketType.SWAP if is_swap else MarketType.SPOT,
        exchange_id=base + quote,
        symbol=symbol,
        base=base,
        quote=quote,
        settle=quote if is_swap else None,
        is_active=True,
        price_step=0.01,
        qty_step=0.001,
        min_notional=10.0,
        max_order_size=9000.0,
        maker_fee=None,
        taker_fee=None,
        contract_size=1.0,
        max_leverage=None,
        maintenance_margin_rate=None,
        initial_margin_rate=None,
        funding_interval_hours=8,
        margin_enabled=False,
        listed_ms=None,
        delisted_ms=None,
    )
    stopped = "SETTLING" if is_swap else "BREAK"
    return replace(paper, **{"status": "TRADING" if changes.get("is_active", True) else stopped} | changes)


def candle(open_time: int, interval: Interval, seed: int = 0) -> list:
    """A Binance kline that depends on its open time and `seed` alone."""
    draw = random.Random(f"{open_time} {interval.value} {seed}")
    low = draw.randint(1_000_000, 2_000_000)
    prices = [low + draw.randint(0, 9_999) for _ in range(2)]
    high = max(prices) + draw.randint(0, 9_999) * draw.choice((1, 1, 1, 9))
    volume = draw.randint(0, 10**6) * draw.choice((0, 1, 1, 1, 20))
    text = [f"{value / 100:.8f}" for value in (prices[0], high, low, prices[1])]
    quote = f"{volume * (low + 5) / 10**5:.8f}"
    close_time = open_time + interval.milliseconds - 1
    return [open_time, *text, f"{volume / 1000:.8f}", close_time, quote, draw.randint(0, 500), "0.0", "0.0", "0"]


@dataclass
class PaperExchange:
    """Serves `candles[(market type, exchange id, interval)][open time]`, `page_rows` at a time, up to `clock`."""

    clock: int
    page_rows: int = 7
    listed: list[Market] = field(default_factory=lambda: [market()])
    candles: dict = field(default_factory=dict)
    failing: dict[str, Exception] = field(default_factory=dict)
    asked: list[tuple[str, Span]] = field(default_factory=list)
    name: str = "binance"
    requests: int = 0
    readers: int = 1
    close_margin_ms: int = 0

    def publish(self, symbol: str, interval: Interval, span: Span, seed: int = 0) -> None:
        of = next(each for each in self.listed if each.symbol == symbol)
        book = self.candles.setdefault((of.market_type, of.exchange_id, interval), {})
        for time in range(interval.ceil(span.start), span.end, interval.milliseconds):
            book[time] = candle(time, interval, seed)

    def server_time(self, market_type: MarketType) -> int:  # noqa: ARG002 - the protocol's
        return self.clock

    def markets(self, market_type: MarketType, refuse=lambda _: None) -> list[Market]:  # noqa: ARG002 - the protocol's
        return [each for each in self.listed if each.market_type is market_type]

    def candle_pages(self, *asked):
        for rows in self.row_pages(*asked):
            yield page_of(rows, asked[-1])

    def row_pages(self, market_type, exchange_id, interval, span):
        """The same as rows: for tests to change."""
        if exchange_id in self.failing:
            raise self.failing[exchange_id]
        cursor = span.start
        while cursor < span.end:
            self.requests += 1
            self.asked.append((exchange_id, Span(cursor, span.end)))
            page = [row for time, row in self._book(market_type, exchange_id, interval) if cursor <= time < span.end]
            if not page:
                return
            yield page[: self.page_rows]
            cursor = page[: self.page_rows][-1][0] + interval.milliseconds

    def first_candle_time(self, market_type, exchange_id, since=0) -> int | None:
        times = [time for time, _ in self._all(market_type, exchange_id) if time >= since]
        return min(times, default=None)

    def last_candle_time(self, market_type, exchange_id) -> int | None:
        times = [time for time, _ in self._all(market_type, exchange_id)]
        return max(times, default=None)

    def stop(self) -> None:
        self.stopped = True

    def close(self) -> None:
        pass

    def _book(self, market_type, exchange_id, interval):
        if exchange_id not in {each.exchange_id for each in self.listed}:
            raise UnknownSymbol(exchange_id)
        book = self.candles.get((market_type, exchange_id, interval), {})
        return [(time, row) for time, row in sorted(book.items()) if time <= self.clock]

    def _all(self, market_type, exchange_id):
        return [
            (time - time % MINUTE_MS, row)
            for (of, symbol, _), book in self.candles.items()
            if (of, symbol) == (market_type, exchange_id)
            for time, row in book.items()
        ]


def moment(text: str) -> int:
    """Milliseconds of an ISO time such as `2023-03-20T12:00`."""
    from datetime import datetime  # noqa: PLC0415

    return to_milliseconds(datetime.fromisoformat(text))
