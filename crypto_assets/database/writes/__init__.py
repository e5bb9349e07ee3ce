"""Frames into tables: bulk, idempotent, with true counts, on every engine.

    with database.begin("cryptopair_1m_kdata") as connection:
        counts = upsert(connection, TABLES["cryptopair_1m_kdata"], frame)  # WriteCounts(inserted, changed, unchanged)

A row whose key is stored is rewritten only where a value differs, so running the same thing twice writes nothing the
second time. SQLite takes rows one by one (`sqlite`, `stored_values`); servers take them as one text (`text_rows`) into
a temporary table and compare there (`server`, `postgresql`, `mysql`); new history goes straight into PostgreSQL's
tables. What a row must be is judged by `frames` before; partitions are made by `Database.ensure_partitions` before.
Called by `collect`, `quality`, `database.archive.move` and the benchmarks.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError

from crypto_assets.database.errors import one_sentence
from crypto_assets.database.tables import key_columns
from crypto_assets.database.writes.counts import WriteCounts

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    import pandas as pd
    from sqlalchemy import Connection, Table

__all__ = ["WriteCounts", "upsert", "upsert_accepted"]


def upsert(
    connection: Connection, table: Table, rows: pd.DataFrame | Mapping[str, Any], *, only_existing: bool = False
) -> WriteCounts:
    """Stores every row of `rows` under its key, in the connection's transaction; where a key repeats the last wins.

    They are a frame, or by column numpy arrays of times, doubles, whole numbers or booleans, and texts that are the
    same in every row. The columns are any of the table's own (not the generated ones), the key's
    among them; columns they lack keep what is stored, or take their default. Times are naive UTC or aware; missing
    values become NULL; JSON columns hold Python objects. With `only_existing`, rows whose key is not stored are
    ignored. Raises ValueError for columns that do not fit, SQLAlchemy's IntegrityError for rows the table refuses,
    DatabaseError where a month has no partition.

    Doubles come back bit for bit, but for the sign of a zero (only PostgreSQL keeps it) and for infinities, which MySQL
    cannot store.
    """
    columns = {str(name): values for name, values in rows.items()}
    _check_columns(table, list(columns))
    if all(isinstance(values, str) or not len(values) for values in columns.values()):
        return WriteCounts()
    # Each engine's way, and what it needs, is loaded only where it is used.
    if connection.dialect.name == "sqlite":
        from crypto_assets.database.writes.sqlite import store  # noqa: PLC0415

        return store(connection, table, columns, only_existing=only_existing)
    from crypto_assets.database.writes.text_rows import as_frame  # noqa: PLC0415

    frame = as_frame(rows)
    if connection.dialect.name == "postgresql":
        from crypto_assets.database.writes.postgresql import PostgresqlWrite  # noqa: PLC0415

        return PostgresqlWrite(connection, table, frame).store(only_existing=only_existing)
    from crypto_assets.database.writes.mysql import MysqlWrite  # noqa: PLC0415

    return MysqlWrite(connection, table, frame).store(only_existing=only_existing)


def upsert_accepted(
    connection: Connection, table: Table, frame: pd.DataFrame
) -> tuple[WriteCounts, dict[Hashable, str]]:
    """Stores what `upsert` would, without the rows that the database refuses; why, by their labels in the frame.

    The halves of what is refused are tried apart. Raises as `upsert` does where the connection is lost.
    """
    try:
        with connection.begin_nested():
            return upsert(connection, table, frame), {}
    except (DBAPIError, ValueError) as error:
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            raise
        if len(frame) == 1:
            return WriteCounts(), {frame.index[0]: one_sentence(error)}
    middle = len(frame) // 2
    (first, refused), (second, also) = (
        upsert_accepted(connection, table, half) for half in (frame.iloc[:middle], frame.iloc[middle:])
    )
    return first + second, refused | also


def _check_columns(table: Table, names: Sequence[str]) -> None:
    own = [column.name for column in table.columns if column.computed is None]
    for name in names:
        if name not in own:
            kind = "is generated" if name in table.columns else "is no column"
            near = difflib.get_close_matches(name, own, n=3) or own
            raise ValueError(f"{name!r} {kind} of {table.name}; it stores {', '.join(near)}")
    missing = [name for name in key_columns(table) if name not in names]
    if missing:
        raise ValueError(f"the frame for {table.name} lacks {', '.join(missing)} of its key")
