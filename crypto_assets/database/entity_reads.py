"""How the rows of many entities are read through the key, on each engine: never a table from end to end.

Planners differ. SQLite and PostgreSQL read every row for DISTINCT, so that the entities are found by a recursive query;
MySQL and MariaDB jump for DISTINCT by themselves, and read everything for that recursive query. PostgreSQL keeps to the
key with LATERAL alone; SQLite and MariaDB have none. Which rows are asked for belongs to `queries`, which calls this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, FromClause, Select, String, Table, column, func, select, true, union_all, values

from crypto_assets.database.tables import key_columns

if TYPE_CHECKING:
    from collections.abc import Sequence


def entity_scan(table: Table, engine: str) -> FromClause:
    """The distinct entity ids of a candle or tick table, one index lookup each."""
    if engine == "mysql":
        return select(table.c.entity_id).distinct().subquery("entities")
    scan = select(func.min(table.c.entity_id).label("entity_id")).cte("entity_scan", recursive=True)
    other = table.alias("following")
    following = select(func.min(other.c.entity_id)).where(other.c.entity_id > scan.c.entity_id).scalar_subquery()
    scan = scan.union_all(select(following).select_from(scan).where(scan.c.entity_id.is_not(None)))
    # The last step finds none and yields NULL.
    return select(scan.c.entity_id).where(scan.c.entity_id.is_not(None)).subquery("entities")


def latest_rows(table: Table, engine: str) -> Select[Any]:
    """The newest row of every entity, ordered by entity, by one lookup in the key each."""
    statement = select(table).order_by(table.c.entity_id)
    if engine == "mysql":
        newest = select(table.c.entity_id, func.max(table.c.timestamp).label("timestamp")).group_by(table.c.entity_id)
        found = newest.subquery("newest")
        return statement.join(
            found, (table.c.entity_id == found.c.entity_id) & (table.c.timestamp == found.c.timestamp)
        )
    source = rows_by_entity(table, engine, None, [], 1, "desc")
    if source is not None:
        return select(*source.c).order_by(source.c.entity_id)
    entities = entity_scan(table, engine)
    other = table.alias("newest")
    last = select(func.max(other.c.timestamp)).where(other.c.entity_id == entities.c.entity_id).scalar_subquery()
    return statement.join(entities, table.c.entity_id == entities.c.entity_id).where(table.c.timestamp == last)


def rows_by_entity(
    table: Table,
    engine: str,
    entity_ids: Sequence[str] | None,
    conditions: Sequence[ColumnElement[bool]],
    limit: int | None,
    order: str,
) -> FromClause | None:
    """The rows that meet `conditions`, of each entity at most the first `limit`, as a table in the place of `table`.

    None where the engine reads plain conditions as well, or has no such form: MySQL and MariaDB must be told the
    entities. `entity_ids` are all those stored if None.
    """
    if engine == "postgresql" and (entity_ids is None or (limit is not None and len(entity_ids) > 1)):
        if entity_ids is None:
            entities = entity_scan(table, engine)
        else:
            entities = values(column("entity_id", String), name="entities").data([(each,) for each in entity_ids])
        own = _first_rows(table, table.c.entity_id == entities.c.entity_id, conditions, limit, order)
        # OFFSET, if only 0, keeps PostgreSQL from making a join of it that reads whole partitions.
        rows = (own.offset(0) if limit is None else own).correlate(entities).lateral("own")
        return select(*rows.c).select_from(entities.join(rows, true())).subquery("by_entity")
    if engine == "mysql" and entity_ids is not None and limit is not None and len(entity_ids) > 1:
        each = [
            _first_rows(table, table.c.entity_id == entity_id, conditions, limit, order).subquery(f"own_{position}")
            for position, entity_id in enumerate(entity_ids)
        ]
        return union_all(*(select(own) for own in each)).subquery("by_entity")
    return None


def _first_rows(
    table: Table,
    of_entity: ColumnElement[bool],
    conditions: Sequence[ColumnElement[bool]],
    limit: int | None,
    order: str,
) -> Select[Any]:
    statement = select(table).where(of_entity, *conditions)
    if limit is None:
        return statement
    ordering = [table.c.timestamp, *(table.c[name] for name in key_columns(table) if name == "id")]
    return statement.order_by(*(each.desc() if order == "desc" else each for each in ordering)).limit(limit)
