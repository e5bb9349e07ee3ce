"""Tables into frames, by standard queries that never read a whole candle table to find a part of it.

    query_data("CryptoPair1mKdata", codes=["btcusdt"], start_timestamp="2024-08-01", end_timestamp="2024-08-02")
    query_data("crypto_pair", columns=["entity_id", "name"])
    latest_candles("cryptopair_1m_kdata", database)

Every statement is a SQLAlchemy select (`select_data`, `select_latest`, `select_entity_ids`), so that it can be
explained. What is not a plain lookup (gaps, duplicates, consistency) belongs to `quality`. Called by `cli`, `quality`
and users. `query_data` alone also reads candles that were archived; how is said by `database.archive.reads`.
"""

from __future__ import annotations

import difflib
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from sqlalchemy import Column, Connection, Select, Table, func, select
from sqlalchemy.exc import DBAPIError

from crypto_assets.database.archive.manifest import ArchivedMonth, archived_months
from crypto_assets.database.archive.reads import KEY, Part, with_archived
from crypto_assets.database.engines import Database, open_database
from crypto_assets.database.engines.sqlite import SqliteDatabase
from crypto_assets.database.entity_reads import entity_scan, latest_rows, rows_by_entity
from crypto_assets.database.errors import DatabaseError
from crypto_assets.database.result_frames import read_frame
from crypto_assets.database.symbols import codes_of
from crypto_assets.database.tables import QUALITY, find_table, key_columns, time_column
from crypto_assets.domain.entities import entity_code, entity_id
from crypto_assets.domain.series import KDATA_TABLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Moment = str | date | datetime
"""A time as users write it: ISO text, date, datetime or pandas Timestamp; without an offset it is UTC."""

ORDERS = ("asc", "desc")

MOST_ROWS = 2**63 - 1
"""The largest limit that the engines can count to."""


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
    archive_directory: Path | None = None,
) -> pd.DataFrame:
    """The rows of a table (named by table or class name) that meet all conditions; an empty frame keeps its columns.

    Both ends of the time range belong to it. Rows are ordered by time, then entity: `order` is asc (the default) or
    desc, and `limit` keeps the first rows of that order. `codes` may be names, too, and have wildcards: `BTC/USDT`,
    `*/USDT`. Times are naive UTC datetime64. Without `database`, the one
    that the environment's settings name. Raises ValueError for an unknown table, column or order, naming the nearest,
    and for a start after the end.

    Archived candles are read from their files in `archive_directory`: by default the settings' one, or for a SQLite
    database that is given the directory `archive` within its own. Raises DatabaseError where one is needed and cannot
    be read: there are never silently fewer rows.
    """
    found = find_table(table)
    start, end = _moment(start_timestamp), _moment(end_timestamp)
    if start is not None and end is not None and start > end:
        raise ValueError(f"the start {start:%Y-%m-%d %H:%M:%S} is after the end {end:%Y-%m-%d %H:%M:%S}")
    # Made before anything is opened, so that a misspelt name is reported as such.
    options: dict[str, Any] = {
        "start": start,
        "end": end,
        "limit": limit,
        "columns": columns,
        "order": order or "asc",
    }
    chosen = _as_list(entity_ids)
    select_data(found, entity_ids=chosen if codes is None else [], **options)
    if database is not None:
        if archive_directory is None and isinstance(database, SqliteDatabase):
            archive_directory = database.directory / "archive"
        return _query(database, found, _as_list(codes), chosen, archive_directory, options)
    from crypto_assets.settings import load_settings  # noqa: PLC0415 - only where no database is given

    settings = load_settings()
    database = open_database(settings.database_url, settings.environment)
    try:
        directory = archive_directory or settings.archive_directory
        return _query(database, found, _as_list(codes), chosen, directory, options)
    finally:
        database.dispose()


_ATTEMPTS = 5
"""How often a query begins anew because candles were archived or restored while it read."""


def _query(
    database: Database,
    table: Table,
    codes: list[str] | None,
    chosen: list[str] | None,
    directory: Path | None,
    options: dict[str, Any],
) -> pd.DataFrame:
    """The stored rows and, of a candle table, the archived ones.

    On SQLite manifest and candles are two files, each seen at a moment of its own, so that rows archived in between
    would be in neither: the manifest is read again afterwards, and if it changed, everything. Servers show one moment.
    """
    for _ in range(_ATTEMPTS):
        with database.connect(table.name) as connection:
            codes = None if codes is None else codes_of(connection, table, codes)
            months = _archived(connection, database, table, codes, chosen, options)
            ids = chosen
            if codes is not None:
                with_codes = entity_ids_of_codes(connection, table, codes)
                ids = with_codes if chosen is None else [each for each in chosen if each in set(with_codes)]
            if ids is None and database.engine == "mysql" and table.info.get("by_entity"):
                ids = entity_ids(connection, table)
            columns = list(dict.fromkeys(options["columns"] or table.columns.keys()))
            needed = {"columns": list(dict.fromkeys([*columns, *KEY]))} if months else {}
            statement = select_data(table, entity_ids=ids, engine=database.engine, **options | needed)
            stored = read_frame(connection, statement)
            if table.name in KDATA_TABLES and database.engine == "sqlite":
                connection.rollback()
                if _archived(connection, database, table, codes, chosen, options) != months:
                    continue
        if not months:
            return stored
        part = Part(options["start"], options["end"], options["limit"], columns, options["order"])
        try:
            return with_archived(stored, months, directory, table, part)
        except DatabaseError:
            with database.connect(table.name) as connection:
                if _archived(connection, database, table, codes, chosen, options) == months:
                    raise
    raise DatabaseError(f"The archive of {table.name} changed each time it was read; try again.")


def _archived(
    connection: Connection,
    database: Database,
    table: Table,
    codes: list[str] | None,
    chosen: list[str] | None,
    options: dict[str, Any],
) -> list[ArchivedMonth]:
    """The archived months that a query touches; none for other tables, and where there is no manifest."""
    candle_table = KDATA_TABLES.get(table.name)
    if candle_table is None or options["limit"] == 0:
        return []
    if codes is not None:
        # By their names: an entity of which everything is archived is not in the table.
        kind = candle_table.entity_type
        with_codes = {entity_id(kind, database.provider, entity_code(code)) for code in codes}
        chosen = sorted(with_codes if chosen is None else with_codes.intersection(chosen))
    span = {"start": options["start"], "end": options["end"]}
    try:
        return archived_months(connection, candle_table, database.provider, entity_ids=chosen, **span)
    except DBAPIError:
        connection.rollback()
        if database.revision(QUALITY) is not None:
            raise
        return []


def latest_candles(table: str, database: Database) -> pd.DataFrame:
    """The newest candle of every symbol in a candle table: all columns, one row per entity, ordered by entity."""
    found = find_table(table)
    with database.connect(found.name) as connection:
        return read_frame(connection, select_latest(found, database.engine))


def entity_ids(connection: Connection, table: Table) -> list[str]:
    """The distinct entity ids stored in a table, in order; one index lookup each, however many rows there are."""
    return [row[0] for row in connection.execute(select_entity_ids(table, connection.dialect.name))]


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
    engine: str = "sqlite",
) -> Select[Any]:
    """The statement behind `query_data` for one engine: times naive UTC, both ends included.

    Without entity ids a candle or tick table is still read through its key, entity by entity; with a limit no more rows
    of each than that. MySQL alone must be told the entities for that. Raises ValueError as `query_data` does.
    """
    if order not in ORDERS:
        raise ValueError(f"order {order!r} is neither {' nor '.join(ORDERS)}")
    if limit is not None and not 0 <= limit <= MOST_ROWS:
        raise ValueError(f"limit {limit} is not from 0 to {MOST_ROWS}")
    if columns is not None and not columns:
        raise ValueError(f"no column of {table.name} is named; it has {', '.join(table.columns.keys())}")
    if entity_ids is not None and "entity_id" not in table.columns:
        raise ValueError(f"{table.name} has no entities to choose by")
    shown = [_column(table, name) for name in columns] if columns is not None else list(table.columns)
    time = table.c[time_column(table)]
    conditions = _time_conditions(time, start, end)
    statement = select(*shown)
    by_entity = table.info.get("by_entity") and (conditions or limit is not None)
    source = rows_by_entity(table, engine, entity_ids, conditions, limit, order) if by_entity else None
    if source is not None:
        statement, conditions = select(*(source.c[column.name] for column in shown)), []
    elif entity_ids is not None:
        # A single one is compared with =, so that the key also gives the order.
        column = table.c.entity_id
        conditions.append(column == entity_ids[0] if len(entity_ids) == 1 else column.in_(entity_ids))
    elif by_entity and engine == "sqlite":
        statement = _by_entity(statement, table, start, end, limit, order)
    # MariaDB would sort by what is equal everywhere.
    known = {time.name, "entity_id"} if entity_ids is not None and len(entity_ids) == 1 else {time.name}
    names = [time.name, *(name for name in key_columns(table) if name not in known)]
    ordering = [(table if source is None else source).c[name] for name in names]
    statement = statement.where(*conditions).order_by(*(each.desc() if order == "desc" else each for each in ordering))
    return statement if limit is None else statement.limit(limit)


def select_latest(table: Table, engine: str = "sqlite") -> Select[Any]:
    """The newest row of every entity, by one lookup in the key each."""
    return latest_rows(table, engine)


def select_entity_ids(table: Table, engine: str = "sqlite") -> Select[Any]:
    """The distinct entity ids in order, jumping through the index from each to the next."""
    if not table.info.get("by_entity"):
        return select(table.c.entity_id).distinct().order_by(table.c.entity_id)
    entities = entity_scan(table, engine)
    return select(entities.c.entity_id).order_by(entities.c.entity_id)


def _by_entity(
    statement: Select[Any], table: Table, start: datetime | None, end: datetime | None, limit: int | None, order: str
) -> Select[Any]:
    """On SQLite: `statement` reading each entity's range through the key, with a limit only as far as it reaches."""
    entities = entity_scan(table, "sqlite")
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
    # Each once: an entity named twice has no more rows than one named once.
    return [values] if isinstance(values, str) else list(dict.fromkeys(values))
