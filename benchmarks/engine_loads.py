"""Millions of candles made within the database, for the queries to search. In a process of its own.

Candles come month by month and, within one, symbol by symbol, as backfilled candles do. Their values follow from their
position: what they are does not matter to a query. Two connections fill different months at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime
from itertools import pairwise
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from benchmarks.engine_candles import BASES, ENTITIES, MINUTE_MS, START, TABLE, prepare
from crypto_assets.database.care.maintenance import maintain
from crypto_assets.database.engines import Database
from crypto_assets.database.engines.server import month_starts
from crypto_assets.database.engines.sqlite import SqliteDatabase
from crypto_assets.database.engines.sqlite_files import open_file
from crypto_assets.database.tables import KDATA, TABLES
from crypto_assets.domain.entities import PROVIDER
from crypto_assets.domain.intervals import to_milliseconds, to_naive

_Execute = Callable[[str], Any]
_COLUMNS = tuple(column.name for column in TABLES[TABLE].columns if column.computed is None)
_NUMBERS = "bench_number"
_MINUTES_PER_MONTH = 31 * 1440


def measure(url: str, first: int, minutes: int) -> dict[str, Any]:
    """Adds the candles of every symbol from minute `first` to minute `minutes` after `START`; tidies up afterwards."""
    started = time.perf_counter()
    database = prepare(url, minutes)
    parts = _months(first, minutes)
    if isinstance(database, SqliteDatabase):
        _fill_file(database, parts)
    else:
        _fill_server(database, parts)
    state = next(state for state in maintain(database) if state.table == TABLE)
    database.dispose()
    if state.rows != minutes * len(ENTITIES):
        raise RuntimeError(f"{state.rows} rows instead of {minutes * len(ENTITIES)}")
    return {"seconds": time.perf_counter() - started, "rows": state.rows, "bytes_per_row": state.bytes_per_row}


def _months(first: int, end: int) -> list[tuple[int, int]]:
    """The minutes from `first` to `end`, month by month, as their first and the one after their last."""
    moments = month_starts(_moment(first), _moment(end - 1))[1:]
    borders = [first, *((to_milliseconds(moment) - START) // MINUTE_MS for moment in moments), end]
    return list(pairwise(borders))


def _moment(minute: int) -> datetime:
    return to_naive(START + minute * MINUTE_MS)


def _fill_file(database: SqliteDatabase, parts: list[tuple[int, int]]) -> None:
    with closing(open_file(database.path(TABLE))) as connection:
        _make_numbers(lambda statement: connection.execute(statement).fetchall(), f"temp.{_NUMBERS}")
        for part in parts:
            connection.execute("BEGIN")
            _fill(connection.execute, part, TABLE, f"temp.{_NUMBERS}", _SQLITE)
            connection.execute("COMMIT")


def _fill_server(database: Database, parts: list[tuple[int, int]]) -> None:
    schema = database.schemas[KDATA]
    numbers, dialect = f"{schema}.{_NUMBERS}", _POSTGRESQL if database.engine == "postgresql" else _MYSQL
    with database.migrating(KDATA) as connection:
        _make_numbers(connection.exec_driver_sql, numbers)

    def fill(part: tuple[int, int]) -> None:
        with database.migrating(KDATA) as connection:
            _skip_checks(connection)
            # The drivers take a single % for a placeholder.
            execute: _Execute = lambda statement: connection.exec_driver_sql(statement.replace("%", "%%"))  # noqa: E731
            _fill(execute, part, f"{schema}.{TABLE}", numbers, dialect)
            connection.invalidate()  # with its settings

    with ThreadPoolExecutor(2) as executor:
        list(executor.map(fill, parts))
    with database.migrating(KDATA) as connection:
        connection.exec_driver_sql(f"DROP TABLE {numbers}")


def _skip_checks(connection: Connection) -> None:
    """Does without looking up each row's symbol, where the user may."""
    try:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET session_replication_role = replica")
    except DBAPIError:
        return


def _make_numbers(execute: _Execute, name: str) -> None:
    """A table of the numbers from 0 on, as many as a month has minutes: every engine reads it alike."""
    execute(f"DROP TABLE IF EXISTS {name}")
    execute(f"CREATE TABLE {name} (n bigint PRIMARY KEY)")
    execute(f"INSERT INTO {name} VALUES (0)")
    count = 1
    while count < _MINUTES_PER_MONTH:
        execute(f"INSERT INTO {name} SELECT n + {count} FROM {name}")
        count *= 2


# How an engine writes a double, and the time `m` minutes after START.
_SQLITE = ("{}", f"strftime('%Y-%m-%d %H:%M:%S', {START // 1000} + m * 60, 'unixepoch') || '.000000'")
_POSTGRESQL = ("'{}'::float8", f"timestamp '{_moment(0)}' + m * interval '1 minute'")
_MYSQL = ("{}", f"timestamp '{_moment(0)}' + interval m minute")


def _fill(execute: _Execute, part: tuple[int, int], table: str, numbers: str, dialect: tuple[str, str]) -> None:
    double, moment = dialect
    first, end = part
    names = ", ".join(f"`{name}`" if dialect is _MYSQL else f'"{name}"' for name in _COLUMNS)
    cent, tick = double.format("1e-2"), double.format("1e-5")
    for position, entity in enumerate(ENTITIES):
        price = f"({100 * (position + 1)} + (m * 7919 % 10007) * {cent})"
        amount = f"((m * 31 % 9973) * {tick})"
        values = {
            "entity_id": f"'{entity}'",
            "provider": f"'{PROVIDER}'",
            "name": f"'{BASES[position]}/USDT'",
            "timestamp": moment,
            "open": price,
            "high": f"{price} + 25 * {cent}",
            "low": f"{price} - 25 * {cent}",
            "close": f"{price} + 5 * {cent}",
            "volume": amount,
            "change_pct": f"(m * 17 % 199 - 99) * {tick}",
            "turnover_rate": f"(m * 31 % 9973) * {double.format('1e-12')}",
            "volume_quote": f"{price} * {amount}",
            "trade_count": "m % 4999",
            "is_high_volatility": "m % 97 = 0",
            "is_high_volume": "m % 89 = 0",
        }
        execute(
            f"INSERT INTO {table} ({names}) SELECT {', '.join(values[name] for name in _COLUMNS)}"
            f" FROM (SELECT n + {first} AS m FROM {numbers} WHERE n < {end - first} ORDER BY n) AS minutes"
        )
