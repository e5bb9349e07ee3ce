"""The marks that triggers leave: partitions of a candle table that changed since they were verified.

A partition that we ask for or write to is marked too, so that a run that dies is noticed. A mark stays where an
examination found something wanting, with the checksum of what it found, and is looked at again each time until it is
not. Which triggers there are is said by the schema's revisions. Called by `verification`, `integrity` and
`orchestration`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, Insert, delete, insert, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert

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
    """Forgets the marks of these partitions, which is to be done before they are read.

    Then what somebody changes in the meantime is marked anew, and looked at the next time.
    """
    if partitions:
        connection.execute(delete(CHANGES).where(*_of(table, entity_id, partitions)))


def note_unverified(connection: Connection, table: str, entity_id: str, partitions: Collection[str]) -> None:
    """Marks partitions as to be looked at, whatever was found there before."""
    if partitions:
        of = _of(table, entity_id, partitions)
        connection.execute(update(CHANGES).where(*of).values(found=None))
        marked = set(connection.scalars(select(CHANGES.c.partition).where(*of)))
        key = {"candles": table, "entity_id": entity_id}
        rows = [key | {"partition": partition} for partition in partitions if partition not in marked]
        if rows:
            connection.execute(insert(CHANGES), rows)


def note_found(connection: Connection, table: str, entity_id: str, found: Iterable[tuple[str, str]]) -> None:
    """Marks each (partition, checksum of its content), whose mark was cleared, as looked at and wanting."""
    rows = [
        {"candles": table, "entity_id": entity_id, "partition": partition, "found": digest}
        for partition, digest in found
    ]
    if rows:
        connection.execute(_where_none_is(connection.dialect.name), rows)


def _of(table: str, entity_id: str, partitions: Collection[str]) -> tuple[ColumnElement[bool], ...]:
    c = CHANGES.c
    return c.candles == table, c.entity_id == entity_id, c.partition.in_(partitions)


def _where_none_is(dialect: str) -> Insert:
    """A mark that somebody set meanwhile stays as it is: its partition is to be looked at again."""
    if dialect == "postgresql":
        return postgresql_insert(CHANGES).on_conflict_do_nothing()
    return insert(CHANGES).prefix_with("OR IGNORE", dialect="sqlite").prefix_with("IGNORE", dialect="mysql")
