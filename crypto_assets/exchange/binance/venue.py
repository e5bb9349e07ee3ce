"""Binance as a `Venue`: its one door. Importing this loads neither ccxt nor pyarrow; using what it makes does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.environments import Environment
from crypto_assets.domain.intervals import Interval
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.binance.archive_files import ArchiveFile, files_for
from crypto_assets.exchange.binance.hosts import archive_host
from crypto_assets.exchange.binance.renames import successor
from crypto_assets.exchange.binance.states import PAUSED_OR_ENDED, STATES
from crypto_assets.exchange.binance.weights import PAGE_ROWS, REQUEST_WEIGHT, weight
from crypto_assets.exchange.bulk_files import BulkFiles
from crypto_assets.exchange.client import Exchange
from crypto_assets.exchange.venue import Venue


class Binance:
    """See `Venue` for what each member promises."""

    @property
    def page_rows(self) -> Mapping[MarketType, int]:
        """The candles of a page."""
        return PAGE_ROWS

    @property
    def weight_a_minute(self) -> Mapping[MarketType, int]:
        """As documented; what exchangeInfo says replaces it once it was read."""
        return {market_type: quota.limit for market_type, quota in REQUEST_WEIGHT.items()}

    @property
    def is_dense(self) -> bool:
        """Klines has a candle of every interval: where nothing traded, one with volume 0."""
        return True

    @property
    def unpublished(self) -> frozenset[str]:
        """Nothing: klines has every column."""
        return frozenset()

    @property
    def states(self) -> Mapping[MarketType, frozenset[str]]:
        """As documented."""
        return STATES

    @property
    def paused_or_ended(self) -> str | None:
        """All that exchangeInfo says of a pair that does not trade."""
        return PAUSED_OR_ENDED

    def candles_weight(self, market_type: MarketType, rows: int) -> int:
        """That of klines."""
        return weight(market_type, "klines", rows)

    def clock_weight(self, market_type: MarketType) -> int:
        """That of time."""
        return weight(market_type, "time")

    def successor(self, symbol: str) -> str | None:
        """See `renames`."""
        return successor(symbol)

    def bulk_host(self, environment: Environment, url: str | None = None) -> str | None:
        """That of the public archive."""
        return archive_host(environment, url)

    def bulk_files(
        self, market_type: MarketType, exchange_id: str, interval: Interval, span: Span, clock_ms: int
    ) -> list[ArchiveFile]:
        """Those of the public archive."""
        return files_for(market_type, exchange_id, interval, span, clock_ms)

    def connect(self, environment: Environment, **options: Any) -> Exchange:
        """See `BinanceExchange`."""
        from crypto_assets.exchange.binance.client import BinanceExchange  # noqa: PLC0415 - only who asks needs it

        return BinanceExchange(environment, **options)

    def connect_bulk_files(self, host: str) -> BulkFiles:
        """See `BinanceArchive`."""
        from crypto_assets.exchange.binance.archive import BinanceArchive  # noqa: PLC0415 - loads pyarrow

        return BinanceArchive(host)


VENUE: Venue = Binance()
