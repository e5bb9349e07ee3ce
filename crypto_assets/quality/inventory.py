"""What is stored, by table and by symbol: counts from the coverage and the ledger of gaps, first and last by the key.

Candles are counted only in partitions that were not verified yet, as while a run collects them: the coverage has no
count of these. The oldest and the newest candle of every symbol of a table are looked up in one statement. Called by
`cli.stored`. Times are naive UTC.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, case, func, select

from crypto_assets.database.archive.manifest import archived_months
from crypto_assets.database.engines import Database
from crypto_assets.database.entity_reads import entity_scan
from crypto_assets.database.expressions import is_own, of_series
from crypto_assets.database.queries import row_count
from crypto_assets.database.symbols import listed_symbols
from crypto_assets.database.tables import QUALITY, TABLES
from crypto_assets.domain.intervals import Interval, partition_span
from crypto_assets.domain.series import KDATA_TABLES, CandleTable
from crypto_assets.domain.spans import Span, intersect, merge, subtract
from crypto_assets.domain.symbols import Listed
from crypto_assets.quality.gaps.missing import stored_counts

_COVERAGE, _GAP = TABLES["crypto_kdata_coverage"].c, TABLES["crypto_kdata_gap"].c
_ARCHIVE = TABLES["crypto_kdata_archive"].c


@dataclass(frozen=True)
class Stored:
    """One symbol's candles of one table, those in files included.

    `first` and `last` are open times. `source` counts the candles that the exchange is known not to have, `missing`
    those that it may have; `unverified` the partitions that are being collected, or whose run was ended
    before they were verified.
    """

    candle_table: CandleTable
    symbol: Listed
    first: datetime | None
    last: datetime | None
    rows: int
    source: int
    missing: int
    unverified: int

    @property
    def complete(self) -> float:
        """The stored share of what exists, 0 to 1; 1 where nothing does."""
        return self.rows / (self.rows + self.missing) if self.rows + self.missing else 1.0


@dataclass(frozen=True)
class _Covered:
    """`present` are the candles of verified partitions; `unverified` the spans of the others, in order of time."""

    expected: int
    present: int
    unverified: list[Span]


def table_sizes(database: Database) -> dict[str, int]:
    """How many rows each table has: those of verified partitions as they were counted, all others counted now.

    Raises DatabaseNotReady where nothing was migrated.
    """
    with database.connect(QUALITY) as connection:
        covered = _covered(connection, database.provider)
    sizes = {}
    for name, table in TABLES.items():
        if candle_table := KDATA_TABLES.get(name):
            of_table = covered.get(candle_table, {})
            sizes[name] = sum(each.present for each in of_table.values())
            if any(each.unverified for each in of_table.values()):
                with database.connect(name) as connection:
                    sizes[name] += sum(_unverified_rows(connection, candle_table, of_table, database.provider).values())
        else:
            with database.connect(name) as connection:
                sizes[name] = row_count(connection, table)
    return sizes


def stored_series(database: Database, tables: Collection[CandleTable]) -> list[Stored]:
    """What is stored of every collected symbol in these candle tables, table by table, by name.

    Raises DatabaseNotReady where nothing was migrated.
    """
    with database.connect(QUALITY) as connection:
        covered = _covered(connection, database.provider)
        lacking = _lacking(connection, database.provider)
    found = []
    for candle_table in tables:
        of_table = covered.get(candle_table, {})
        if not of_table:
            continue
        with database.connect(candle_table.name) as connection:
            listed = {each.entity_id: each for each in listed_symbols(connection, TABLES[candle_table.name])}
            ends = _ends(connection, candle_table, database)
            counted = _unverified_rows(connection, candle_table, of_table, database.provider)
        for entity_id, counts in of_table.items():
            symbol = listed.get(entity_id, Listed(entity_id, entity_id, entity_id.split("_", 2)[-1]))
            open_, source = (lacking[candle_table].get((entity_id, status), 0) for status in ("open", "source"))
            rows = counts.present + counted.get(entity_id, 0)
            owed = max(counts.expected, rows + source + open_)
            first, last = ends.get(entity_id, (None, None))
            missing = owed - rows - source
            found.append(Stored(candle_table, symbol, first, last, rows, source, missing, len(counts.unverified)))
    order = {each: place for place, each in enumerate(tables)}
    return sorted(found, key=lambda each: (order[each.candle_table], each.symbol.name, each.symbol.code))


def _covered(connection: Connection, provider: str) -> dict[CandleTable | None, dict[str, _Covered]]:
    """Counts by candle table and entity id."""
    rows = connection.execute(
        select(
            *(_COVERAGE.entity_id, _COVERAGE.level, func.sum(_COVERAGE.expected)),
            func.sum(case((_COVERAGE.digest != "", _COVERAGE.present), else_=0)),
        )
        .where(_COVERAGE.provider == provider)
        .group_by(_COVERAGE.entity_id, _COVERAGE.level)
    )
    found: dict[CandleTable | None, dict[str, _Covered]] = defaultdict(dict)
    for entity_id, level, expected, present in rows:
        found[CandleTable.of(entity_id, level)][entity_id] = _Covered(int(expected), int(present), [])
    unverified = select(_COVERAGE.entity_id, _COVERAGE.level, _COVERAGE.partition).where(
        _COVERAGE.provider == provider, _COVERAGE.digest == ""
    )
    for entity_id, level, partition in connection.execute(unverified.order_by(_COVERAGE.partition)):
        span = partition_span(Interval(level).partition_scheme, partition)
        found[CandleTable.of(entity_id, level)][entity_id].unverified.append(span)
    return found


def _unverified_rows(
    connection: Connection, candle_table: CandleTable, of_table: Mapping[str, _Covered], provider: str
) -> dict[str, int]:
    """How many candles the unverified partitions of each entity have, in the table or in its files.

    A statement for each run of partitions, of all symbols that share it.
    """
    spans = {entity_id: merge(each.unverified) for entity_id, each in of_table.items() if each.unverified}
    if not spans:
        return {}
    interval = candle_table.interval
    archived: dict[str, list[Span]] = defaultdict(list)
    for month in archived_months(connection, candle_table, provider):
        archived[month.entity_id] += filter(None, [month.continuous_span(interval.milliseconds)])
    rows: dict[str, int] = defaultdict(int)
    sharing: dict[Span, list[str]] = defaultdict(list)
    for entity_id, unverified in spans.items():
        rows[entity_id] = sum(interval.count(*span) for span in intersect(unverified, archived[entity_id]))
        for span in subtract(unverified, archived[entity_id]):
            sharing[span].append(entity_id)
    for span, entity_ids in sharing.items():
        for entity_id, count in stored_counts(connection, candle_table, entity_ids, span).items():
            rows[entity_id] += count
    return rows


def _lacking(connection: Connection, provider: str) -> Mapping[CandleTable | None, dict[tuple[str, str], int]]:
    """How many candles the ledger says are missing, by candle table, by entity id and whose gap it is."""
    rows = connection.execute(
        select(_GAP.entity_id, _GAP.level, _GAP.status, func.sum(_GAP.missing))
        .where(_GAP.provider == provider, _GAP.status.in_(("open", "source")))
        .group_by(_GAP.entity_id, _GAP.level, _GAP.status)
    )
    found: dict[CandleTable | None, dict[tuple[str, str], int]] = defaultdict(dict)
    for entity_id, level, status, missing in rows:
        found[CandleTable.of(entity_id, level)][entity_id, status] = int(missing)
    return found


def _ends(
    connection: Connection, candle_table: CandleTable, database: Database
) -> dict[str, tuple[datetime, datetime]]:
    """The first and last open time of every entity, in the table or in its files."""
    table = TABLES[candle_table.name]
    entities = entity_scan(table, database.engine)
    of_entity = table.c.entity_id == entities.c.entity_id
    first, last = (
        select(end(table.c.timestamp)).where(of_entity).correlate(entities).scalar_subquery()
        for end in (func.min, func.max)
    )
    stored = connection.execute(select(entities.c.entity_id, first, last).where(entities.c.entity_id.is_not(None)))
    found = {each: (oldest, newest) for each, oldest, newest in stored if is_own(connection, each)}
    archived = connection.execute(
        select(_ARCHIVE.entity_id, func.min(_ARCHIVE.first_timestamp), func.max(_ARCHIVE.last_timestamp))
        .where(*of_series(_ARCHIVE, database.provider, candle_table))
        .group_by(_ARCHIVE.entity_id)
    )
    for entity_id, oldest, newest in archived:
        known = found.get(entity_id, (oldest, newest))
        found[entity_id] = min(known[0], oldest), max(known[1], newest)
    return found
