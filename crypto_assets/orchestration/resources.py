"""The two things every asset needs: an exchange to ask and a database to write. Thin: they open what is plain code.

Called by the assets, checks and ops; tests and the benchmarks pass subclasses to `build_definitions`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import cast

import dagster as dg
from pydantic import Field

from crypto_assets.database.engines import Database, open_database
from crypto_assets.exchange.binance import BinanceExchange, EnvironmentName
from crypto_assets.exchange.client import Exchange


class ExchangeResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Binance through ccxt, public endpoints only: no key is needed or read."""

    environment: str = Field(description="testnet, live, demo or sandbox: which hosts are asked.")
    spot_url: str | None = Field(
        default=None, description="scheme://host[:port] instead of the environment's spot host."
    )
    futures_url: str | None = Field(
        default=None, description="scheme://host[:port] instead of the environment's USDT-M futures host."
    )
    state_directory: str = Field(
        default="", description="All processes that name the same one spend one request budget; empty for one's own."
    )
    weight_reserve: float = Field(default=0.0, description="The share of the exchange's limits left for others.")

    @contextmanager
    def open(self) -> Iterator[Exchange]:
        """A connected exchange, closed at the end of the block."""
        made = BinanceExchange(
            cast(EnvironmentName, self.environment),  # an unknown one is refused there
            spot_url=self.spot_url,
            futures_url=self.futures_url,
            state_directory=Path(self.state_directory) if self.state_directory else None,
            weight_reserve=self.weight_reserve,
        )
        with closing(made) as exchange:
            yield exchange


class DatabaseResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The market database of one environment."""

    url: str = Field(description="sqlite:///directory, postgresql+psycopg://... or mysql+pymysql://...")
    environment: str = Field(description="The environment whose data it holds; another one is refused.")
    partitioned_intervals: list[str] = Field(
        default=["1m", "5m"], description="The intervals whose tables a server partitions by month."
    )
    retention_days: int = Field(default=0, description="Older candles are moved into Parquet files; 0 keeps all.")
    archive_directory: str = Field(default="", description="Where these files are.")

    @contextmanager
    def open(self) -> Iterator[Database]:
        """The database, its connections closed at the end of the block."""
        database = open_database(self.url, self.environment)
        try:
            yield database
        finally:
            database.dispose()
