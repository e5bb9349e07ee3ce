"""The ways of writing a frame that are compared, each in the transaction of the connection it gets.

    ours         `upsert` into the migrated, keyed, on servers partitioned table
    executemany  SQLAlchemy's Core insert of dictionaries into the same table
    floor        the engine's bulk load of the same columns into a table without key, index or generated column
    to_sql       pandas' `DataFrame.to_sql` into such a table

What turns the frame into tuples, texts or dictionaries is part of each. The floor makes them as ours does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import psycopg
from sqlalchemy import Column, Connection, MetaData, Table
from sqlalchemy.schema import CreateTable, DropTable

from benchmarks.engine_candles import TABLE
from crypto_assets.database.engines import Database
from crypto_assets.database.tables import KDATA, TABLES
from crypto_assets.database.writes import upsert
from crypto_assets.database.writes.stored_values import column_values

UNKEYED = Table(
    "candle_without_key",
    MetaData(),
    *(Column(each.name, each.type) for each in TABLES[TABLE].columns if each.computed is None),
    schema=KDATA,
)

Way = Callable[[Connection, pd.DataFrame], None]


def make_unkeyed(database: Database) -> None:
    """Makes the table without a key anew."""
    with database.begin(TABLE) as connection:
        connection.execute(DropTable(UNKEYED, if_exists=True))
        connection.execute(CreateTable(UNKEYED))


def ours(connection: Connection, frame: pd.DataFrame) -> None:
    upsert(connection, TABLES[TABLE], frame)


def executemany(connection: Connection, frame: pd.DataFrame) -> None:
    # Plain Python values, or PyMySQL would refuse the times; cheaper than `to_dict("records")`.
    values = [_python_values(frame[name]) for name in frame.columns]
    rows = [dict(zip(frame.columns, row, strict=True)) for row in zip(*values, strict=True)]
    connection.execute(TABLES[TABLE].insert(), rows)


def to_sql(connection: Connection, frame: pd.DataFrame) -> None:
    schemas = connection.get_execution_options().get("schema_translate_map") or {}
    schema = schemas.get(KDATA, KDATA)
    frame.to_sql(UNKEYED.name, connection, schema=schema, if_exists="append", index=False, chunksize=len(frame))


def floor(connection: Connection, frame: pd.DataFrame) -> None:
    {"sqlite": _sqlite_floor, "postgresql": _copy_floor}.get(connection.dialect.name, _load_data_floor)(
        connection, frame
    )


WAYS: dict[str, Way] = {"ours": ours, "floor": floor, "executemany": executemany, "to_sql": to_sql}


def _python_values(series: pd.Series) -> list[object]:
    if series.dtype.kind == "M":
        return list(series.to_numpy().astype("datetime64[us]").tolist())
    return list(series.tolist())


def _sqlite_floor(connection: Connection, frame: pd.DataFrame) -> None:
    rows = list(zip(*(column_values(frame[name], TABLES[TABLE].c[name]) for name in frame.columns), strict=True))
    places = ", ".join("?" * len(frame.columns))
    cursor = connection.connection.cursor()
    cursor.executemany(f"INSERT INTO {UNKEYED.name} ({_names(frame)}) VALUES ({places})", rows)


def _copy_floor(connection: Connection, frame: pd.DataFrame) -> None:
    driver = connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        raise TypeError(f"{driver!r} is no connection of psycopg")
    statement = f"COPY {KDATA}.{UNKEYED.name} ({_names(frame)}) FROM STDIN"
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(_text(frame))


def _load_data_floor(connection: Connection, frame: pd.DataFrame) -> None:
    schemas = connection.get_execution_options()["schema_translate_map"]
    with TemporaryDirectory(prefix="crypto-assets-") as directory:
        path = Path(directory) / "rows"
        path.write_bytes(_text(frame))
        connection.exec_driver_sql(
            f"LOAD DATA LOCAL INFILE %s INTO TABLE {schemas[KDATA]}.{UNKEYED.name} CHARACTER SET utf8mb4"
            f" ({_names(frame, '`')})",
            (str(path),),
        )


def _text(frame: pd.DataFrame) -> memoryview:
    """The rows as the text that COPY and LOAD DATA read."""
    from crypto_assets.database.writes.text_rows import text_columns, text_rows  # noqa: PLC0415 - not for SQLite

    texts = text_columns(frame, TABLES[TABLE], ["timestamp"])
    return memoryview(text_rows(texts, TABLES[TABLE]))


def _names(frame: pd.DataFrame, quote: str = '"') -> str:
    return ", ".join(f"{quote}{name}{quote}" for name in frame.columns)
