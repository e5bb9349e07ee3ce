"""Checks of the entity tables: ids, nulls, references.

Called by `orchestration.checks.definitions` and `quality.vitals`.
"""

from __future__ import annotations

from sqlalchemy import Connection, Table, and_, exists, func, or_, select

from crypto_assets.quality.rules.findings import Finding, find_rows


def duplicate_ids(connection: Connection, table: Table) -> Finding:
    """Rows that share their entity id with another."""
    shared = select(table.c.entity_id).group_by(table.c.entity_id).having(func.count() > 1)
    return find_rows(connection, table, table.c.entity_id.in_(shared), [table.c.id, table.c.entity_id])


def null_ids(connection: Connection, table: Table) -> Finding:
    """Rows without an id, an entity id, a code or a name."""
    columns = [table.c.id, table.c.entity_id, table.c.code, table.c.name]
    offends = or_(*(or_(column.is_(None), column == "") for column in columns))
    return find_rows(connection, table, offends, columns)


def unresolved_references(connection: Connection, table: Table, assets: Table) -> Finding:
    """Rows of a pair or perpetual table that refer to a currency that is not in `assets`."""
    references = [column for column in table.c if column.name.endswith("_asset_id")]
    offends = or_(
        *(and_(column.is_not(None), ~exists().where(assets.c.id == column).correlate(table)) for column in references)
    )
    return find_rows(connection, table, offends, [table.c.id, *references])
