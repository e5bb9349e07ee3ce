"""Populating the entity tables from the exchange's markets, and looking up the symbols to collect. No Dagster here.

How a market becomes a row belongs to `frames.entities`. Called by `assets.entities` and `collect.run`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select, update

from crypto_assets.collect.judged_markets import judge_assets, judge_markets, store_accepted
from crypto_assets.collect.listings import end_of, may_have_ended, moment, note_listings, untracked_listing
from crypto_assets.collect.outcome import Symbol
from crypto_assets.collect.tracked_listings import UNLISTED, Asked, Entity, gone, remarks_on
from crypto_assets.database.engines import Database
from crypto_assets.database.entity_names import entities_called, meant, spellings
from crypto_assets.database.expressions import of_own_exchange
from crypto_assets.database.symbols import listed_symbols
from crypto_assets.database.tables import TABLES
from crypto_assets.database.writes import WriteCounts
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import to_naive
from crypto_assets.domain.symbols import has_wildcard, matching
from crypto_assets.exchange.client import Exchange
from crypto_assets.exchange.errors import ContractViolation, UnknownSymbol
from crypto_assets.exchange.markets import Market, RefusedSymbol, nearest_symbols
from crypto_assets.exchange.venues import venue_of
from crypto_assets.frames.entities import market_frame

_LOG = "crypto_data_quality_log"


@dataclass(frozen=True)
class Populated:
    """What a population did: symbols the exchange listed, rows refused, symbols gone, rows written.

    `remarks` are sentences on what is not as usual: what a name means, what does not trade, what nobody knows.
    """

    listed: int
    rejected: int
    gone: int
    counts: WriteCounts
    remarks: list[str] = field(default_factory=list)

    @classmethod
    def nothing(cls) -> Populated:
        """A population that had nothing to ask."""
        return cls(0, 0, 0, WriteCounts(0, 0, 0))


def populate_assets(database: Database, markets: list[Market], clock: int) -> Populated:
    """Writes a row of `crypto_asset` for every currency of `markets`. A currency no longer used keeps its row."""
    judged = judge_assets(markets, clock)
    if judged.assets.empty and not judged.refused:
        return Populated.nothing()
    with database.begin("crypto_asset", also=[_LOG]) as connection:
        judged.record(connection, "crypto_asset", clock)
        counts, refused = store_accepted(connection, TABLES["crypto_asset"], judged.assets, clock)
    return Populated(len(judged.assets) + len(judged.refused), len(judged.refused) + len(refused), 0, counts)


def populate_markets(
    database: Database, exchange: Exchange, market_type: MarketType, tracked: Sequence[str], clock: int
) -> Populated:
    """Writes a row of `crypto_pair` or `crypto_perp`, and of their currencies, for every symbol the exchange lists.

    Tracked symbols get the time of their first candle as `list_date`, and are asked for their end where that is not
    stated; of the others nothing is asked. One that is listed no more becomes inactive and stays. A symbol that cannot
    be a row, or cannot be asked for, keeps none of the others from being written. Raises ContractViolation where the
    exchange lists nothing. After all others were written, raises UnknownSymbol for a tracked symbol that the exchange
    never listed, and ExchangeError for those that were refused or could not be asked for.
    """
    table = TABLES[market_type.entity_table]
    unread: list[RefusedSymbol] = []
    markets = exchange.markets(market_type, unread.append)
    if not markets:
        raise ContractViolation(f"{exchange.name} lists no {market_type.value} symbol at all; nothing was changed")
    with database.connect(table.name) as connection:
        known = {row.id: row for row in connection.execute(select(table).where(of_own_exchange(connection, table)))}
    # A row that no listing brought yet since ids are stored has a supposed one.
    owners = {row.id: row.exchange_id for row in known.values() if row.status is not None or not row.is_active}
    judged = judge_markets(database.provider, market_type, markets, unread, owners, clock)
    kept = {market.entity_id: market for market in judged.kept}
    shown = {market.exchange_id for market in markets} | {each.exchange_id for each in unread}
    unlisted = {row.id: row for row in known.values() if row.exchange_id not in shown and row.id not in kept}
    entities = [
        *(Entity(each.entity_id, each.symbol, each.exchange_id, each.is_active) for each in judged.kept),
        *(Entity(row.id, row.name, row.exchange_id, is_active=False) for row in known.values() if row.id not in kept),
    ]
    names = {name for each in entities for name in (each.name, each.exchange_id)}
    tracked = with_successors(tracked, names, venue_of(database.provider).successor)
    chosen = {name: entity.id for name, entity in meant(entities, tracked).items()}
    asked_for = set(chosen.values())
    asked = Asked(exchange, database, market_type, known, clock)
    listings = {
        entity_id: asked.listing(market)
        if entity_id in asked_for
        else untracked_listing(market, known.get(entity_id), clock)
        for entity_id, market in kept.items()
    }
    vanished = {entity_id: asked.vanished(row) for entity_id, row in unlisted.items() if entity_id in asked_for}
    dates = [(listing.listed, listing.ended) for listing in listings.values()]
    frame = market_frame(market_type, judged.kept, dates, clock)
    now = to_naive(clock)
    with database.begin(table.name, also=[_LOG]) as connection:
        judged.record(connection, table.name, clock)
        store_accepted(connection, TABLES["crypto_asset"], judged.assets, clock)
        counts, refused = store_accepted(connection, table, frame, clock)
        for entity_id, row in unlisted.items():
            is_known = entity_id in asked_for and row.name not in asked.failures
            values = gone(row, vanished.get(entity_id), now) if is_known else UNLISTED
            if any(getattr(row, name) != value for name, value in values.items()):
                connection.execute(update(table).where(table.c.id == entity_id).values(values))
        found = listings | {entity_id: each for entity_id, each in vanished.items() if each is not None}
        note_listings(
            connection, known, {each: found[each] for each in asked_for.difference(refused) if each in found}, now
        )
    refuse_unknown(tracked, names, market_type)
    asked.raise_failures()
    remarks = remarks_on(chosen, entities, kept, {each: found.get(each) for each in asked_for})
    return Populated(len(markets) + len(unread), len(judged.refused) + len(refused), len(unlisted), counts, remarks)


def note_untracked_listing(database: Database, exchange: Exchange, market_type: MarketType, symbol: Symbol) -> None:
    """Stores when a symbol nobody tracked so far was listed, and ended where it may have: else nothing is owed."""
    table = TABLES[market_type.entity_table]
    with database.connect(table.name) as connection:
        row = connection.execute(select(table).where(table.c.id == symbol.entity_id)).one()
    dates = {"list_date": moment(exchange.first_candle_time(market_type, symbol.exchange_id))}
    if may_have_ended(database.provider, row.status):
        dates["end_date"] = end_of(exchange.last_candle_time(market_type, symbol.exchange_id))
    found = {name: date for name, date in dates.items() if date is not None}
    if found:
        with database.begin(table.name) as connection:
            connection.execute(update(table).where(table.c.id == symbol.entity_id).values(found))


def with_successors(
    tracked: Sequence[str], listed: Collection[str], successor: Callable[[str], str | None]
) -> tuple[str, ...]:
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
    table, successor = TABLES[market_type.entity_table], venue_of(database.provider).successor
    spellings = {symbol for each in tracked for symbol in (each, successor(each)) if symbol is not None}
    with database.connect(table.name) as connection:
        return with_successors(tracked, set(entities_called(connection, table, spellings)), successor)


def names_meant(database: Database, market_type: MarketType, texts: Sequence[str]) -> tuple[str, ...]:
    """What the listed symbols that `texts` mean are asked for by, each once; texts in either spelling, with wildcards.

    That is a symbol's name, or its exchange id where another one is meant by the name. Of symbols that share the name
    in a text, the text means that one; a wildcard means all. A text that means none is kept.
    """
    if not texts:
        return ()
    table = TABLES[market_type.entity_table]
    with database.connect(table.name) as connection:
        listed = listed_symbols(connection, table)
        found = {text: matching([text], listed) for text in texts}
        spelled = spellings(connection, table, {each.entity_id for several in found.values() for each in several})
    names: list[str] = []
    for text, several in found.items():
        named = [each for each in several if spelled[each.entity_id] == each.name]
        chosen = named if named and not has_wildcard(text) else several
        names += [spelled[each.entity_id] for each in chosen] or [text]
    return tuple(dict.fromkeys(names))


def symbols_to_collect(database: Database, market_type: MarketType, wanted: Sequence[str]) -> list[Symbol]:
    """The stored entities that `wanted` (ccxt symbols or exchange ids) mean, in that order, each of them once.

    Raises UnknownSymbol, with the nearest names, for one that is not in the entity table.
    """
    table, assets = TABLES[market_type.entity_table], TABLES["crypto_asset"]
    base = table.c.base_asset_id if market_type is MarketType.SPOT else table.c.underlying_asset_id
    with database.connect(table.name) as connection:
        own = of_own_exchange(connection, table)
        called = entities_called(connection, table, wanted, base.label("base"))
        unknown = [name for name in wanted if name not in called]
        if unknown:
            refuse_unknown(unknown, set(connection.scalars(select(table.c.name).where(own))), market_type)
        currencies = {row.base for row in called.values()}
        supplied = select(assets.c.id, assets.c.circulating_supply).where(assets.c.id.in_(currencies))
        supplies = {row.id: row.circulating_supply for row in connection.execute(supplied)}
    chosen: dict[str, Symbol] = {}
    for name in wanted:
        row = called[name]
        supply = supplies.get(row.base)
        symbol = Symbol(
            exchange_id=row.exchange_id,
            entity_id=row.id,
            name=name,
            display_name=row.name,
            is_listing_known=row.list_date is not None
            and (row.end_date is not None or not may_have_ended(database.provider, row.status)),
            circulating_supply=float(supply) if supply else None,
        )
        chosen.setdefault(row.id, symbol)
    return list(chosen.values())


def refuse_unknown(wanted: Sequence[str], known: set[str], market_type: MarketType) -> None:
    """Raises UnknownSymbol for the first of `wanted` that is not `known`; says so if nothing is known at all."""
    if wanted and not known:
        raise UnknownSymbol(wanted[0], where=f"{market_type.entity_table}, empty until the job bootstrap has run,")
    for symbol in wanted:
        if symbol not in known:
            raise UnknownSymbol(symbol, nearest_symbols(symbol, known))
