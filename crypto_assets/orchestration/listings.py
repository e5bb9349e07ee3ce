"""When symbols are listed, as far as their candles tell: first listings, ends, relistings, sources that start over.

Here belongs what is asked and noted about a listing; rows of symbols belong to `population`, which calls this. What is
owed follows from it in `quality.coverage`. No Dagster here. Moments are naive UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd
from sqlalchemy import Connection, Row, delete, select

from crypto_assets.database.tables import TABLES
from crypto_assets.database.writes import upsert
from crypto_assets.domain.entities import PROVIDER, MarketType
from crypto_assets.domain.intervals import MINUTE_MS, to_datetime, to_milliseconds
from crypto_assets.exchange.client import Exchange
from crypto_assets.exchange.errors import ContractViolation, UnknownSymbol
from crypto_assets.exchange.markets import Market

RESET = "reset"
"""The `validation_type` of a source that started over."""

_LISTING = TABLES["crypto_listing"]


@dataclass(frozen=True)
class Listing:
    """When a market was listed first and ended, None where it is not known or still trades.

    `resumed` is its first candle after an end that was known, `reset` its first candle before the source started over.
    """

    listed: datetime | None
    ended: datetime | None
    resumed: datetime | None = None
    reset: datetime | None = None


def find_listing(exchange: Exchange, market: Market, known: Row[Any] | None, tracked: Sequence[str]) -> Listing:
    """The listing of a market, as its candles and what was `known` of it tell.

    Binance publishes no listing date for spot, and a perpetual's onboard date need not be its first candle's, so the
    candles themselves are asked: the first of a tracked symbol, and, once, the last of one that stopped trading.
    """
    before = known.list_date if known else None
    first = resumed = reset = None
    if market.symbol in tracked:
        first = moment(_or_none(exchange.first_candle_time, market))
        if market.is_active and known and known.end_date:
            since = to_milliseconds(known.end_date)
            resumed = moment(_or_none(lambda of, name: exchange.first_candle_time(of, name, since), market))
            if resumed is None:
                return Listing(first or before, known.end_date)  # it trades again, and has no candle of it yet
        # An onboard date is no candle's: it may be earlier than the first one.
        if first and before and first > before != moment(market.listed_ms):
            reset = before
        listed = first or before
    else:
        listed = before or moment(market.listed_ms)
    if market.is_active:
        return Listing(listed, None, resumed, reset)
    if known and known.end_date and market.symbol not in tracked:
        return Listing(listed, known.end_date)
    last = _or_none(exchange.last_candle_time, market)
    return Listing(listed, moment(market.delisted_ms if last is None else last + MINUTE_MS), None, reset)


def note_listing(
    connection: Connection, entity_id: str, known: Row[Any] | None, listing: Listing, now: datetime
) -> None:
    """Writes down what the entity's own row has no place for: a second listing, and a source that started over."""
    rows = connection.execute(
        select(_LISTING.c.start, _LISTING.c.end).where(_LISTING.c.entity_id == entity_id).order_by(_LISTING.c.start)
    ).all()
    spans = [(row.start, row.end) for row in rows]
    if known and known.end_date and listing.resumed and listing.resumed > known.end_date:
        first = spans or [(known.list_date or listing.listed, known.end_date)]
        spans = [*first, (listing.resumed, None)]
    if spans:
        spans[-1] = (spans[-1][0], listing.ended)
        if listing.reset and listing.listed:  # what was before the new start is gone, earlier listings too
            spans = [(max(start, listing.listed), end) for start, end in spans if end is None or end > listing.listed]
        connection.execute(delete(_LISTING).where(_LISTING.c.entity_id == entity_id))
        written = [{"entity_id": entity_id, "start": start, "end": end} for start, end in spans]
        upsert(connection, _LISTING, pd.DataFrame(written).astype({"end": object}))
    if listing.reset and listing.listed:
        upsert(connection, TABLES["crypto_data_quality_log"], pd.DataFrame([_reset_row(entity_id, listing, now)]))


def _reset_row(entity_id: str, listing: Listing, now: datetime) -> dict[str, Any]:
    before, first = str(listing.reset and listing.reset.isoformat()), str(listing.listed and listing.listed.isoformat())
    return {
        "id": f"{RESET}_{entity_id}_{first}",
        "entity_id": entity_id,
        "provider": PROVIDER,
        "validation_type": RESET,
        "validation_result": {"first_candle_before": before, "first_candle_now": first},
        "quality_score": 1.0,
        "issues_detected": [f"the source started over: its first candle was of {before}, and is of {first} now"],
        "timestamp": now,
    }


def _or_none(ask: Callable[[MarketType, str], int | None], market: Market) -> int | None:
    """A candle's time, or None where the exchange lists the symbol and yet has none of its candles to give."""
    try:
        return ask(market.market_type, market.exchange_id)
    except (UnknownSymbol, ContractViolation):
        return None


def moment(time_ms: int | None) -> datetime | None:
    """Milliseconds as the database has them; None stays None."""
    return None if time_ms is None else to_datetime(time_ms).replace(tzinfo=None)
