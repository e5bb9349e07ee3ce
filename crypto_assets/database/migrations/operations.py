"""What revision scripts are written with: column types of every engine, and schema changes that can be repeated.

A server commits each statement by itself, so a revision that was interrupted is half there and is run again: here a
table, column or index that is already as asked is left alone. SQLite changes a file in one transaction and needs no
such care. What a revision changes is said by the scripts in `versions`; nothing here may change what they mean.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql, postgresql

TIME = sa.Text().with_variant(sa.DateTime(), "postgresql").with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
DECIMAL = sa.Text().with_variant(sa.Numeric(36, 8), "postgresql", "mysql", "mariadb")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def string(length: int) -> Any:
    """VARCHAR(length), ordered byte by byte."""
    return sa.String(length).with_variant(postgresql.VARCHAR(length, collation="C"), "postgresql")


def column(name: str, kind: Any, *constraints: Any, **options: Any) -> sa.Column[Any]:
    """A NOT NULL column."""
    return sa.Column(name, kind, *constraints, nullable=False, **options)


def dialect() -> str:
    """sqlite, postgresql or mysql (MariaDB too)."""
    name = op.get_context().dialect.name
    return "mysql" if name == "mariadb" else name


def option(name: str) -> Any:
    """What `migrate` says of the run: `unit`, `schemas`, `partitioned` and `stored` (generated columns)."""
    return op.get_context().opts[name]


def unit() -> str:
    """The database that is being migrated: on SQLite `cryptopair_1m_kdata`, on a server all of `crypto_kdata`."""
    return str(option("unit"))


def schema(database: str) -> str | None:
    """The schema that holds the tables of a logical database; None on SQLite, where it is the file."""
    name: str | None = option("schemas").get(database)
    return name


def reference(database: str, target: str) -> str:
    """`table.column` of a logical database, as a foreign key names it."""
    within = schema(database)
    return target if within is None else f"{within}.{target}"


def create_table(database: str, name: str, *parts: Any, **options: Any) -> None:
    """Creates a table of a logical database unless it is there."""
    if not _there() or not _inspector().has_table(name, schema(database)):
        op.create_table(name, *parts, schema=schema(database), **options)


def drop_table(database: str, name: str, **options: Any) -> None:
    """Drops a table with its rows, if it is there."""
    if not _there() or _inspector().has_table(name, schema(database)):
        op.drop_table(name, schema=schema(database), **options)


def add_column(database: str, table: str, added: sa.Column[Any]) -> None:
    """Adds a column unless it is there."""
    if not _there() or added.name not in _columns(database, table):
        op.add_column(table, added, schema=schema(database))


def drop_column(database: str, table: str, name: str) -> None:
    """Drops a column, if it is there."""
    if not _there() or name in _columns(database, table):
        op.drop_column(table, name, schema=schema(database))


def create_index(database: str, name: str, table: str, columns: list[str], **options: Any) -> None:
    """Creates an index unless it is there."""
    if not _there() or name not in _indexes(database, table):
        op.create_index(name, table, columns, schema=schema(database), **options)


def drop_index(database: str, name: str, table: str) -> None:
    """Drops an index, if it is there."""
    if not _there() or name in _indexes(database, table):
        op.drop_index(name, table, schema=schema(database))


def _there() -> bool:
    """Whether there is a server to look at: not on SQLite, and not where SQL is only printed."""
    return dialect() != "sqlite" and not op.get_context().as_sql


def _inspector() -> sa.Inspector:
    # A new one each time: it remembers what it saw.
    return sa.inspect(op.get_bind())


def _columns(database: str, table: str) -> set[str]:
    return {found["name"] for found in _inspector().get_columns(table, schema(database))}


def _indexes(database: str, table: str) -> set[str | None]:
    if not _inspector().has_table(table, schema(database)):
        return set()
    return {found["name"] for found in _inspector().get_indexes(table, schema(database))}
