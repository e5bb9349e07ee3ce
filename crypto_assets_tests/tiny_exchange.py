"""A second exchange, which exists in the tests only: another provider than the one that the project ships.

Its ids look otherwise (`XXBTZUSD`, `BTC-USDT-SWAP`), its pages are small and have the newest candle first, it has no
bulk files and one quota for all. Candles are in memory. Known to the project as `tiny` by `add_venue`.
"""

# ruff: noqa: ARG002 - the arguments are the protocols'

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import Interval
from crypto_assets.domain.series import CANDLE_COLUMNS
from crypto_assets.exchange.client import CandlePage
from crypto_assets.exchange.errors import ConfigurationError, UnknownSymbol
from crypto_assets.exchange.markets import Market

PROVIDER = "tiny"
PAGE_ROWS = 45
IDS = {MarketType.SPOT: ("XXBTZUSD", "BTC/USD"), MarketType.SWAP: ("BTC-USDT-SWAP", "BTC/USDT:USDT")}


@dataclass(frozen=True)
class Tiny:
    """The venue: what is known of it without asking."""

    is_dense: bool = True
    unpublished: frozenset[str] = frozenset()
    paused_or_ended: str | None = None

    @property
    def states(self) -> Mapping[MarketType, frozenset[str]]:
        return dict.fromkeys(MarketType, frozenset({"online", "offline"}))

    @property
    def page_rows(self) -> Mapping[MarketType, int]:
        return dict.fromkeys(MarketType, PAGE_ROWS)

    @property
    def weight_a_minute(self) -> Mapping[MarketType, int]:
        return dict.fromkeys(MarketType, 60)

    def candles_weight(self, market_type, rows):
        return 1

    def clock_weight(self, market_type):
        return 1

    def successor(self, symbol):
        return None

    def bulk_host(self, environment, url=None):
        return None

    def bulk_files(self, market_type, exchange_id, interval, span, clock_ms):
        return []

    def connect(self, environment, **_):
        raise ConfigurationError("the tests make their own")

    def connect_bulk_files(self, host):
        raise ConfigurationError("it has no bulk files")


VENUE = Tiny()


@dataclass
class TinyExchange:
    """Behind the protocol `Exchange`; `lacking` are open times that it has no candle of."""

    clock: int
    lacking: set[int] = field(default_factory=set)
    name: str = PROVIDER
    requests: int = 0
    readers: int = 1
    close_margin_ms: int = 0

    def server_time(self, market_type):
        return self.clock

    def markets(self, market_type, refuse=lambda _: None):
        exchange_id, symbol = IDS[market_type]
        pair, _, settle = symbol.partition(":")
        base, quote = pair.split("/")
        return [
            Market(
                provider=self.name,
                market_type=market_type,
                exchange_id=exchange_id,
                symbol=symbol,
                base=base,
                quote=quote,
                settle=settle or None,
                is_active=True,
                price_step=0.1,
                qty_step=0.0001,
                status="online",
            )
        ]

    def candle_pages(self, market_type, exchange_id, interval, span):
        if exchange_id != IDS[market_type][0]:
            raise UnknownSymbol(exchange_id)
        step, end = interval.milliseconds, min(span.end, self.clock)
        times = [time for time in range(interval.ceil(span.start), end, step) if time not in self.lacking]
        for first in range(0, len(times), PAGE_ROWS):
            self.requests += 1
            yield page(times[first : first + PAGE_ROWS])

    def first_candle_time(self, market_type, exchange_id, since=0):
        return Interval.M1.ceil(since)

    def last_candle_time(self, market_type, exchange_id):
        return Interval.M1.floor(self.clock)

    def stop(self):
        pass

    def close(self):
        pass


def page(times: list[int]) -> CandlePage:
    """Newest first, each candle a function of its time."""
    newest_first = np.array(times[::-1], dtype=np.float64)
    price = 20_000 + newest_first // 60_000 % 977
    values = {"open_time": newest_first, "open": price, "high": price + 2, "low": price - 2, "close": price + 1}
    values |= {"volume": price / 10, "volume_quote": price * price / 10, "trade_count": price % 7 + 1}
    return CandlePage(np.stack([values[name] for name in CANDLE_COLUMNS]), repr(times).encode())
