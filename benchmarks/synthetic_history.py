"""A SQLite database that looks as if many symbols had been collected for years: coverage, entities, newest candles.

Made where the rows are, 1.5 million partitions in about two seconds. For what is to cost the same however much was
collected: the section `scale` and the tests of the same name. What the older partitions hold is not there; who reads
candles of them is not measured here.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, insert, text

from crypto_assets.database.engines import Database
from crypto_assets.database.tables import CHANGES, TABLES
from crypto_assets.domain.entities import PROVIDER, MarketType
from crypto_assets.domain.intervals import (
    DAY_MS,
    PartitionScheme,
    parse_time,
    partition_keys,
    partition_span,
    to_naive,
)
from crypto_assets.domain.series import KDATA_TABLES

FIRST = parse_time("2015-01-01")
NEWEST_CANDLES = 10
"""So many candles of the running partition are stored, and collected."""


def symbol(number: int) -> str:
    """The ccxt symbol of a number from 0 on."""
    return f"S{number:04d}/USDT"


def entity(number: int) -> str:
    """Its entity id."""
    return f"{MarketType.SPOT.entity_type}_{PROVIDER}_s{number:04d}usdt"


def list_symbols(connection: Connection, symbols: int) -> None:
    """Lists so many spot pairs, all of which trade since `FIRST`."""
    first, now = to_naive(FIRST), to_naive(FIRST + DAY_MS)
    currencies = ["usdt", *(f"s{number:04d}" for number in range(symbols))]
    connection.execute(
        insert(TABLES["crypto_asset"]),
        [
            {
                "id": f"crypto_{PROVIDER}_{code}",
                "entity_id": f"crypto_{PROVIDER}_{code}",
                "entity_type": "crypto",
                "exchange": PROVIDER,
                "code": code,
                "name": code.upper(),
                "symbol": code.upper(),
                "timestamp": now,
            }
            for code in currencies
        ],
    )
    table = TABLES[MarketType.SPOT.entity_table]
    rows: list[dict[str, Any]] = [
        {
            "id": entity(number),
            "entity_id": entity(number),
            "entity_type": MarketType.SPOT.entity_type,
            "exchange": PROVIDER,
            "code": f"s{number:04d}usdt",
            "name": symbol(number),
            "exchange_id": f"S{number:04d}USDT",
            "raw_symbol": f"S{number:04d}USDT",
            "list_date": first,
            "timestamp": now,
            "base_symbol": f"S{number:04d}",
            "quote_symbol": "USDT",
            "base_asset_id": f"crypto_{PROVIDER}_s{number:04d}",
            "quote_asset_id": f"crypto_{PROVIDER}_usdt",
            "price_step": 0.01,
            "qty_step": 0.01,
        }
        for number in range(symbols)
    ]
    known = set(table.columns.keys())
    connection.execute(insert(table), [{name: row[name] for name in row if name in known} for row in rows])


def fill(database: Database, table: str, symbols: int, partitions: int) -> int:
    """Lists `symbols` and makes `partitions` of each whole and verified, the last of them running; the clock then (ms).

    The database is migrated, without rows. `table` is a candle table of the spot market.
    """
    _, interval = KDATA_TABLES[table]
    scheme = interval.partition_scheme
    days = partitions if scheme is PartitionScheme.DAILY else 31 * partitions
    keys = partition_keys(scheme, FIRST, FIRST + days * DAY_MS)[:partitions]
    running = partition_span(scheme, keys[-1])[0]
    clock = running + NEWEST_CANDLES * interval.milliseconds
    with database.begin("crypto_pair") as connection:
        list_symbols(connection, symbols)
    with database.begin("crypto_quality") as connection:
        connection.exec_driver_sql("CREATE TEMP TABLE made (partition TEXT, expected INTEGER)")
        counts = [(key, interval.count(*partition_span(scheme, key))) for key in keys[:-1]] + [
            (keys[-1], NEWEST_CANDLES)
        ]
        connection.exec_driver_sql("INSERT INTO made VALUES (?, ?)", counts)
        connection.execute(
            text(
                "INSERT INTO crypto_kdata_coverage"
                " (entity_id, provider, level, partition, expected, present, verified_at, digest)"
                " WITH RECURSIVE symbols(number) AS"
                " (SELECT 0 UNION ALL SELECT number + 1 FROM symbols WHERE number + 1 < :symbols)"
                " SELECT printf(:entity, number), :provider, :level, partition, expected, expected, :clock, :digest"
                " FROM symbols CROSS JOIN made"
            ),
            {
                "symbols": symbols,
                "entity": entity(0).replace("0000", "%04d"),
                "provider": PROVIDER,
                "level": interval.value,
                "clock": f"{to_naive(clock)}.000000",
                "digest": "0123456789abcdef" * 2,
            },
        )
        connection.exec_driver_sql("DROP TABLE made")
    with database.begin(table, also=["crypto_quality"]) as connection:
        times = [to_naive(running + number * interval.milliseconds) for number in range(NEWEST_CANDLES)]
        values = dict.fromkeys(("open", "high", "low", "close", "volume", "volume_quote", "trade_count"), 1)
        connection.execute(
            insert(TABLES[table]),
            [
                {"entity_id": entity(number), "provider": PROVIDER, "name": symbol(number), "timestamp": time, **values}
                for number in range(symbols)
                for time in times
            ],
        )
        connection.execute(CHANGES.delete())
    return clock
