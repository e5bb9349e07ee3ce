"""What is known of an exchange without asking it, and how it is asked, as a Protocol: one door for each.

Here belongs the shape that `collect`, `orchestration` and `cli` depend on. Each `exchange.<venue>` has one in its
module `venue`; `venues` finds it by the provider's name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.environments import Environment
from crypto_assets.domain.intervals import Interval
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.budget.store import LedgerStore
from crypto_assets.exchange.bulk_files import BulkFile, BulkFiles
from crypto_assets.exchange.client import Exchange


class Venue(Protocol):
    """One exchange as the project knows it. Nothing here asks it before what `connect` made is used."""

    @property
    def page_rows(self) -> Mapping[MarketType, int]:
        """The candles of a page."""

    @property
    def weight_a_minute(self) -> Mapping[MarketType, int]:
        """The request weight that one address may spend in a minute, as documented."""

    @property
    def is_dense(self) -> bool:
        """Whether there is a candle for every interval. A sparse venue has none where nothing traded, and owes none."""

    @property
    def unpublished(self) -> frozenset[str]:
        """Which of `volume_quote` and `trade_count` its candles come without: they are stored as null."""

    @property
    def states(self) -> Mapping[MarketType, frozenset[str]]:
        """The words for the state of a symbol that it documents."""

    @property
    def paused_or_ended(self) -> str | None:
        """The state that may be a pause or an end, of which candles tell; None where a state says which it is."""

    def candles_weight(self, market_type: MarketType, rows: int) -> int:
        """What a request for so many candles weighs."""

    def clock_weight(self, market_type: MarketType) -> int:
        """What asking for the exchange's clock weighs."""

    def successor(self, symbol: str) -> str | None:
        """The ccxt symbol under which a market went on, `POL/USDT` for `MATIC/USDT`; None if it was never renamed."""

    def bulk_host(self, environment: Environment, url: str | None = None) -> str | None:
        """The scheme and host of an environment's bulk files, None where none are to be asked.

        `url` replaces it; `none` turns it off.
        """

    def bulk_files(
        self, market_type: MarketType, exchange_id: str, interval: Interval, span: Span, clock_ms: int
    ) -> Sequence[BulkFile]:
        """The files to ask for the candles of `span` at `clock_ms`, oldest first: those that spare requests."""

    def connect(
        self,
        environment: Environment,
        *,
        spot_url: str | None = None,
        futures_url: str | None = None,
        state_directory: Path | None = None,
        wider_store: LedgerStore | None = None,
        outgoing_address: str = "",
        weight_reserve: float = 0.0,
        in_flight: int = 1,
        close_margin_s: float = 15.0,
    ) -> Exchange:
        """The exchange in one environment. The first request, not this, loads what it takes and opens connections.

        `spot_url` and `futures_url` (scheme://host[:port]) replace the environment's hosts. All that name the same
        `state_directory`, and on other machines the same `wider_store`, spend one request budget together and leave
        the share `weight_reserve` of it for others; who names another `outgoing_address` shares with none of them. At
        most `in_flight` pages are asked for and not yet stored. A candle may change until `close_margin_s` after its
        close.
        """

    def connect_bulk_files(self, host: str) -> BulkFiles:
        """The bulk files at a host, such as `bulk_host` gives."""
