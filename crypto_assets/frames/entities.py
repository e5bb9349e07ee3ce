"""Entities: from the exchange's markets to the columns of `crypto_asset`, `crypto_pair` and `crypto_perp`.

Here belongs what a listed symbol becomes as a row. When one counts as gone is decided by `collect.symbols`.
Called by `collect.symbols`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import pandas as pd

from crypto_assets.domain.entities import (
    ASSET_ENTITY_TYPE,
    MarketType,
    asset_id,
    entity_code,
    unit_multiplier,
)
from crypto_assets.domain.intervals import to_naive
from crypto_assets.exchange.markets import Market

STABLECOINS = frozenset(
    {
        "AEUR",
        "BFUSD",
        "BUSD",
        "DAI",
        "EURI",
        "FDUSD",
        "GUSD",
        "LUSD",
        "PAX",
        "PYUSD",
        "RLUSD",
        "SUSD",
        "TUSD",
        "USD1",
        "USDC",
        "USDD",
        "USDE",
        "USDP",
        "USDS",
        "USDT",
        "UST",
        "USTC",
        "XUSD",
    }
)
"""Currencies that claim a fixed price in a national currency, as of 2026-11."""


def asset_frame(markets: Iterable[Market], clock: int) -> pd.DataFrame:
    """One row of `crypto_asset` for every currency the markets trade or settle in, by symbol.

    Supplies, market cap and the like are no part of what exchanges say of their symbols. They stay as they are stored.
    """
    currencies = {
        (market.provider, currency)
        for market in markets
        for currency in (market.base, market.quote, market.settle)
        if currency
    }
    return pd.DataFrame(
        [
            {
                "id": asset_id(provider, currency),
                "entity_id": asset_id(provider, currency),
                "entity_type": ASSET_ENTITY_TYPE,
                "exchange": provider,
                "code": entity_code(currency),
                "name": currency,
                "timestamp": to_naive(clock),
                "symbol": currency,
                "is_stablecoin": currency in STABLECOINS,
            }
            for provider, currency in sorted(currencies)
        ]
    )


def market_frame(
    market_type: MarketType,
    markets: Iterable[Market],
    listings: Iterable[tuple[datetime | None, datetime | None]],
    clock: int,
) -> pd.DataFrame:
    """One row of `crypto_pair` or `crypto_perp` for every market, with its listing; what is unknown is null."""
    rows = [
        _market_row(market, clock)
        | (_pair_row(market) if market_type is MarketType.SPOT else _perp_row(market))
        | {"list_date": listed, "end_date": ended}
        for market, (listed, ended) in zip(markets, listings, strict=True)
    ]
    frame = pd.DataFrame(rows)
    # Without a type, a column without a single date or step would become one of another kind.
    types = {
        "list_date": "datetime64[us]",
        "end_date": "datetime64[us]",
        "price_step": "float64",
        "qty_step": "float64",
    }
    return frame.astype(types) if rows else frame


def _market_row(market: Market, clock: int) -> dict[str, Any]:
    return {
        "id": market.entity_id,
        "entity_id": market.entity_id,
        "entity_type": market.market_type.entity_type,
        "exchange": market.provider,
        "code": market.code,
        "exchange_id": market.exchange_id,
        "status": market.status,
        "name": market.symbol,
        "timestamp": to_naive(clock),
        "price_step": market.price_step,
        "qty_step": market.qty_step,
        "min_notional": market.min_notional,
        "max_order_size": market.max_order_size,
        "maker_fee": market.maker_fee,
        "taker_fee": market.taker_fee,
        "is_active": market.is_active,
        "unit_multiplier": unit_multiplier(market.base),
    }


def _pair_row(market: Market) -> dict[str, Any]:
    return {
        "base_symbol": market.base,
        "quote_symbol": market.quote,
        "base_asset_id": asset_id(market.provider, market.base),
        "quote_asset_id": asset_id(market.provider, market.quote),
        "margin_enabled": market.margin_enabled,
    }


def _perp_row(market: Market) -> dict[str, Any]:
    settle = market.settle or market.quote
    return {
        "underlying_symbol": market.base,
        "settlement_symbol": settle,
        "underlying_asset_id": asset_id(market.provider, market.base),
        "settlement_asset_id": asset_id(market.provider, settle),
        "contract_size": market.contract_size,
        "funding_interval_hours": market.funding_interval_hours,
        "max_leverage": market.max_leverage,
        "maintenance_margin_rate": market.maintenance_margin_rate,
        "initial_margin_rate": market.initial_margin_rate,
    }
