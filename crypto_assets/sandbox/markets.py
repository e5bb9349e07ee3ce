"""exchangeInfo, tickers and funding as Binance's JSON objects.

Here belongs the shape of what describes symbols; candles belong to `klines`. Called by `endpoints`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crypto_assets.domain.entities import MarketType
from crypto_assets.sandbox.dataset import PERPETUAL, FundingRate, SymbolInfo, decimal_text

_SPOT_ORDERS = ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"]
_SWAP_ORDERS = ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"]
_SELF_TRADE = ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT"]
_NORMAL_FUNDING_HOURS = 8


def exchange_info(
    market: MarketType, symbols: Sequence[SymbolInfo], clock_ms: int, budget: int | None
) -> dict[str, Any]:
    """The answer of exchangeInfo for these symbols at the exchange's clock; the budget shows among the rate limits."""
    limits = [_limit("REQUEST_WEIGHT", "MINUTE", 1, budget if budget is not None else 1_000_000_000)]
    if market is MarketType.SPOT:
        limits += [_limit("ORDERS", "SECOND", 10, 100), _limit("ORDERS", "DAY", 1, 200_000)]
        limits += [_limit("RAW_REQUESTS", "MINUTE", 5, 300_000)]
        spot = [_spot_symbol(info, clock_ms) for info in symbols]
        return {"timezone": "UTC", "serverTime": clock_ms, "rateLimits": limits, "exchangeFilters": [], "symbols": spot}
    limits += [_limit("ORDERS", "MINUTE", 1, 1200), _limit("ORDERS", "SECOND", 10, 300)]
    assets = [
        {"asset": asset, "marginAvailable": True, "autoAssetExchange": "-10000"}
        for asset in sorted({info.quote for info in symbols})
    ]
    return {
        "timezone": "UTC",
        "serverTime": clock_ms,
        "futuresType": "U_MARGINED",
        "rateLimits": limits,
        "exchangeFilters": [],
        "assets": assets,
        "symbols": [_swap_symbol(info, clock_ms) for info in symbols],
    }


def _limit(kind: str, interval: str, number: int, limit: int) -> dict[str, Any]:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit}


def _step(decimals: int, places: int) -> str:
    """One unit of the last decimal, printed with `places` decimals."""
    return decimal_text(10 ** (places - decimals), places)


def _spot_symbol(info: SymbolInfo, clock_ms: int) -> dict[str, Any]:
    tick, step = _step(info.price_decimals, 8), _step(info.volume_decimals, 8)
    return {
        "symbol": info.symbol,
        "status": "TRADING" if info.trading_at(clock_ms) else "BREAK",
        "baseAsset": info.base,
        "baseAssetPrecision": 8,
        "quoteAsset": info.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": _SPOT_ORDERS,
        "icebergAllowed": True,
        "ocoAllowed": True,
        "otoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "amendAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "9000000.00000000", "stepSize": step},
            {"filterType": "ICEBERG_PARTS", "limit": 10},
            {
                "filterType": "MARKET_LOT_SIZE",
                "minQty": "0.00000000",
                "maxQty": "100000.00000000",
                "stepSize": "0.00000000",
            },
            {
                "filterType": "NOTIONAL",
                "minNotional": "5.00000000" if info.quote.startswith("USD") else "0.00010000",
                "applyMinToMarket": True,
                "maxNotional": "9000000.00000000",
                "applyMaxToMarket": False,
                "avgPriceMins": 5,
            },
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": _SELF_TRADE,
    }


def _swap_status(info: SymbolInfo, clock_ms: int) -> str:
    if info.trading_at(clock_ms):
        return "TRADING"
    return "PENDING_TRADING" if clock_ms < info.listed_ms else "SETTLING"


def _swap_symbol(info: SymbolInfo, clock_ms: int) -> dict[str, Any]:
    tick, step = _step(info.price_decimals, info.price_decimals), _step(info.volume_decimals, info.volume_decimals)
    lot = {"minQty": step, "maxQty": "1000000", "stepSize": step}
    return {
        "symbol": info.symbol,
        "pair": info.base + info.quote,
        "contractType": info.contract_type,
        "deliveryDate": info.delivery_ms,
        "onboardDate": info.listed_ms,
        "status": _swap_status(info, clock_ms),
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": info.base,
        "quoteAsset": info.quote,
        "marginAsset": info.quote,
        "pricePrecision": info.price_decimals,
        "quantityPrecision": info.volume_decimals,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "maxMoveOrderLimit": 10000,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", **lot},
            {"filterType": "MARKET_LOT_SIZE", **lot},
            {"filterType": "MAX_NUM_ORDERS", "limit": 200},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": 10},
            {"filterType": "MIN_NOTIONAL", "notional": "5"},
            {
                "filterType": "PERCENT_PRICE",
                "multiplierUp": "1.0500",
                "multiplierDown": "0.9500",
                "multiplierDecimal": "4",
            },
        ],
        "orderTypes": _SWAP_ORDERS,
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
        "permissionSets": ["GRID", "COPY"],
    }


def funding_rate(symbol: str, rate: FundingRate) -> dict[str, Any]:
    """One row of fundingRate."""
    return {
        "symbol": symbol,
        "fundingTime": rate.time_ms,
        "fundingRate": decimal_text(rate.rate_e8, 8),
        "markPrice": rate.mark_price,
    }


def funding_info(symbols: Sequence[SymbolInfo], clock_ms: int) -> list[dict[str, Any]]:
    """fundingInfo: only the traded perpetuals whose funding interval was adjusted from 8 hours."""
    return [
        {
            "symbol": info.symbol,
            "adjustedFundingRateCap": "0.02000000",
            "adjustedFundingRateFloor": "-0.02000000",
            "fundingIntervalHours": info.funding_hours,
            "disclaimer": False,
        }
        for info in symbols
        if info.funding_hours not in (0, _NORMAL_FUNDING_HOURS)
        and info.contract_type == PERPETUAL
        and info.trading_at(clock_ms)
    ]


def premium_index(info: SymbolInfo, price: str, last: FundingRate | None, clock_ms: int) -> dict[str, Any]:
    """One row of premiumIndex; contracts without funding have 0 for its times and an empty rate."""
    step = info.funding_hours * 3_600_000
    return {
        "symbol": info.symbol,
        "markPrice": price,
        "indexPrice": price,
        "estimatedSettlePrice": price,
        "lastFundingRate": decimal_text(last.rate_e8, 8) if last else "",
        "interestRate": "0.00010000" if step else "",
        "nextFundingTime": (clock_ms // step + 1) * step if step else 0,
        "time": clock_ms,
    }
