"""SQLite's way of writing: one statement for many rows of Python values.

How a column becomes what SQLite stores is in `stored_values`. Called by `writes` only.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from crypto_assets.database.tables import key_columns
from crypto_assets.database.writes.counts import WriteCounts
from crypto_assets.database.writes.stored_values import column_values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, Table

_SCAN_LIMIT = 8
"""A key range is counted only up to this many times the frame's rows: beyond, looking at each key is cheaper."""

_ROWS_FOR_LITERALS = 200
"""From so many new rows on, a statement of their own costs less than binding the texts that they share to each row."""


def store(connection: Connection, table: Table, columns: Mapping[str, Any], *, only_existing: bool) -> WriteCounts:
    """Stores rows as `writes.upsert` says, at least one; the columns are the right ones."""
    count = next(len(column) for column in columns.values() if not isinstance(column, str))
    values = {
        name: [column] * count if isinstance(column, str) else column_values(column, table.c[name])
        for name, column in columns.items()
    }
    keys = key_columns(table)
    values = _distinct(values, keys)
    statements = _statements(table, _qualified(connection, table), tuple(values))
    if only_existing:
        return _update(connection, statements, values, keys)
    return _insert(connection, statements, values, keys)


class _Statements(NamedTuple):
    insert: str  # does nothing where the key is stored
    insert_values: str  # the same, with {} where the values of a row stand
    upsert: str
    update: str
    count_range: str
    count_keys: str


def _insert(connection: Connection, sql: _Statements, values: dict[str, list[Any]], keys: list[str]) -> WriteCounts:
    lead, last = [values[name] for name in keys[:-1]], values[keys[-1]]
    count = len(last)
    before = limit = _SCAN_LIMIT * count
    if None not in last and all(column.count(column[0]) == count for column in lead):
        bounds = (*(column[0] for column in lead), min(last), max(last))
        before = _scalar(connection, sql.count_range, (*bounds, limit))
        if before == 0:
            # Without a word about updates, whose triggers make SQLite keep a journal of each row (docs/decisions/0014).
            return WriteCounts(inserted=_insert_new(connection, sql, values, count))
    rows = list(zip(*values.values(), strict=True))
    if before < limit - count:
        written = _run_many(connection, sql.upsert, rows)
        inserted = _scalar(connection, sql.count_range, (*bounds, limit)) - before
        return WriteCounts(inserted, written - inserted, count - written)
    inserted = _run_many(connection, sql.insert, rows)
    changed = _run_many(connection, sql.upsert, rows) if inserted < count else 0
    return WriteCounts(inserted, changed, count - inserted - changed)


def _insert_new(connection: Connection, sql: _Statements, values: dict[str, list[Any]], count: int) -> int:
    """Inserts rows whose keys are not stored; texts that all of them share are written into the statement."""
    shared = {name for name, column in values.items() if count >= _ROWS_FOR_LITERALS and _is_shared_text(column)}
    written = ", ".join(_literal(column[0]) if name in shared else "?" for name, column in values.items())
    bound = zip(*(column for name, column in values.items() if name not in shared), strict=True)
    return _run_many(connection, sql.insert_values.replace("{}", written, 1), list(bound))


def _is_shared_text(column: list[Any]) -> bool:
    # SQLite ends a statement at a NUL, and a text with one can be bound.
    return isinstance(column[0], str) and "\0" not in column[0] and column.count(column[0]) == len(column)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _update(connection: Connection, sql: _Statements, values: dict[str, list[Any]], keys: list[str]) -> WriteCounts:
    wanted = list(zip(*(values[name] for name in keys), strict=True))
    existing = _scalar(connection, sql.count_keys, (orjson.dumps(wanted).decode(),))
    others = [values[name] for name in values if name not in keys]
    if not others:
        return WriteCounts(unchanged=existing)
    rows = [rest + key + rest for key, rest in zip(wanted, zip(*others, strict=True), strict=True)]
    changed = _run_many(connection, sql.update, rows)
    return WriteCounts(changed=changed, unchanged=existing - changed)


def _run_many(connection: Connection, statement: str, rows: list[tuple[Any, ...]]) -> int:
    # Below SQLAlchemy's own constructs: compiling and binding there costs as much as storing the row.
    return connection.exec_driver_sql(statement, rows).rowcount


def _scalar(connection: Connection, statement: str, parameters: tuple[Any, ...]) -> int:
    return int(connection.exec_driver_sql(statement, parameters).scalar_one())


def _distinct(values: dict[str, list[Any]], keys: list[str]) -> dict[str, list[Any]]:
    """The same columns with each key once, its last row."""
    if len(set(values[keys[-1]])) == len(values[keys[-1]]):
        return values
    key_values = list(zip(*(values[name] for name in keys), strict=True))
    if len(set(key_values)) == len(key_values):
        return values
    last = sorted({key: position for position, key in enumerate(key_values)}.values())
    return {name: [column[position] for position in last] for name, column in values.items()}


def _qualified(connection: Connection, table: Table) -> str:
    translated: dict[str | None, str | None] = connection.get_execution_options().get("schema_translate_map") or {}
    schema = translated.get(table.schema, table.schema)
    return f'"{table.name}"' if schema is None else f'"{schema}"."{table.name}"'


@lru_cache(maxsize=256)
def _statements(table: Table, target: str, names: tuple[str, ...]) -> _Statements:
    """The SQL of one table and set of columns."""
    keys = key_columns(table)
    others = [name for name in names if name not in keys]
    own = _quoted(table.name)
    differs = " OR ".join(f"{own}.{_quoted(name)} IS NOT excluded.{_quoted(name)}" for name in others)
    assigned = ", ".join(f"{_quoted(name)} = excluded.{_quoted(name)}" for name in others)
    insert_values = (
        f"INSERT INTO {target} ({', '.join(map(_quoted, names))}) VALUES ({{}})"
        f" ON CONFLICT ({', '.join(map(_quoted, keys))}) DO "
    )
    insert = insert_values.format(", ".join("?" * len(names)))
    # Values, key, values again: numbered placeholders for a sequence end with Python 3.14.
    update = (
        f"UPDATE {target} SET {', '.join(f'{_quoted(name)} = ?' for name in others)}"
        f" WHERE {' AND '.join(f'{_quoted(name)} = ?' for name in keys)}"
        f" AND ({' OR '.join(f'{_quoted(name)} IS NOT ?' for name in others)})"
    )
    in_range = " AND ".join([*(f"{_quoted(name)} = ?" for name in keys[:-1]), f"{_quoted(keys[-1])} BETWEEN ? AND ?"])
    same_key = " AND ".join(f"{_quoted(name)} = json_extract(wanted.value, '$[{i}]')" for i, name in enumerate(keys))
    return _Statements(
        insert=f"{insert}NOTHING",
        insert_values=f"{insert_values}NOTHING",
        upsert=f"{insert}UPDATE SET {assigned} WHERE {differs}" if others else f"{insert}NOTHING",
        update=update,
        count_range=f"SELECT count(*) FROM (SELECT 1 FROM {target} WHERE {in_range} LIMIT ?)",
        count_keys=f"SELECT count(*) FROM json_each(?) AS wanted CROSS JOIN {target} ON {same_key}",
    )


def _quoted(name: str) -> str:
    return f'"{name}"'
