"""The marks that triggers leave: partitions of a candle table that changed since they were verified.

A partition that we ask for or write to is marked too, so that a run that dies is noticed. A mark stays where an
examination found something wanting, with the checksum of what it found, and is looked at again each time until it is
not. Which triggers there are is said by the schema's revisions. Called by `verification`, `integrity` and
`orchestration`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from crypto_assets.database.tables import CHANGES


class Mark(NamedTuple):
    """A partition of an entity that is to be looked at; `found` is None until somebody did."""

    entity_id: str
    partition: str
    found: str | None


def marks(connection: Connection, table: str, entity_id: str | None = None) -> list[Mark]:
    """The marks of a candle table, of one entity where it is named, by entity and partition."""
    c = CHANGES.c
    where = [c.candles == table, *([] if entity_id is None else [c.entity_id == entity_id])]
    rows = connection.execute(select(c.entity_id, c.partition, c.found).where(*where))
    return sorted(Mark(*row) for row in rows.all())


def clear_marks(connection: Connection, table: str, entity_id: str, partitions: Collection[str]) -> None:
    """Forgets the marks of these partitions: what is there was verified."""
    if partitions:
        connection.execute(delete(CHANGES).where(*_of(table, entity_id), CHANGES.c.partition.in_(partitions)))


def note_unverified(connection: Connection, table: str, entity_id: str, partitions: Collection[str]) -> None:
    """Marks partitions as to be looked at, whatever was found there before."""
    if partitions:
        of = (*_of(table, entity_id), CHANGES.c.partition.in_(partitions))
        connection.execute(update(CHANGES).where(*of).values(found=None))
        marked = set(connection.scalars(select(CHANGES.c.partition).where(*of)))
        key = {"candles": table, "entity_id": entity_id}
        rows = [key | {"partition": partition} for partition in partitions if partition not in marked]
        if rows:
            connection.execute(insert(CHANGES), rows)


def note_found(connection: Connection, table: str, entity_id: str, found: Iterable[tuple[str, str]]) -> None:
    """Marks each (partition, checksum of its content) as looked at and wanting."""
    for partition, digest in found:
        of = (*_of(table, entity_id), CHANGES.c.partition == partition)
        if connection.scalar(select(CHANGES.c.candles).where(*of)) is None:
            key = {"candles": table, "entity_id": entity_id, "partition": partition}
            connection.execute(insert(CHANGES), key | {"found": digest})
        else:
            connection.execute(update(CHANGES).where(*of).values(found=digest))


def _of(table: str, entity_id: str) -> tuple[ColumnElement[bool], ...]:
    return CHANGES.c.candles == table, CHANGES.c.entity_id == entity_id
