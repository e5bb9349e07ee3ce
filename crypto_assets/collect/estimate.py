"""What a backfill will ask, take and store, said beforehand from the database alone. No Dagster, no exchange here.

Here belongs the arithmetic: what is asked for is decided by `collect.plan`, what a request weighs is in
`exchange.venue`. Where the range reaches the running day, candles are taken to close by the clock given.
Called by `cli.plan`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select

from crypto_assets.collect.outcome import Symbol
from crypto_assets.collect.plan import Plan, plan
from crypto_assets.collect.symbols import symbols_to_collect
from crypto_assets.database.care.sizes import table_bytes
from crypto_assets.database.engines import Database
from crypto_assets.database.queries import row_count
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.series import CandleTable, Series
from crypto_assets.domain.spans import Span, intersect, subtract
from crypto_assets.exchange.venue import Venue
from crypto_assets.exchange.venues import venue_of
from crypto_assets.quality.gaps.holdings import Holdings, in_parts

BYTES_A_ROW = {"sqlite": 165.0, "postgresql": 220.0, "mysql": 155.0}
"""Measured with 86,400 minutes of one symbol: SQLite 3.40, PostgreSQL 18, MariaDB 10.11."""

_ENOUGH_ROWS = 10_000
"""A smaller table is mostly what an empty one takes."""


@dataclass(frozen=True)
class SymbolPlan:
    """What is asked for of one symbol, in candles unless it says otherwise.

    Of `owed`, those that the range holds while the symbol was listed, `stored` are there and the exchange is known to
    have none of `absent`. `rows` are asked for, among them `new_rows` that are not there; `archived_rows` of them lie
    in `archive_files` files of the exchange's archive, the others take `requests` pages of REST. `listing_known` is
    false where the first candle's time is not known yet: then the plan is the most it can be.
    """

    symbol: str
    owed: int
    stored: int
    absent: int
    rows: int
    new_rows: int
    requests: int
    archived_rows: int
    archive_files: int
    listing_known: bool


@dataclass(frozen=True)
class TablePlan:
    """What is asked for of one candle table, over the partitions from first to last."""

    candle_table: CandleTable
    partitions: tuple[str, str]
    symbols: list[SymbolPlan]
    bytes_a_row: float
    venue: Venue

    @property
    def market_type(self) -> MarketType:
        """Whose budget it spends."""
        return self.candle_table.market_type

    @property
    def rows(self) -> int:
        """Candles asked for."""
        return sum(each.rows for each in self.symbols)

    @property
    def requests(self) -> int:
        """The pages, the first candle where it is not known, and one for the exchange's clock."""
        return sum(each.requests + (not each.listing_known) for each in self.symbols) + bool(self.symbols)

    @property
    def weight(self) -> int:
        """What these requests weigh."""
        page = self.venue.candles_weight(self.market_type, self.venue.page_rows[self.market_type])
        first = self.venue.candles_weight(self.market_type, 1)
        clock = self.venue.clock_weight(self.market_type) if self.symbols else 0
        return clock + sum(each.requests * page + (not each.listing_known) * first for each in self.symbols)

    @property
    def new_bytes(self) -> int:
        """What the new candles will take on the disk of the database."""
        return round(sum(each.new_rows for each in self.symbols) * self.bytes_a_row)

    def minutes(self, reserve: float) -> float:
        """How long the requests take at the exchange's limit, the share `reserve` of which is left for others."""
        return self.weight / (self.venue.weight_a_minute[self.market_type] * (1 - reserve))


def plan_table(
    database: Database,
    candle_table: CandleTable,
    symbols: Sequence[str],
    window: Span,
    clock: int,
    *,
    only_missing: bool,
    has_archive: bool,
) -> TablePlan:
    """The plan of `window` (whole partitions) for the ccxt `symbols`, as of `clock` (ms UTC).

    `has_archive` says whether the exchange has files of closed months and days. Raises UnknownSymbol, and DatabaseError
    where the database was never migrated.
    """
    market_type, interval = candle_table
    venue = venue_of(database.provider)
    chosen = symbols_to_collect(database, market_type, symbols)
    keys = candle_table.partition_keys(window)
    plans: list[SymbolPlan] = []
    for part in in_parts([symbol.entity_id for symbol in chosen], candle_table, window):
        with database.connect(candle_table.name) as connection:
            holdings = Holdings(connection, candle_table, part)
            backfills = plan(holdings, window, clock, only_missing=only_missing, spans=None)
            unread = {each: whole.askable for each, whole in backfills.items() if whole.missing is None}
            missing = {each: list(known.missing or ()) for each, known in backfills.items()} | holdings.missing(unread)
            source = holdings.source_gaps
        plans += [
            _plan(
                venue,
                Series(database.provider, market_type, symbol.exchange_id, symbol.entity_id, interval),
                symbol,
                backfills[symbol.entity_id],
                missing[symbol.entity_id],
                source,
                clock,
                has_archive,
            )
            for symbol in chosen[len(plans) : len(plans) + len(part)]
        ]
    return TablePlan(candle_table, (keys[0], keys[-1]), plans, _bytes_a_row(database, candle_table.name), venue)


def _plan(
    venue: Venue,
    series: Series,
    symbol: Symbol,
    backfill: Plan,
    missing: list[Span],
    source_gaps: Mapping[str, list[Span]],
    clock: int,
    has_archive: bool,
) -> SymbolPlan:
    absent = intersect(missing, source_gaps.get(series.entity_id, []))

    def count(spans: Sequence[Span]) -> int:
        return sum(series.interval.count(*span) for span in spans)

    files = backfill.in_archive(venue, series, clock) if has_archive else []
    return SymbolPlan(
        symbol=symbol.name,
        owed=count(backfill.askable),
        stored=count(subtract(backfill.askable, missing)),
        absent=count(absent),
        rows=backfill.rows,
        new_rows=count(intersect(backfill.fetches, missing)),
        requests=backfill.requests(clock, venue.page_rows[series.market_type], files),
        archived_rows=count(files),
        archive_files=len(files),
        listing_known=symbol.is_listing_known,
    )


def _bytes_a_row(database: Database, table: str) -> float:
    """What a stored candle of the table takes, or usually does where few are stored."""
    with database.connect(table) as connection:
        some = select(TABLES[table].c.entity_id).limit(_ENOUGH_ROWS).subquery()
        if (connection.scalar(select(func.count()).select_from(some)) or 0) < _ENOUGH_ROWS:
            return BYTES_A_ROW[database.engine]
        rows = row_count(connection, TABLES[table])
    return table_bytes(database)[table] / rows
