"""Tables into frames, by standard queries that never read a whole candle table to find a part of it.

    query_data("CryptoPair1mKdata", codes=["btcusdt"], start_timestamp="2024-08-01", end_timestamp="2024-08-02")
    query_data("crypto_pair", columns=["entity_id", "name"])
    latest_candles("cryptopair_1m_kdata", database)

Every statement is a SQLAlchemy select (`select_data`, `select_latest`, `select_entity_ids`), so that it can be
explained. What is not a plain lookup (gaps, duplicates, consistency) belongs to `quality`. Called by `cli`, `quality`
and users.
"""

from __future__ import annotations

import difflib
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pandas as pd
from sqlalchemy import Column, Connection, Select, Subquery, Table, func, select

from crypto_assets.database.engines import Database, open_database
from crypto_assets.database.result_frames import read_frame
from crypto_assets.database.tables import find_table, key_columns, time_column
from crypto_assets.domain.entities import entity_code

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Moment = str | date | datetime
"""A time as users write it: ISO text, date, datetime or pandas Timestamp; without an offset it is UTC."""

ORDERS = ("asc", "desc")


def query_data(
    table: str,
    *,
    codes: str | Iterable[str] | None = None,
    entity_ids: str | Iterable[str] | None = None,
    start_timestamp: Moment | None = None,
    end_timestamp: Moment | None = None,
    limit: int | None = None,
    columns: Sequence[str] | None = None,
    order: str | None = None,
    database: Database | None = None,
) -> pd.DataFrame:
    """The rows of a table (named by table or class name) that meet all conditions; an empty frame keeps its columns.

    Both ends of the time range belong to it. Rows are ordered by time, then entity: `order` is asc (the default) or
    desc, and `limit` keeps the first rows of that order. Times are naive UTC datetime64. Without `database`, the one
    that the environment's settings name. Raises ValueError for an unknown table, column or order, naming the nearest.
    """
    if database is None:
        from crypto_assets.settings import load_settings  # noqa: PLC0415 - only where no database is given

        settings = load_settings()
        database = open_database(settings.database_url, settings.environment)
        disposable: Database | None = database
    else:
        disposable = None
    found = find_table(table)
    # Made before anything is opened, so that a misspelt name is reported as such.
    options: dict[str, Any] = {
        "start": _moment(start_timestamp),
        "end": _moment(end_timestamp),
        "limit": limit,
        "columns": columns,
        "order": order or "asc",
    }
    chosen = _as_list(entity_ids)
    select_data(found, entity_ids=chosen if codes is None else [], **options)
    try:
        with database.connect(found.name) as connection:
            if codes is not None:
                with_codes = entity_ids_of_codes(connection, found, codes)
                chosen = with_codes if chosen is None else [each for each in chosen if each in set(with_codes)]
            return read_frame(connection, select_data(found, entity_ids=chosen, **options))
    finally:
        if disposable is not None:
            disposable.dispose()


def latest_candles(table: str, database: Database) -> pd.DataFrame:
    """The newest candle of every symbol in a candle table: all columns, one row per entity, ordered by entity."""
    found = find_table(table)
    with database.connect(found.name) as connection:
        return read_frame(connection, select_latest(found))


def entity_ids(connection: Connection, table: Table) -> list[str]:
    """The distinct entity ids stored in a table, in order; one index lookup each, however many rows there are."""
    return [row[0] for row in connection.execute(select_entity_ids(table))]


def entity_ids_of_codes(connection: Connection, table: Table, codes: str | Iterable[str]) -> list[str]:
    """The entity ids stored in a table whose code is among `codes` (in any case); unknown codes have none."""
    wanted = {entity_code(code) for code in _as_list(codes) or []}
    return [each for each in entity_ids(connection, table) if each.split("_", 2)[-1] in wanted]


def row_count(connection: Connection, table: Table) -> int:
    """The number of rows in a table. Reads one index of it from end to end."""
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def select_data(
    table: Table,
    *,
    entity_ids: Sequence[str] | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    limit: int | None = None,
    columns: Sequence[str] | None = None,
    order: str = "asc",
) -> Select[Any]:
    """The statement behind `query_data`: times naive UTC, both ends included.

    Without entity ids a candle or tick table is still read through its key, entity by entity; with a limit no more rows
    of each than that. Raises ValueError as `query_data` does.
    """
    if order not in ORDERS:
        raise ValueError(f"order {order!r} is neither {' nor '.join(ORDERS)}")
    if limit is not None and limit < 0:
        raise ValueError(f"limit {limit} is negative")
    if entity_ids is not None and "entity_id" not in table.columns:
        raise ValueError(f"{table.name} has no entities to choose by")
    shown = [_column(table, name) for name in columns] if columns is not None else list(table.columns)
    time = table.c[time_column(table)]
    conditions = _time_conditions(time, start, end)
    statement = select(*shown)
    if entity_ids is not None:
        # A single one is compared with =, so that the key also gives the order.
        column = table.c.entity_id
        conditions.append(column == entity_ids[0] if len(entity_ids) == 1 else column.in_(entity_ids))
    elif table.info.get("by_entity") and (conditions or limit is not None):
        statement = _by_entity(statement, table, start, end, limit, order)
    ordering = [time, *(table.c[name] for name in key_columns(table) if name != time.name)]
    statement = statement.where(*conditions).order_by(*(each.desc() if order == "desc" else each for each in ordering))
    return statement if limit is None else statement.limit(limit)


def select_latest(table: Table) -> Select[Any]:
    """The newest row of every entity, by one lookup in the key each."""
    entities = _entity_scan(table)
    other = table.alias("newest")
    newest = select(func.max(other.c.timestamp)).where(other.c.entity_id == entities.c.entity_id).scalar_subquery()
    return (
        select(table)
        .join(entities, table.c.entity_id == entities.c.entity_id)
        .where(table.c.timestamp == newest)
        .order_by(table.c.entity_id)
    )


def select_entity_ids(table: Table) -> Select[Any]:
    """The distinct entity ids in order, jumping through the index from each to the next."""
    if not table.info.get("by_entity"):
        return select(table.c.entity_id).distinct().order_by(table.c.entity_id)
    entities = _entity_scan(table)
    return select(entities.c.entity_id).order_by(entities.c.entity_id)


def _entity_scan(table: Table) -> Subquery:
    """The distinct entity ids. A recursive query, as SQLite reads every row for DISTINCT."""
    scan = select(func.min(table.c.entity_id).label("entity_id")).cte("entity_scan", recursive=True)
    other = table.alias("following")
    following = select(func.min(other.c.entity_id)).where(other.c.entity_id > scan.c.entity_id).scalar_subquery()
    scan = scan.union_all(select(following).select_from(scan).where(scan.c.entity_id.is_not(None)))
    # The last step finds none and yields NULL.
    return select(scan.c.entity_id).where(scan.c.entity_id.is_not(None)).subquery("entities")


def _by_entity(
    statement: Select[Any], table: Table, start: datetime | None, end: datetime | None, limit: int | None, order: str
) -> Select[Any]:
    """`statement` reading each entity's range through the key; where there is a limit, only as far as it reaches."""
    entities = _entity_scan(table)
    if limit is None or set(key_columns(table)) != {"entity_id", "timestamp"}:
        return statement.where(table.c.entity_id.in_(select(entities.c.entity_id)))
    other = table.alias("reached")
    first = (
        select(other.c.timestamp)
        .where(other.c.entity_id == entities.c.entity_id, *_time_conditions(other.c.timestamp, start, end))
        .order_by(other.c.timestamp.desc() if order == "desc" else other.c.timestamp)
        .limit(limit)
    )
    return statement.join(entities, table.c.entity_id == entities.c.entity_id).where(table.c.timestamp.in_(first))


def _time_conditions(time: Column[Any], start: datetime | None, end: datetime | None) -> list[Any]:
    lower = [] if start is None else [time >= start]
    return lower if end is None else [*lower, time <= end]


def _column(table: Table, name: str) -> Column[Any]:
    if name not in table.columns:
        near = difflib.get_close_matches(name, table.columns.keys(), n=3) or table.columns.keys()
        raise ValueError(f"{name!r} is no column of {table.name}; did you mean {', '.join(near)}?")
    return table.columns[name]


def _moment(value: Moment | None) -> datetime | None:
    if value is None:
        return None
    moment = pd.Timestamp(value)
    if pd.isna(moment):
        raise ValueError(f"{value!r} is no time")
    moment = moment.floor("us")
    return (moment if moment.tzinfo is None else moment.tz_convert(UTC).tz_localize(None)).to_pydatetime()


def _as_list(values: str | Iterable[str] | None) -> list[str] | None:
    if values is None:
        return None
    return [values] if isinstance(values, str) else list(values)
