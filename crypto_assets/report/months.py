"""Completeness by symbol and month, from the coverage and the ledger: never from the candles.

What a month looks like on the page belongs to `charts`. Called by `figures`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, func, literal_column, select

from crypto_assets.database.tables import TABLES
from crypto_assets.domain.intervals import PartitionScheme, partition_keys, partition_span, to_milliseconds
from crypto_assets.domain.series import KDATA_TABLES, CandleTable
from crypto_assets.domain.spans import Span

MAX_SYMBOLS, MAX_MONTHS = 60, 120
"""What a page shows of one table: more cells than these are neither legible nor quick to open."""


@dataclass(frozen=True)
class Month:
    """One symbol's candles of one month and table, as counts.

    `owed` are all that should exist, `source` those of them that the exchange is known not to have.
    """

    month: str  # 2023-03
    owed: int
    stored: int
    source: int

    @property
    def missing(self) -> int:
        """Owed candles that the exchange may have and that are not stored."""
        return self.owed - self.stored - self.source

    @property
    def completeness(self) -> float:
        """The stored share of what exists, 0 to 1; 1 where nothing does."""
        return share(self.stored, self.owed - self.source)


@dataclass(frozen=True)
class SymbolMonths:
    """One symbol's months with anything owed, oldest first."""

    entity_id: str
    name: str
    months: tuple[Month, ...]


@dataclass(frozen=True)
class TableMonths:
    """One candle table: its symbols by name, and how many symbols and months there are beside those here."""

    table: str
    symbols: tuple[SymbolMonths, ...]
    symbols_left_out: int
    months_left_out: int


@dataclass
class _Counts:
    expected: int = 0
    present: int = 0
    missing: dict[str, int] = field(default_factory=lambda: {"open": 0, "source": 0})

    def as_month(self, month: str) -> Month:
        source = self.missing["source"]
        # A day that was skipped between two collected ones has no coverage: the ledger alone says what it owes.
        owed = max(self.expected, self.present + source + self.missing["open"])
        return Month(month, owed, self.present, source)


def share(part: int, whole: int) -> float:
    """`part` of `whole`, 0 to 1; 1 where the whole is nothing."""
    return part / whole if whole else 1.0


def months_by_table(connection: Connection, provider: str) -> dict[CandleTable, dict[str, list[Month]]]:
    """Every collected month by table and entity id, oldest first, and the tables in their usual order."""
    counts: dict[tuple[CandleTable | None, str, str], _Counts] = defaultdict(_Counts)
    coverage = TABLES["crypto_kdata_coverage"].c
    month = func.substr(coverage.partition, literal_column("1"), literal_column("7")).label("month")
    collected = connection.execute(
        select(coverage.entity_id, coverage.level, month, func.sum(coverage.expected), func.sum(coverage.present))
        .where(coverage.provider == provider)
        .group_by(coverage.entity_id, coverage.level, "month")
    )
    for entity_id, level, of_month, expected, present in collected:
        found = counts[CandleTable.of(entity_id, level), entity_id, of_month]
        found.expected, found.present = int(expected), int(present)
    gap = TABLES["crypto_kdata_gap"].c
    ledger = connection.execute(
        select(gap.entity_id, gap.level, gap.start, gap.end, gap.missing, gap.status).where(
            gap.provider == provider, gap.status.in_(("open", "source"))
        )
    )
    for entity_id, level, start, end, missing, status in ledger:
        candle_table = CandleTable.of(entity_id, level)
        if candle_table is None:
            continue
        interval = candle_table.interval
        span = Span(to_milliseconds(start), to_milliseconds(end) + interval.milliseconds)
        keys = partition_keys(PartitionScheme.MONTHLY, *span)
        for key in keys:
            part = span.intersect(partition_span(PartitionScheme.MONTHLY, key))
            here = missing if len(keys) == 1 else interval.count(*part)
            counts[candle_table, entity_id, key[:7]].missing[status] += here
    tables: dict[CandleTable | None, dict[str, list[Month]]] = {}
    for (candle_table, entity_id, of_month), counted in sorted(counts.items(), key=lambda each: each[0][1:]):
        made = counted.as_month(of_month)
        if made.owed:
            tables.setdefault(candle_table, {}).setdefault(entity_id, []).append(made)
    return {each: tables[each] for each in KDATA_TABLES.values() if each in tables}


def shown_months(
    candle_table: CandleTable, entities: Mapping[str, list[Month]], names: Mapping[str, str]
) -> TableMonths:
    """What the page shows of a table: the newest months, and of too many symbols those that lack most."""
    every_month = {month.month for months in entities.values() for month in months}
    keys = partition_keys(PartitionScheme.MONTHLY, _start(min(every_month)), _start(max(every_month)) + 1)
    first = keys[-MAX_MONTHS:][0][:7]
    by_need = sorted(entities, key=lambda each: (-sum(month.missing for month in entities[each]), each))
    rows = [
        SymbolMonths(each, names.get(each, each), tuple(month for month in entities[each] if month.month >= first))
        for each in by_need[:MAX_SYMBOLS]
    ]
    return TableMonths(
        candle_table.name,
        tuple(sorted(rows, key=lambda row: (row.name, row.entity_id))),
        symbols_left_out=max(0, len(entities) - MAX_SYMBOLS),
        months_left_out=max(0, len(keys) - MAX_MONTHS),
    )


def _start(month: str) -> int:
    return partition_span(PartitionScheme.MONTHLY, f"{month}-01").start
