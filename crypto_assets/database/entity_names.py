"""Which entity a name means. It is a ccxt symbol, the exchange's own id or a code; a ccxt symbol can be several's.

Binance has listed `IDOL` and `IDOLUSDT`, both of which ccxt calls `IDOL/USDT:USDT`. Which of several is meant is said
by `domain.entities.preference`. How people's other spellings are matched belongs to `symbols`. Called by `quality`,
`collect`, `orchestration` and `cli`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, Table, or_, select

from crypto_assets.database.expressions import of_own_exchange
from crypto_assets.domain.entities import preference

_Entity = TypeVar("_Entity")  # with name, exchange_id, code and is_active, as the rows of the entity tables have


_COLUMNS = ("id", "code", "name", "exchange_id", "status", "is_active", "list_date", "end_date")


def entities_called(
    connection: Connection, table: Table, names: Collection[str], *others: ColumnElement[Any]
) -> dict[str, Row[Any]]:
    """The provider's row of an entity table that each of `names` means, where there is one: names, dates, `others`."""
    c = table.c
    own = of_own_exchange(connection, table)
    called = or_(c.name.in_(names), c.exchange_id.in_(names), c.code.in_(names))
    return meant(connection.execute(select(*(c[name] for name in _COLUMNS), *others).where(own, called)), names)


def meant(entities: Iterable[_Entity], names: Collection[str]) -> dict[str, _Entity]:
    """Of `entities` the one that each of `names` means, where there is one."""
    wanted = set(names)
    found: dict[str, _Entity] = {}
    entity: Any
    for entity in sorted(entities, key=_preference):
        found |= {name: entity for name in (entity.name, entity.exchange_id, entity.code) if name in wanted}
    return found


def spellings(connection: Connection, table: Table, entity_ids: Collection[str] | None = None) -> dict[str, str]:
    """What each of these entities (or of all) is asked for by: its ccxt symbol, its exchange id if that means another.

    For texts that are read back: what is collected, decided or printed as a command.
    """
    c = table.c
    columns: list[ColumnElement[Any]] = [c.id, c.name, c.exchange_id, c.is_active]
    statement = select(*columns).where(of_own_exchange(connection, table))
    if entity_ids is not None:
        statement = statement.where(c.name.in_(select(c.name).where(c.id.in_(entity_ids))))
    rows = connection.execute(statement).all()
    by_name = {row.name: row.id for row in sorted(rows, key=_preference)}
    return {
        row.id: row.name if by_name[row.name] == row.id else row.exchange_id
        for row in rows
        if entity_ids is None or row.id in entity_ids
    }


def _preference(entity: Any) -> tuple[bool, bool, str]:
    return preference(entity.name, entity.exchange_id, is_active=entity.is_active)
