"""Marks: partitions of a candle table that changed since they were verified. Triggers on the table write them.

A run marks the partitions that it asks for or writes to, so that a run that dies is noticed. Verifying a partition
clears its mark. Where an examination found something wrong, the mark comes back with the checksum of what was found,
and every examination reads the partition again until nothing is wrong. The triggers are made by the schema's revisions.
Called by `quality.verification`, `quality.gaps.holdings`, `quality.gaps.due` and `collect.candles`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, Insert, delete, insert, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert

from crypto_assets.database.expressions import is_own
from crypto_assets.database.tables import CHANGES
from crypto_assets.domain.series import CandleTable


class Mark(NamedTuple):
    """A partition to be examined. `found` is the checksum that an examination found wanting, None before one."""

    entity_id: str
    partition: str
    found: str | None


def marks(connection: Connection, candle_table: CandleTable, entity_id: str | None = None) -> list[Mark]:
    """The marks of a candle table, of one entity where it is named, by entity and partition."""
    c = CHANGES.c
    where = [c.candles == candle_table.name, *([] if entity_id is None else [c.entity_id == entity_id])]
    rows = connection.execute(select(c.entity_id, c.partition, c.found).where(*where))
    return sorted(mark for mark in (Mark(*row) for row in rows.all()) if is_own(connection, mark.entity_id))


def clear_marks(connection: Connection, candle_table: CandleTable, entity_id: str, partitions: Collection[str]) -> None:
    """Deletes the marks of these partitions; to be called before the partitions are read.

    What somebody changes while they are read is then marked anew, and examined the next time.
    """
    if partitions:
        connection.execute(delete(CHANGES).where(*_of(candle_table, entity_id, partitions)))


def note_unverified(
    connection: Connection, candle_table: CandleTable, entity_id: str, partitions: Collection[str]
) -> None:
    """Marks partitions as not examined, whatever an earlier examination found there."""
    if partitions:
        of = _of(candle_table, entity_id, partitions)
        connection.execute(update(CHANGES).where(*of).values(found=None))
        marked = set(connection.scalars(select(CHANGES.c.partition).where(*of)))
        key = {"candles": candle_table.name, "entity_id": entity_id}
        rows = [key | {"partition": partition} for partition in partitions if partition not in marked]
        if rows:
            connection.execute(insert(CHANGES), rows)


def note_found(
    connection: Connection, candle_table: CandleTable, entity_id: str, found: Iterable[tuple[str, str]]
) -> None:
    """Marks each (partition, checksum of its content) as examined and found wanting; its mark was cleared before."""
    rows = [
        {"candles": candle_table.name, "entity_id": entity_id, "partition": partition, "found": digest}
        for partition, digest in found
    ]
    if rows:
        connection.execute(_where_none_is(connection.dialect.name), rows)


def _of(candle_table: CandleTable, entity_id: str, partitions: Collection[str]) -> tuple[ColumnElement[bool], ...]:
    c = CHANGES.c
    return c.candles == candle_table.name, c.entity_id == entity_id, c.partition.in_(partitions)


def _where_none_is(dialect: str) -> Insert:
    """An insert that leaves a mark as it is if somebody set it meanwhile: its partition is to be examined again."""
    if dialect == "postgresql":
        return postgresql_insert(CHANGES).on_conflict_do_nothing()
    return insert(CHANGES).prefix_with("OR IGNORE", dialect="sqlite").prefix_with("IGNORE", dialect="mysql")
