"""Entity ids, candle ids and table names: the ZVT conventions that users see and type.

Here belongs how things are named; what an exchange says about them belongs to `exchange.markets`. Called by every
package.
"""

from __future__ import annotations

import re
from enum import Enum

from crypto_assets.domain.intervals import Interval, to_datetime

PROVIDER = "binance"
"""The provider that is meant where none is named. Databases, exchanges and entities carry theirs."""

ASSET_ENTITY_TYPE = "crypto"


class MarketType(Enum):
    """A venue's market: `spot` pairs or `swap` perpetuals. A symbol id such as BTCUSDT is ambiguous without it."""

    SPOT = "spot"
    SWAP = "swap"

    @property
    def entity_type(self) -> str:
        """The entity type of what is traded there."""
        return "cryptopair" if self is MarketType.SPOT else "cryptoperp"

    @property
    def entity_table(self) -> str:
        """The table (and asset key) that lists the symbols of this market."""
        return "crypto_pair" if self is MarketType.SPOT else "crypto_perp"


def entity_code(exchange_id: str) -> str:
    """The exchange's own id in lower case; `_` becomes `-`, because ZVT splits entity ids at underscores."""
    return exchange_id.lower().replace("_", "-")


def preference(symbol: str, exchange_id: str, *, is_active: bool) -> tuple[bool, bool, str]:
    """Of the markets that share a ccxt symbol, the one with the greatest preference is meant by it.

    That which trades comes before one that does not, then the one that the exchange calls as usual (`IDOLUSDT` before
    `IDOL`). It depends on nothing but what is stated, so that the order of rows does not matter.
    """
    usual = symbol.partition(":")[0].replace("/", "")
    return is_active, exchange_id == usual, exchange_id


def entity_id(entity_type: str, exchange: str, code: str) -> str:
    """`cryptopair_binance_btcusdt`: type, exchange and code joined by underscores."""
    return f"{entity_type}_{exchange}_{code}"


def exchange_in(of_entity: str) -> str:
    """The exchange that an entity id names: its second part. Empty for what is no entity id."""
    return of_entity.partition("_")[2].partition("_")[0]


def asset_id(exchange: str, currency: str) -> str:
    """The entity id of a currency: `crypto_binance_btc`."""
    return entity_id(ASSET_ENTITY_TYPE, exchange, entity_code(currency))


def candle_id(of_entity: str, open_time_ms: int, interval: Interval) -> str:
    """`{entity_id}_{timestamp}`: a date for daily candles, `2024-08-01T00:05:00.000` for shorter ones."""
    moment = to_datetime(open_time_ms)
    if interval is Interval.D1:
        return f"{of_entity}_{moment:%Y-%m-%d}"
    return f"{of_entity}_{moment:%Y-%m-%dT%H:%M:%S}.{open_time_ms % 1000:03d}"


def class_name(table: str) -> str:
    """The ZVT class name of a table: `cryptopair_1m_kdata` is `CryptoPair1mKdata`, `crypto_trade` is `CryptoTrade`."""
    spaced = re.sub(r"^crypto(pair|perp)_", r"crypto_\1_", table)
    return "".join(part[:1].upper() + part[1:] for part in spaced.split("_"))


_UNIT_MULTIPLIER = re.compile(r"^(10{3,})([A-Z].*)$")


def unit_multiplier(base_symbol: str) -> int:
    """How many units one contract unit of a base such as `1000PEPE` stands for; 1 for all others.

    An exchange that trades a small-priced base by the thousand prefixes its name with a power of ten from 1000 up.
    """
    match = _UNIT_MULTIPLIER.match(base_symbol)
    return int(match.group(1)) if match else 1
