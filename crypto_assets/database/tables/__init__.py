"""The schema: every table of `docs/data-dictionary.md` as a SQLAlchemy Core Table.

Here belong names, columns, keys and the indexes that documented queries use. How a file is brought to this schema
belongs to `migrations` (whose scripts do not import this package: they are frozen), where a table lives to `engines`.
Called by everything that writes SQL.

A table belongs to a logical database, its `schema`: crypto_meta, crypto_kdata, crypto_tick, crypto_quality,
crypto_operations or crypto_security. On SQLite a logical database is one file, except that each candle table is a
file of its own; `physical_database` says which.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from crypto_assets.database.tables import candles, entities, operations, quality, ticks
from crypto_assets.database.tables.changes import crypto_kdata_change
from crypto_assets.database.tables.columns import KDATA, META, OPERATIONS, QUALITY, SECURITY, TICK, metadata
from crypto_assets.domain.entities import class_name

if TYPE_CHECKING:
    from sqlalchemy import Table

__all__ = [
    "CHANGES",
    "KDATA",
    "META",
    "OPERATIONS",
    "PHYSICAL_DATABASES",
    "QUALITY",
    "SECURITY",
    "TABLES",
    "TICK",
    "find_table",
    "key_columns",
    "logical_database",
    "metadata",
    "physical_database",
    "time_column",
]

TABLES: dict[str, Table] = {
    table.name: table for module in (entities, candles, ticks, quality, operations) for table in module.TABLES
}
"""Every table by name."""

CHANGES = crypto_kdata_change
"""What triggers note beside every candle table: no table of a user's, and on SQLite in every candle file."""


def logical_database(table: str) -> str:
    """The logical database (schema) of a table: `crypto_meta` for `crypto_pair`."""
    return str(TABLES[table].schema)


def physical_database(name: str) -> str:
    """The SQLite database that holds `name`, a table or a logical database: a candle table is its own.

    Raises ValueError for an unknown name, and for `crypto_kdata`, which is fourteen files.
    """
    if name in TABLES:
        return name if logical_database(name) == KDATA else logical_database(name)
    if name in PHYSICAL_DATABASES:
        return name
    hint = "is one database per candle table; name the table" if name == KDATA else _unknown(name)
    raise ValueError(f"{name!r} {hint}")


def find_table(name: str) -> Table:
    """The table called `name`: its table name, its class name or ZVT's spelling of it, in any case.

    `cryptopair_1m_kdata`, `CryptoPair1mKdata` and `Cryptopair1mKdata` are the same. Raises ValueError with the nearest
    names for anything else.
    """
    table = TABLES.get(name, _BY_CLASS_NAME.get(name.lower()))
    if table is None:
        raise ValueError(f"{name!r} {_unknown(name)}")
    return table


def key_columns(table: Table) -> list[str]:
    """The names of the primary key's columns, in the key's order."""
    return [column.name for column in table.primary_key.columns]


def time_column(table: Table) -> str:
    """The column that time ranges and the default order of a query refer to; `timestamp` unless the table says so."""
    return str(table.info.get("time", "timestamp"))


def _unknown(name: str) -> str:
    known = [*TABLES, *map(class_name, TABLES)]
    near = difflib.get_close_matches(name, known, n=3) or list(TABLES)[:3]
    return f"is no table; did you mean {', '.join(near)}?"


PHYSICAL_DATABASES: tuple[str, ...] = tuple(
    dict.fromkeys(table.name if table.schema == KDATA else str(table.schema) for table in TABLES.values())
)
"""Every SQLite database by name, `crypto_meta` first: it remembers whose data this is."""

_BY_CLASS_NAME = {class_name(name).lower(): table for name, table in TABLES.items()}
