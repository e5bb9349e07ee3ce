"""Which symbols the generated exchange lists, and what each is like.

Here belong names, decimals, listing times and temperament; how candles are made of them belongs to `generated`, which
is the only caller.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import DAY_MS, parse_time, to_datetime, to_milliseconds
from crypto_assets.sandbox.dataset import NO_DELIVERY_MS, PERPETUAL, SymbolInfo

SPOT, SWAP = MarketType.SPOT, MarketType.SWAP


@dataclass(frozen=True, slots=True)
class GeneratedSymbol:
    """A symbol and its temperament: price at the start of 2024, size and trades of a usual minute, daily volatility.

    A pegged price returns to its anchor. `quiet_share` of the minutes have no trade.
    """

    market: MarketType
    info: SymbolInfo
    price: float
    minute_volume: float
    minute_trades: float = 300
    daily_volatility: float = 0.025
    pegged: bool = False
    quiet_share: float = 0.0


def symbol_info(
    symbol: str, base: str, quote: str, price_decimals: int, volume_decimals: int, listed_ms: int, **other: int | str
) -> SymbolInfo:
    """A `SymbolInfo` whose quote volumes are exact products of price and volume. Raises ValueError past 8 decimals."""
    if price_decimals + volume_decimals > 8:  # noqa: PLR2004
        raise ValueError(f"{symbol}: price and volume decimals together must not pass Binance's 8")
    decimals = (price_decimals, volume_decimals, price_decimals + volume_decimals)
    return SymbolInfo(symbol, base, quote, *decimals, listed_ms, **other)  # type: ignore[arg-type]


def default_symbols(genesis_ms: int, clock_ms: int) -> list[GeneratedSymbol]:
    """Ten spot pairs and seven USDT-M contracts, with the oddities real listings have."""
    return [*_spot(genesis_ms, clock_ms), *_swap(genesis_ms, clock_ms)]


def many_symbols(genesis_ms: int, clock_ms: int, count: int) -> list[GeneratedSymbol]:
    """`count` symbols per market: first the well-known ones, then COIN001USDT and so on."""
    chosen: list[GeneratedSymbol] = []
    for market in MarketType:
        known = [symbol for symbol in default_symbols(genesis_ms, clock_ms) if symbol.market is market][:count]
        funding = 8 if market is SWAP else 0
        chosen += known
        for number in range(1, count - len(known) + 1):
            base = f"COIN{number:03d}"
            info = symbol_info(f"{base}USDT", base, "USDT", 4, 1, genesis_ms, funding_hours=funding)
            chosen.append(GeneratedSymbol(market, info, 0.5 + number * 1.7, 4000 / number, daily_volatility=0.04))
    return chosen


def _ended(genesis_ms: int, clock_ms: int, usual: str) -> int:
    """When a symbol that is no longer traded ended: at the usual time, or if history lacks it, soon after genesis."""
    soon = genesis_ms + DAY_MS * 3 // 2
    return parse_time(usual) if soon <= parse_time(usual) <= clock_ms else soon


def _spot(genesis: int, clock_ms: int) -> list[GeneratedSymbol]:
    today = clock_ms // DAY_MS * DAY_MS
    recent = max(genesis, today - 5 * DAY_MS + 8 * 3_600_000)
    ended = _ended(genesis, clock_ms, "2024-05-28T03:00")
    return [
        GeneratedSymbol(SPOT, symbol_info("BTCUSDT", "BTC", "USDT", 2, 5, genesis), 42_000, 25, 1500, 0.022),
        GeneratedSymbol(SPOT, symbol_info("ETHUSDT", "ETH", "USDT", 2, 4, genesis), 2_300, 250, 700),
        GeneratedSymbol(SPOT, symbol_info("SOLUSDT", "SOL", "USDT", 2, 3, genesis), 100, 2_500, 400, 0.035),
        GeneratedSymbol(SPOT, symbol_info("BNBUSDT", "BNB", "USDT", 1, 3, genesis), 310, 200, 200, 0.02),
        GeneratedSymbol(
            SPOT, symbol_info("ETHBTC", "ETH", "BTC", 5, 3, genesis), 0.054, 20, 60, 0.012, quiet_share=0.02
        ),
        GeneratedSymbol(
            SPOT, symbol_info("1000SATSUSDT", "1000SATS", "USDT", 7, 0, genesis), 0.0006, 9e7, 40, 0.05, quiet_share=0.1
        ),
        GeneratedSymbol(
            SPOT, symbol_info("USDCUSDT", "USDC", "USDT", 4, 0, genesis), 1, 90_000, 80, 0.0002, pegged=True
        ),
        GeneratedSymbol(SPOT, symbol_info("币安人生USDT", "币安人生", "USDT", 4, 1, genesis), 0.25, 60_000, 50, 0.06),
        GeneratedSymbol(
            SPOT, symbol_info("LUNAUSDT", "LUNA", "USDT", 4, 2, genesis, ended_ms=ended), 0.8, 9_000, 60, 0.05
        ),
        GeneratedSymbol(SPOT, symbol_info("NEWUSDT", "NEW", "USDT", 4, 1, recent), 1.5, 20_000, 90, 0.08),
    ]


def _swap(genesis: int, clock_ms: int) -> list[GeneratedSymbol]:
    ended = _ended(genesis, clock_ms, "2025-01-15T09:00")
    delivery = _quarter_end(clock_ms)
    delivered = symbol_info(
        f"BTCUSDT_{to_datetime(delivery):%y%m%d}",
        "BTC",
        "USDT",
        1,
        3,
        max(genesis, delivery - 182 * DAY_MS),
        contract_type="CURRENT_QUARTER",
        delivery_ms=delivery,
    )

    def perpetual(symbol: str, price: int, volume: int, hours: int = 8, **other: int) -> SymbolInfo:
        base = symbol.removesuffix("USDT")
        return symbol_info(symbol, base, "USDT", price, volume, genesis, funding_hours=hours, **other)

    settled = perpetual("OCEANUSDT", 5, 0, ended_ms=ended, delivery_ms=ended)
    return [
        GeneratedSymbol(SWAP, perpetual("BTCUSDT", 1, 3), 42_000, 180, 3000, 0.022),
        GeneratedSymbol(SWAP, perpetual("ETHUSDT", 2, 3), 2_300, 1_800, 1800),
        GeneratedSymbol(SWAP, perpetual("SOLUSDT", 3, 0), 100, 15_000, 900, 0.035),
        GeneratedSymbol(SWAP, perpetual("1000PEPEUSDT", 7, 0, hours=4), 0.0013, 4e7, 300, 0.06),
        GeneratedSymbol(SWAP, settled, 0.5, 40_000, 100, 0.05),
        GeneratedSymbol(SWAP, delivered, 42_500, 4, 40, 0.022),
        GeneratedSymbol(SWAP, perpetual("币安人生USDT", 5, 0), 0.25, 90_000, 90, 0.06),
    ]


def _quarter_end(clock_ms: int) -> int:
    """The delivery of the current quarterly contract: 08:00 UTC on the last Friday of a quarter."""
    moment = to_datetime(clock_ms)
    for quarter in range(5):
        months = moment.year * 12 + (moment.month - 1) // 3 * 3 + 3 + 3 * quarter
        last_day = datetime(months // 12, months % 12 + 1, 1, 8, tzinfo=UTC) - timedelta(days=1)
        friday = last_day - timedelta(days=(last_day.weekday() - 4) % 7)
        if to_milliseconds(friday) > clock_ms:
            return to_milliseconds(friday)
    return NO_DELIVERY_MS


__all__ = ["PERPETUAL", "GeneratedSymbol", "default_symbols", "many_symbols", "symbol_info"]
