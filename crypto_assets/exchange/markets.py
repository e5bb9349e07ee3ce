"""What an exchange says about its symbols, as plain records, and which of them a name means.

How the fields of one exchange are read belongs to `exchange.<venue>`, the tables they end in to `database`. Nothing is
invented: what no public endpoint says is None. Called by `exchange.<venue>`, `frames` and `collect`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from crypto_assets.domain.entities import MarketType, entity_code, entity_id, preference, unit_multiplier
from crypto_assets.exchange.errors import UnknownSymbol

DEFAULT_FUNDING_INTERVAL_HOURS = 8


@dataclass(frozen=True)
class Market:
    """One symbol of one market. Prices in quote units, sizes in base units, times in UTC ms, rates as fractions.

    `status` is the exchange's own word; `delisted_ms` is when it says that trading ended or will end, None where it
    does not say. `trades_in_sessions` is one of a stock exchange's instruments, which has candles at its hours only.
    """

    provider: str
    market_type: MarketType
    exchange_id: str
    symbol: str
    base: str
    quote: str
    settle: str | None
    is_active: bool
    price_step: float | None
    qty_step: float | None
    status: str | None = None
    min_notional: float | None = None
    max_order_size: float | None = None
    maker_fee: float | None = None
    taker_fee: float | None = None
    contract_size: float = 1.0
    max_leverage: float | None = None
    maintenance_margin_rate: float | None = None
    initial_margin_rate: float | None = None
    funding_interval_hours: int = DEFAULT_FUNDING_INTERVAL_HOURS
    margin_enabled: bool = False
    listed_ms: int | None = None
    delisted_ms: int | None = None
    trades_in_sessions: bool = False

    @property
    def code(self) -> str:
        """`btcusdt`: the exchange's id as ids and tables use it."""
        return entity_code(self.exchange_id)

    @property
    def entity_id(self) -> str:
        """`cryptopair_binance_btcusdt` or `cryptoperp_binance_btcusdt`."""
        return entity_id(self.market_type.entity_type, self.provider, self.code)

    @property
    def unit_multiplier(self) -> int:
        """How many coins one base unit stands for: 1000 for 1000PEPE, else 1."""
        return unit_multiplier(self.base)


@dataclass(frozen=True)
class RefusedSymbol:
    """A symbol of a listing that no `Market` can be made of: its id where it states one, what it says, and why not."""

    exchange_id: str
    said: dict[str, Any]
    reason: str


def find_market(markets: Iterable[Market], symbol: str) -> Market:
    """The market with this ccxt symbol or exchange id, an active one first. Raises UnknownSymbol with near names."""
    known = list(markets)
    matches = [market for market in known if symbol in (market.symbol, market.exchange_id)]
    if not matches:
        raise UnknownSymbol(symbol, nearest_symbols(symbol, [market.symbol for market in known]))
    return max(matches, key=lambda each: preference(each.symbol, each.exchange_id, is_active=each.is_active))


def nearest_symbols(wanted: str, known: Iterable[str]) -> list[str]:
    """Up to three of the `known` symbols that look like `wanted`, best first; case does not matter."""
    spelled = {symbol.upper(): symbol for symbol in known}
    return [spelled[near] for near in difflib.get_close_matches(wanted.upper(), spelled, n=3, cutoff=0.6)]
