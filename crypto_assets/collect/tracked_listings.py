"""What is asked about tracked symbols when they are listed anew, and what is to be said of them. No Dagster here.

What a listing comes to belongs to `listings`, rows to `collect.symbols`, which calls this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from crypto_assets.collect.listings import (
    Listing,
    find_listing,
    find_vanished,
    had_candles_before,
    is_known_state,
)
from crypto_assets.database.engines import Database
from crypto_assets.domain.entities import MarketType, entity_code
from crypto_assets.exchange.client import Exchange
from crypto_assets.exchange.errors import ConfigurationError, ExchangeError, RateLimited
from crypto_assets.exchange.markets import Market

UNLISTED: dict[str, Any] = {"is_active": False, "status": None}
"""What becomes of the row of a symbol that the listing lacks and that nobody tracks."""


def gone(row: Row[Any], found: Listing | None, now: datetime) -> dict[str, Any]:
    """What becomes of a tracked symbol's row that the listing lacks.

    Where klines knows it, the row was refreshed. Where it does not, the symbol ended, as far as anyone can tell, when
    it was last seen.
    """
    if found is None:
        return UNLISTED | {"end_date": row.end_date or row.timestamp}
    return UNLISTED | {"end_date": found.ended, "timestamp": now}


@dataclass(frozen=True)
class Asked:
    """Asks the exchange about tracked symbols; one that cannot be asked for keeps what is known of it."""

    exchange: Exchange
    database: Database
    market_type: MarketType
    known: Mapping[str, Row[Any]]
    clock: int
    failures: dict[str, str] = field(default_factory=dict)

    def listing(self, market: Market) -> Listing:
        """The listing of a market."""

        def had_candles(entity_id: str, first: datetime) -> bool:
            return had_candles_before(self.database, self.market_type, entity_id, first)

        known = self.known.get(market.entity_id)
        found = self._unless_it_fails(
            market.symbol, lambda: find_listing(self.exchange, market, known, self.clock, had_candles)
        )
        return found or Listing(known.list_date if known else None, known.end_date if known else None)

    def vanished(self, row: Row[Any]) -> Listing | None:
        """The listing of a symbol that is listed no more; None where klines does not know it."""
        return self._unless_it_fails(row.name, lambda: find_vanished(self.exchange, self.market_type, row, self.clock))

    def raise_failures(self) -> None:
        """Raises ExchangeError where a symbol could not be asked for."""
        if self.failures:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in self.failures.items())
            raise ExchangeError(f"all other symbols are listed anew, but not {reasons}")

    def _unless_it_fails(self, name: str, ask: Callable[[], Listing | None]) -> Listing | None:
        try:
            return ask()
        except (ConfigurationError, RateLimited):
            raise  # wrong for one is wrong for all
        except ExchangeError as error:
            self.failures[name] = str(error)
            return None


@dataclass(frozen=True)
class Entity:
    """A symbol, as it is listed now or as it is stored."""

    id: str
    name: str
    exchange_id: str
    is_active: bool

    @property
    def code(self) -> str:
        """The exchange's id as ids and tables use it."""
        return entity_code(self.exchange_id)


def remarks_on(
    chosen: Mapping[str, str],
    entities: Sequence[Entity],
    markets: Mapping[str, Market],
    listings: Mapping[str, Listing | None],
) -> list[str]:
    """What is to be said of tracked symbols (entity ids by name), and of words that nobody knows."""
    remarks = []
    for name, entity_id in chosen.items():
        others = [each.exchange_id for each in entities if name == each.name and each.id != entity_id]
        (exchange_id,) = (each.exchange_id for each in entities if each.id == entity_id)
        market, listing = markets.get(entity_id), listings.get(entity_id)
        if others:
            remarks.append(f"{name} is taken for {exchange_id}, not for {', '.join(sorted(others))}.")
        if market is None:
            ended = "klines does not know it either" if listing is None else f"its candles end at {listing.ended}"
            goes_on = listing is not None and listing.goes_on
            remarks.append(f"{name} is listed no more; {'its candles go on' if goes_on else ended}.")
        elif not market.is_active:
            end = f"ended at {listing.ended}" if listing and listing.ended else "no end is known"
            remarks.append(f"{name} does not trade ({market.status}); {end}.")
        elif market.trades_in_sessions:
            remarks.append(
                f"{name} trades in sessions: what the exchange has no candle for between them becomes a gap."
            )
    strange = sorted({str(each.status) for each in markets.values() if not is_known_state(each)})
    return remarks + [f"Nobody knows what the state {state!r} means: not trading, without an end." for state in strange]
