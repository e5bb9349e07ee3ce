"""When symbols are listed: what the exchange states of it, and else what their candles tell.

A statement comes before an inference: a perpetual ended when its delivery date says so, whatever candles it goes on to
have. A state that may be a pause or an end (`Venue.paused_or_ended`) is an end with the last candle, until there is
another (docs/decisions/0019). Of a state that says nothing of an end, none is inferred. Here belongs what is asked and
noted about a listing; rows of symbols belong to `collect.symbols`, which calls this. What is owed follows from it in
`quality.gaps.coverage`. No Dagster here. Moments are naive UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
from sqlalchemy import Connection, Row, delete, exists, select

from crypto_assets.database.engines import Database
from crypto_assets.database.expressions import of_series
from crypto_assets.database.tables import TABLES
from crypto_assets.database.writes import upsert
from crypto_assets.domain.entities import MarketType, exchange_in
from crypto_assets.domain.intervals import MINUTE_MS, to_milliseconds, to_naive
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets.exchange.client import Exchange
from crypto_assets.exchange.errors import ContractViolation, UnknownSymbol
from crypto_assets.exchange.markets import Market
from crypto_assets.exchange.venues import venue_of

RESET = "reset"
"""The `validation_type` of a source that started over."""

LONGEST_PAUSE = timedelta(days=7)
"""Who trades again after less was paused: the outage is owed, and gets into the ledger. Longer ones were listed anew.

The longest known outage of an exchange took a day and a half; what was delisted came back after months.
"""

_LISTING = TABLES["crypto_listing"]


@dataclass(frozen=True)
class Listing:
    """When a market was listed first and ended, None where it is not known or still trades.

    `resumed` is its first candle after an end that was known, `reset` its first candle before the source started over.
    `goes_on` is one that the exchange's listing lacks and that has candles all the same.
    """

    listed: datetime | None
    ended: datetime | None
    resumed: datetime | None = None
    reset: datetime | None = None
    goes_on: bool = False


def is_known_state(market: Market) -> bool:
    """Whether the exchange's word for the market's state is one that it documents."""
    return market.status is None or market.status in venue_of(market.provider).states[market.market_type]


def may_have_ended(provider: str, status: str | None) -> bool:
    """Whether a provider's word for a symbol's state leaves open whether it ended: its candles tell."""
    return status is not None and status == venue_of(provider).paused_or_ended


def untracked_listing(market: Market, known: Row[Any] | None, clock: int) -> Listing:
    """What is stated of a market that nobody tracks: nothing is asked for it. `clock` is the exchange's, in ms."""
    listed = known.list_date if known and known.list_date else moment(market.listed_ms)
    return Listing(listed, _stated_end(market, known, clock))


def find_listing(
    exchange: Exchange,
    market: Market,
    known: Row[Any] | None,
    clock: int,
    had_candles_before: Callable[[str, datetime], bool],
) -> Listing:
    """The listing of a tracked market, as the exchange states it, its candles tell and what was `known` of it.

    Not every market has a published listing date, and one that has may get its first candle later, so the first candle
    is asked for. That it is later than was known means that the source started over only where there were
    candles before it, which `had_candles_before` says: a date that was corrected is no other source.
    """
    before = known.list_date if known else None
    first = moment(_or_none(exchange.first_candle_time, market.market_type, market.exchange_id))
    reset = before if first and before and first > before and had_candles_before(market.entity_id, first) else None
    listed = first or before
    if market.is_active and known and known.end_date:
        since = max(to_milliseconds(known.end_date), market.listed_ms or 0)
        resumed = moment(
            _or_none(
                lambda of, name: exchange.first_candle_time(of, name, since), market.market_type, market.exchange_id
            )
        )
        # Where it trades again and has no candle of it yet, it has not resumed.
        return Listing(listed, None if resumed else known.end_date, resumed, reset)
    if may_have_ended(market.provider, market.status):
        last = _or_none(exchange.last_candle_time, market.market_type, market.exchange_id)
        ended = known.end_date if known and last is None else end_of(last)
        return Listing(listed, ended, None, reset)
    return Listing(listed, _stated_end(market, known, clock), None, reset)


def find_vanished(exchange: Exchange, market_type: MarketType, known: Row[Any], clock: int) -> Listing | None:
    """The listing of a tracked symbol that the exchange's listing lacks, as klines, which serves it on, says.

    None where klines does not know it either. One whose last candle is not over yet has not ended, for all we know.
    """
    last = _or_none(exchange.last_candle_time, market_type, known.exchange_id)
    if last is None:
        return None
    ended = end_of(last)
    goes_on = last + 2 * MINUTE_MS > clock
    if known.end_date and (goes_on or market_type is MarketType.SWAP):
        # A perpetual's candles go on, flat, after the end that was stated.
        return Listing(known.list_date, min(filter(None, (known.end_date, ended))))
    return Listing(known.list_date, None if goes_on else ended, goes_on=goes_on)


def _stated_end(market: Market, known: Row[Any] | None, clock: int) -> datetime | None:
    if market.is_active:
        return None
    if market.delisted_ms is not None and market.delisted_ms <= clock:
        return moment(market.delisted_ms)
    return known.end_date if known else None


def end_of(last_candle: int | None) -> datetime | None:
    """The end of a 1m candle that opens then (ms)."""
    return moment(None if last_candle is None else last_candle + MINUTE_MS)


def had_candles_before(database: Database, market_type: MarketType, entity_id: str, first: datetime) -> bool:
    """Whether candles were ever collected that open before `first`: stored ones, or those of a whole partition."""
    coverage = TABLES["crypto_kdata_coverage"].c
    for name, candle_table in KDATA_TABLES.items():
        if candle_table.market_type is not market_type:
            continue
        time_ms = candle_table.interval.floor(to_milliseconds(first))
        c = TABLES[name].c
        earlier = exists().where(c.entity_id == entity_id, c.timestamp < moment(time_ms))
        own = of_series(coverage, database.provider, candle_table, entity_id)
        before = coverage.partition < candle_table.partition_key(time_ms)
        collected = exists().where(*own, before, coverage.present > 0)
        with database.connect(name) as connection:
            if connection.scalar(select(earlier)) or connection.scalar(select(collected)):
                return True
    return False


def listed_spans_of(
    connection: Connection, entity_ids: Sequence[str]
) -> dict[str, list[tuple[datetime, datetime | None]]]:
    """The spans of those of the entities that were listed more than once, in order."""
    spans: dict[str, list[tuple[datetime, datetime | None]]] = {}
    rows = select(_LISTING).where(_LISTING.c.entity_id.in_(entity_ids)).order_by(_LISTING.c.start)
    for row in connection.execute(rows):
        spans.setdefault(row.entity_id, []).append((row.start, row.end))
    return spans


def note_listings(
    connection: Connection, known: Mapping[str, Row[Any]], listings: Mapping[str, Listing], now: datetime
) -> None:
    """Writes down what entities' own rows have no place for: second listings, and sources that started over."""
    stored = listed_spans_of(connection, list(listings))
    changed = []
    for entity_id, listing in listings.items():
        before = stored.get(entity_id, [])
        after = _spans(before, known.get(entity_id), listing)
        if after != before:
            connection.execute(delete(_LISTING).where(_LISTING.c.entity_id == entity_id))
            changed += [{"entity_id": entity_id, "start": start, "end": end} for start, end in after]
    if changed:
        upsert(connection, _LISTING, pd.DataFrame(changed).astype({"end": object}))
    resets = [_reset_row(entity_id, each, now) for entity_id, each in listings.items() if each.reset and each.listed]
    if resets:
        upsert(connection, TABLES["crypto_data_quality_log"], pd.DataFrame(resets))


def _spans(
    spans: list[tuple[datetime, datetime | None]], known: Row[Any] | None, listing: Listing
) -> list[tuple[datetime, datetime | None]]:
    if known and known.end_date and listing.resumed:
        start: datetime = known.list_date or listing.listed or known.end_date
        spans = [*(spans or [(start, known.end_date)]), (listing.resumed, None)]
    if not spans:
        return []
    spans = [*spans[:-1], (spans[-1][0], listing.ended)]
    if listing.reset and listing.listed:  # what was before the new start is gone, earlier listings too
        spans = [(max(start, listing.listed), end) for start, end in spans if end is None or end > listing.listed]
    joined: list[tuple[datetime, datetime | None]] = []
    for start, end in spans:
        if joined and (joined[-1][1] is None or start - joined[-1][1] <= LONGEST_PAUSE):
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined if len(joined) > 1 else []


def _reset_row(entity_id: str, listing: Listing, now: datetime) -> dict[str, Any]:
    before, first = str(listing.reset and listing.reset.isoformat()), str(listing.listed and listing.listed.isoformat())
    return {
        "id": f"{RESET}_{entity_id}_{first}",
        "entity_id": entity_id,
        "provider": exchange_in(entity_id),
        "validation_type": RESET,
        "validation_result": {"first_candle_before": before, "first_candle_now": first},
        "quality_score": 1.0,
        "issues_detected": [f"the source started over: its first candle was of {before}, and is of {first} now"],
        "timestamp": now,
    }


def _or_none(ask: Callable[[MarketType, str], int | None], market_type: MarketType, exchange_id: str) -> int | None:
    """A candle's time, or None where the exchange has none of the symbol's candles to give, or does not know it."""
    try:
        return ask(market_type, exchange_id)
    except (UnknownSymbol, ContractViolation):
        return None


def moment(time_ms: int | None) -> datetime | None:
    """Milliseconds as the database has them; None stays None."""
    return None if time_ms is None else to_naive(time_ms)
