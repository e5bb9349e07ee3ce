"""Which months of candles are old enough and whole enough to be archived.

A month goes when all of it lies before the limit and every candle it owes is there (stored, or archived before). One
that lacks a candle stays: the gap ledger still works on it. That includes months in which the exchange itself has no
candles, which therefore stay in the database for good. Moving the rows belongs to `database.archive.move`. Called by
`orchestration.assets.operations` and `cli.archive`. Times are milliseconds UTC.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from sqlalchemy import Connection, func, select

from crypto_assets.database.archive.manifest import ArchivedMonth, month_span
from crypto_assets.database.archive.move import archive_candles
from crypto_assets.database.engines import Database
from crypto_assets.database.expressions import within
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.intervals import PartitionScheme, partition_keys, to_milliseconds
from crypto_assets.domain.series import KDATA_TABLES, CandleTable
from crypto_assets.quality.gaps.coverage import Owed, owed_spans
from crypto_assets.quality.gaps.holes import LONGEST_HOLE
from crypto_assets.quality.gaps.missing import count_as_written, missing_spans


def plan_retention(
    database: Database, before: int, longest_hole: timedelta = LONGEST_HOLE
) -> dict[CandleTable, list[tuple[str, str]]]:
    """By candle table, the (entity id, month) that may be archived because they end at or before `before`.

    `longest_hole` is how long a hole between collected partitions may be to be owed.
    """
    planned = {}
    for candle_table in KDATA_TABLES.values():
        with database.connect(candle_table.name) as connection:
            months = archivable_months(connection, candle_table, before, longest_hole)
        if months:
            planned[candle_table] = months
    return planned


def apply_retention(
    database: Database, directory: Path, before: int, longest_hole: timedelta = LONGEST_HOLE
) -> list[ArchivedMonth]:
    """Moves what `plan_retention` finds into Parquet files below `directory`; the months that were moved.

    Raises DatabaseError where a file cannot be written or read; what was moved before stays archived.
    """
    archived: list[ArchivedMonth] = []
    for candle_table, months in plan_retention(database, before, longest_hole).items():
        archived += archive_candles(database, directory, candle_table, months)
    return archived


def archivable_months(
    connection: Connection, candle_table: CandleTable, before: int, longest_hole: timedelta = LONGEST_HOLE
) -> list[tuple[str, str]]:
    """The (entity id, month such as 2023-03-01) of a candle table that `archive_candles` may move, oldest first.

    Only months that end at or before `before` and have stored rows: archived ones too, where candles were revised or
    collected since. Owed is what `coverage` says, so a listing's first month is whole without the days before it.
    Months with a row that is not owed, or whose time is not as we write it, are left to the checks.
    """
    found = [
        (month, owed.entity_id)
        for owed in owed_spans(connection, candle_table, longest_hole=longest_hole)
        for month in _months_with_rows(connection, candle_table, owed, before)
        if _is_whole(connection, candle_table, owed, month)
    ]
    return [(entity_id, month) for month, entity_id in sorted(found)]


def _months_with_rows(connection: Connection, candle_table: CandleTable, owed: Owed, before: int) -> list[str]:
    """The months from the entity's first stored row to the last one that is owed and ends at or before `before`."""
    table = TABLES[candle_table.name]
    first = connection.scalar(select(func.min(table.c.timestamp)).where(table.c.entity_id == owed.entity_id))
    if first is None:
        return []
    end = min(max((span.end for span in owed.spans), default=0), before)
    keys = partition_keys(PartitionScheme.MONTHLY, to_milliseconds(first), end)
    return [key for key in keys if month_span(key).end <= before]


def _is_whole(connection: Connection, candle_table: CandleTable, owed: Owed, month: str) -> bool:
    table = TABLES[candle_table.name]
    span = month_span(month)
    wanted = owed.within(span)
    rows = select(func.count()).select_from(table).where(*within(table, owed.entity_id, span))
    stored = connection.scalar(rows) or 0
    written = (count_as_written(connection, candle_table, owed.entity_id, each) for each in wanted)
    if stored == 0 or stored != sum(written):
        return False
    return not any(missing_spans(connection, candle_table, owed.entity_id, each) for each in wanted)
