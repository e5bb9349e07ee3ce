"""The figures of a database's quality, all of the report and nothing of how it looks.

    figures = quality_figures(database, datetime.now(UTC))

They come from the coverage, the ledger, the quality log and the entities: their cost grows with partitions, not with
candles, of which the newest of each symbol alone is read. Called by `cli`, `orchestration` and `page`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from importlib.metadata import version

from sqlalchemy import Connection, case, func, select

from crypto_assets.database.engines import Database
from crypto_assets.database.expressions import of_own_exchange
from crypto_assets.database.tables import META, QUALITY, TABLES
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.series import CandleTable
from crypto_assets.report.freshness import Freshness, Listed, freshness
from crypto_assets.report.months import Month, TableMonths, months_by_table, share, shown_months
from crypto_assets.report.scores import LowScore, Reset, Score, low_scores, resets, scores

MAX_GAPS = 500


@dataclass(frozen=True)
class Gap:
    """A span of the ledger; `start` and `end` are its first and last missing open time, all times naive UTC."""

    entity_id: str
    name: str
    level: str
    start: datetime
    end: datetime
    missing: int
    status: str
    attempts: int
    first_seen: datetime
    last_checked: datetime | None
    repaired_at: datetime | None


@dataclass(frozen=True)
class Hole:
    """A long hole between collected partitions: nobody owes it. `state` is waiting, collect or leave."""

    table: str
    symbols: str
    first: str
    last: str
    lasts: str
    state: str
    candles: int
    requests: int
    archive_files: int


@dataclass(frozen=True)
class Totals:
    """Counts over everything collected, shown or not.

    `completeness` is the stored share of what exists (owed without what the source lacks), 0 to 1.
    """

    tables: int
    symbols: int
    owed: int
    stored: int
    source: int
    missing: int
    open_gaps: int
    source_gaps: int
    repaired_gaps: int
    completeness: float


@dataclass(frozen=True)
class Figures:
    """What the page shows; `made_at` is aware UTC. All lists are empty for a database that holds nothing yet."""

    environment: str
    location: str
    version: str
    made_at: datetime
    totals: Totals
    tables: tuple[TableMonths, ...] = ()
    gaps: tuple[Gap, ...] = ()
    resets: tuple[Reset, ...] = ()
    scores: tuple[Score, ...] = ()
    low_scores: tuple[LowScore, ...] = ()
    freshness: tuple[Freshness, ...] = ()
    holes: tuple[Hole, ...] = ()
    """Long holes between collected partitions, which whoever makes the page has priced."""


def quality_figures(database: Database, now: datetime, margin: timedelta = timedelta()) -> Figures:
    """The figures at `now` (aware). A database that was never migrated has none; that is no error.

    A candle is late once it closed longer ago than the `margin`, before which no run asks for it.
    Raises DatabaseError where it cannot be read, holds another environment's data or stands at another revision.
    """
    database.check_identity()
    about = (database.environment, database.location, version("crypto-assets"), now)
    if any(database.revision(database.unit(name)) is None for name in (META, QUALITY)):
        return Figures(*about, _totals({}, {}))
    with database.connect(META) as connection:
        listed = _listed(connection)
    names = {entity_id: each.name for entity_id, each in listed.items()}
    with database.connect(QUALITY) as connection:
        tables = months_by_table(connection, database.provider)
        figures = Figures(
            *about,
            _totals(tables, _gaps_by_status(connection, database.provider)),
            tables=tuple(shown_months(table, entities, names) for table, entities in tables.items()),
            gaps=tuple(_newest_gaps(connection, database.provider, names)),
            resets=tuple(resets(connection, database.provider, names)),
            scores=tuple(scores(connection, database.provider)),
            low_scores=tuple(low_scores(connection, database.provider, names)),
        )
    return replace(figures, freshness=tuple(freshness(database, tables, listed, now, margin)))


def _totals(tables: Mapping[CandleTable, Mapping[str, Iterable[Month]]], gaps: Mapping[str, int]) -> Totals:
    months = [month for entities in tables.values() for each in entities.values() for month in each]
    owed, stored = sum(month.owed for month in months), sum(month.stored for month in months)
    source = sum(month.source for month in months)
    return Totals(
        tables=len(tables),
        symbols=len({entity_id for entities in tables.values() for entity_id in entities}),
        owed=owed,
        stored=stored,
        source=source,
        missing=owed - stored - source,
        open_gaps=gaps.get("open", 0),
        source_gaps=gaps.get("source", 0),
        repaired_gaps=gaps.get("repaired", 0),
        completeness=share(stored, owed - source),
    )


def _listed(connection: Connection) -> dict[str, Listed]:
    found = {}
    for market_type in MarketType:
        table = TABLES[market_type.entity_table]
        listed = select(table.c.entity_id, table.c.name, table.c.end_date).where(of_own_exchange(connection, table))
        for entity_id, name, end in connection.execute(listed):
            found[entity_id] = Listed(name, end)
    return found


def _gaps_by_status(connection: Connection, provider: str) -> dict[str, int]:
    gap = TABLES["crypto_kdata_gap"].c
    counted = (
        select(gap.status, func.count()).where(gap.provider == provider, gap.status != "quiet").group_by(gap.status)
    )
    return {status: int(count) for status, count in connection.execute(counted)}


def _newest_gaps(connection: Connection, provider: str, names: Mapping[str, str]) -> list[Gap]:
    """The newest spans, those that are still missing before all that were repaired."""
    gap = TABLES["crypto_kdata_gap"].c
    is_repaired = case((gap.status == "repaired", 1), else_=0)
    found = connection.execute(
        select(
            *(gap.entity_id, gap.level, gap.start, gap.end, gap.missing, gap.status, gap.attempts),
            *(gap.first_seen, gap.last_checked, gap.repaired_at),
        )
        .where(gap.provider == provider, gap.status != "quiet")
        .order_by(is_repaired, gap.start.desc(), gap.entity_id, gap.level)
        .limit(MAX_GAPS)
    )
    return [Gap(name=names.get(row["entity_id"], row["entity_id"]), **row) for row in found.mappings()]
