"""Made-up candles for the tests of this package."""

from __future__ import annotations

import numpy as np
import pandas as pd

CANDLES = "cryptopair_1m_kdata"


def candles(entity: str = "cryptopair_binance_btcusdt", start: str = "2024-08-01", count: int = 5, minutes: int = 1):
    """`count` candles from `start` on, all columns that are stored."""
    steps = np.arange(count)
    return pd.DataFrame(
        {
            "open": 100.0 + steps,
            "high": 101.0 + steps,
            "low": 99.0 + steps,
            "close": 100.5 + steps,
            "volume": 2.0 * steps,
            "volume_quote": 200.5 * steps,
            "trade_count": steps,
            "change_pct": np.where(steps == 0, np.nan, 0.01),
            "turnover_rate": np.nan,
            "is_high_volatility": steps % 2 == 0,
            "is_high_volume": False,
            "entity_id": entity,
            "timestamp": np.datetime64(start, "ms") + steps * np.timedelta64(minutes, "m"),
            "provider": "binance",
            "name": "BTC/USDT",
        }
    )


def assets(*symbols: str) -> pd.DataFrame:
    """Rows of crypto_asset."""
    ids = [f"crypto_binance_{symbol.lower()}" for symbol in symbols]
    return pd.DataFrame(
        {
            "id": ids,
            "entity_id": ids,
            "entity_type": "crypto",
            "exchange": "binance",
            "code": [symbol.lower() for symbol in symbols],
            "name": list(symbols),
            "symbol": list(symbols),
            "timestamp": pd.Timestamp("2024-08-01"),
        }
    )


def pairs(*bases: str) -> pd.DataFrame:
    """Rows of crypto_pair, quoted in USDT."""
    ids = [f"cryptopair_binance_{base.lower()}usdt" for base in bases]
    return pd.DataFrame(
        {
            "id": ids,
            "entity_id": ids,
            "entity_type": "cryptopair",
            "exchange": "binance",
            "code": [f"{base.lower()}usdt" for base in bases],
            "name": [f"{base}/USDT" for base in bases],
            "timestamp": pd.Timestamp("2024-08-01"),
            "base_symbol": list(bases),
            "quote_symbol": "USDT",
            "base_asset_id": [f"crypto_binance_{base.lower()}" for base in bases],
            "quote_asset_id": "crypto_binance_usdt",
            "price_step": 0.01,
            "qty_step": 0.001,
        }
    )
