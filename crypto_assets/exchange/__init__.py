"""What we need of any exchange, its error tree, its weight budget, and a package for each venue.

Nothing here knows of tables, frames or Dagster. Importing this package loads neither ccxt nor tenacity; the first
request does. Called by `orchestration` and `cli`.
"""

from __future__ import annotations

from crypto_assets.exchange.client import CandlePage, Exchange
from crypto_assets.exchange.errors import (
    ConfigurationError,
    ContractViolation,
    ExchangeError,
    RateLimited,
    TransientError,
    UnknownSymbol,
)
from crypto_assets.exchange.markets import Market, find_market, nearest_symbols
from crypto_assets.exchange.retrying import RetryPolicy

__all__ = [
    "CandlePage",
    "ConfigurationError",
    "ContractViolation",
    "Exchange",
    "ExchangeError",
    "Market",
    "RateLimited",
    "RetryPolicy",
    "TransientError",
    "UnknownSymbol",
    "find_market",
    "nearest_symbols",
]
