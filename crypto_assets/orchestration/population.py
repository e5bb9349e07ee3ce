"""Populating the entity tables from the exchange's markets, and looking up the symbols to collect. No Dagster here.

How a market becomes a row belongs to `frames.entities`. Called by `assets.entities` and `kdata_run`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Connection, Row, Table, select, update

from crypto_assets.database.engines import Database
from crypto_assets.database.symbols import listed_symbols
from crypto_assets.database.tables import TABLES
from crypto_assets.database.writes import WriteCounts, upsert_accepted
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import to_datetime
from crypto_assets.domain.renames import successor
from crypto_assets.domain.symbols import matching
from crypto_assets.exchange.client import Exchange
from crypto_assets.exchange.errors import ContractViolation, UnknownSymbol
from crypto_assets.exchange.markets import Market, nearest_symbols
from crypto_assets.frames.contracts import Verdict, asset_contract, judge, market_contract
from crypto_assets.frames.entities import asset_frame, market_frame
from crypto_assets.orchestration.collected import Symbol
from crypto_assets.orchestration.listings import find_listing, moment, note_listing
from crypto_assets.quality.rejections import Rejection, record_rejections

_LOG = "crypto_data_quality_log"


@dataclass(frozen=True)
class Populated:
    """What a population did: symbols the exchange listed, rows refused, symbols gone, rows written."""

    listed: int
    rejected: int
    gone: int
    counts: WriteCounts

    @classmethod
    def nothing(cls) -> Populated:
        """A population that had nothing to ask."""
        return cls(0, 0, 0, WriteCounts(0, 0, 0))


def populate_assets(database: Database, markets: list[Market], clock: int) -> Populated:
    """Writes a row of `crypto_asset` for every currency of `markets`. A currency no longer used keeps its row."""
    frame = asset_frame(markets, clock)
    if frame.empty:
        return Populated.nothing()
    verdict = judge(frame, asset_contract())
    with database.begin("crypto_asset", also=[_LOG]) as connection:
        _record_refused(connection, "crypto_asset", frame, verdict, clock)
        counts, refused = _store(connection, TABLES["crypto_asset"], verdict.kept, clock)
    return Populated(len(frame), len(verdict.reasons) + len(refused), 0, counts)


def populate_markets(
    database: Database, exchange: Exchange, market_type: MarketType, tracked: Sequence[str], clock: int
) -> Populated:
    """Writes a row of `crypto_pair` or `crypto_perp`, and of their currencies, for every symbol the exchange lists.

    Tracked symbols get the time of their first candle as `list_date`. A symbol that no longer trades becomes inactive
    and gets an `end_date`; one that is no longer listed at all becomes inactive and stays. Raises UnknownSymbol for a
    tracked symbol the exchange never listed, after all others were written: what became of them matters all the same.
    """
    table = TABLES[market_type.entity_table]
    markets = exchange.markets(market_type)
    if not markets:
        raise ContractViolation(f"{exchange.name} lists no {market_type.value} symbol at all; nothing was changed")
    with database.connect(table.name) as connection:
        known = {row.id: row for row in connection.execute(select(table))}
    names = {market.symbol for market in markets} | {row.name for row in known.values()}
    tracked = with_successors(tracked, names)
    listings = [find_listing(exchange, market, known.get(market.entity_id), tracked) for market in markets]
    gone = [row for entity_id, row in known.items() if entity_id not in {market.entity_id for market in markets}]
    dates = [(listing.listed, listing.ended) for listing in listings]
    frame = market_frame(market_type, markets, dates, clock)
    verdict = judge(frame, market_contract(market_type)) if markets else Verdict(frame, {})
    with database.begin(table.name, also=[_LOG]) as connection:
        if markets:
            upsert_accepted(connection, TABLES["crypto_asset"], asset_frame(markets, clock))
        _record_refused(connection, table.name, frame, verdict, clock)
        counts, refused = _store(connection, table, verdict.kept, clock)
        unknown = set(frame.loc[list(refused), "entity_id"])
        for market, listing in zip(markets, listings, strict=True):
            if market.symbol in tracked and market.entity_id not in unknown:
                note_listing(connection, market.entity_id, known.get(market.entity_id), listing, _naive(clock))
        for row in gone:
            _end(connection, table, row)
    refuse_unknown(tracked, names, market_type)
    return Populated(len(markets), len(verdict.reasons) + len(refused), len(gone), counts)


def note_first_candle(database: Database, exchange: Exchange, market_type: MarketType, symbol: Symbol) -> None:
    """Stores the first candle's time of a symbol nobody tracked so far: before it nothing is owed."""
    table = TABLES[market_type.entity_table]
    first = moment(exchange.first_candle_time(market_type, symbol.exchange_id))
    if first is not None:
        with database.begin(table.name) as connection:
            connection.execute(update(table).where(table.c.id == symbol.entity_id).values(list_date=first))


def with_successors(tracked: Sequence[str], listed: Collection[str]) -> tuple[str, ...]:
    """The tracked symbols, and the `listed` ones under which renamed ones of them went on.

    Of one that is listed under its later symbol alone, the earlier is left out.
    """
    names: list[str] = []
    for symbol in tracked:
        later = successor(symbol)
        if later is None or later not in listed:
            names.append(symbol)
        else:
            names += [symbol, later] if symbol in listed else [later]
    return tuple(dict.fromkeys(names))


def tracked_now(database: Database, market_type: MarketType, tracked: Sequence[str]) -> tuple[str, ...]:
    """The tracked symbols with those under which renamed ones went on, as far as the entity table lists them."""
    table = TABLES[market_type.entity_table]
    spellings = {symbol for each in tracked for symbol in (each, successor(each)) if symbol is not None}
    with database.connect(table.name) as connection:
        return with_successors(
            tracked, set(connection.scalars(select(table.c.name).where(table.c.name.in_(spellings))))
        )


def _naive(time_ms: int) -> datetime:
    return to_datetime(time_ms).replace(tzinfo=None)


def _end(connection: Connection, table: Table, row: Row[Any]) -> None:
    """A symbol that vanished from the listing ended, as far as anyone can tell, when it was last seen there."""
    if row.is_active or row.end_date is None:
        connection.execute(
            update(table).where(table.c.id == row.id).values(is_active=False, end_date=row.end_date or row.timestamp)
        )
        listing = TABLES["crypto_listing"]
        still = (listing.c.entity_id == row.id, listing.c.end.is_(None))
        connection.execute(update(listing).where(*still).values(end=row.timestamp))


def names_meant(database: Database, market_type: MarketType, texts: Sequence[str]) -> tuple[str, ...]:
    """The names of the listed symbols that `texts` mean, in either spelling and with wildcards; each once.

    A text that means none is kept, and so is a code whose name another symbol has, too: who collects refuses them.
    """
    if not texts:
        return ()
    table = TABLES[market_type.entity_table]
    with database.connect(table.name) as connection:
        listed = listed_symbols(connection, table)
    bearers = Counter(each.name for each in listed)
    names: list[str] = []
    for text in texts:
        meant = [each.name for each in matching([text], listed) if bearers[each.name] == 1]
        names += [text] if text in bearers or not meant else meant
    return tuple(dict.fromkeys(names))


def symbols_to_collect(database: Database, market_type: MarketType, wanted: Sequence[str]) -> list[Symbol]:
    """The stored entities of the ccxt symbols `wanted`, in that order.

    Raises UnknownSymbol, with the nearest names, for one that is not in the entity table.
    """
    table, assets = TABLES[market_type.entity_table], TABLES["crypto_asset"]
    base = table.c.base_asset_id if market_type is MarketType.SPOT else table.c.underlying_asset_id
    with database.connect(table.name) as connection:
        rows = connection.execute(
            select(table.c.id, table.c.name, table.c.code, table.c.list_date, assets.c.circulating_supply).join_from(
                table, assets, base == assets.c.id, isouter=True
            )
        ).all()
    by_name = {row.name: row for row in rows}
    refuse_unknown(wanted, set(by_name), market_type)
    return [
        Symbol(
            exchange_id=by_name[name].code.upper(),
            entity_id=by_name[name].id,
            name=name,
            is_listing_known=by_name[name].list_date is not None,
            circulating_supply=float(by_name[name].circulating_supply) if by_name[name].circulating_supply else None,
        )
        for name in wanted
    ]


def refuse_unknown(wanted: Sequence[str], known: set[str], market_type: MarketType) -> None:
    """Raises UnknownSymbol for the first of `wanted` that is not `known`; says so if nothing is known at all."""
    if wanted and not known:
        raise UnknownSymbol(wanted[0], where=f"{market_type.entity_table}, empty until the job bootstrap has run,")
    for symbol in wanted:
        if symbol not in known:
            raise UnknownSymbol(symbol, nearest_symbols(symbol, known))


def _store(
    connection: Connection, table: Table, kept: pd.DataFrame, clock: int
) -> tuple[WriteCounts, dict[int, list[str]]]:
    """Stores the rows that keep the contract; what the database refuses nevertheless is recorded, too."""
    counts, refused = upsert_accepted(connection, table, kept)
    reasons = {int(str(label)): [said] for label, said in refused.items()}
    _record_refused(connection, table.name, kept, Verdict(kept, reasons), clock)
    return counts, reasons


def _record_refused(connection: Connection, table: str, frame: pd.DataFrame, verdict: Verdict, clock: int) -> None:
    for label, reasons in verdict.reasons.items():
        row: dict[str, Any] = {str(key): _plain(value) for key, value in frame.loc[label].items()}
        record_rejections(connection, table, str(row["id"]), [Rejection(row, reasons)], clock)


def _plain(value: Any) -> Any:
    """A frame's value as JSON can hold it."""
    if pd.isna(value):
        return None
    if isinstance(value, np.generic):
        return value.item()
    return value.isoformat() if isinstance(value, datetime) else value
