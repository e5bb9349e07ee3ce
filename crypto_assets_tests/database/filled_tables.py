"""A database large enough that planners choose indexes for what they save, not by default."""

from __future__ import annotations

from datetime import datetime, timedelta

from crypto_assets.database.engines import Database
from crypto_assets.database.tables import TABLES
from crypto_assets.database.tables.columns import JSON_DOCUMENT, ExactDecimal, UtcTimestamp
from crypto_assets.domain.intervals import to_milliseconds
from crypto_assets.domain.spans import Span
from crypto_assets_tests.database.database_frames import assets, pairs

START = datetime(2023, 1, 1)  # noqa: DTZ001 - stored times are naive UTC
STEP = timedelta(minutes=30)  # 4,000 candles of a symbol are three months: as many partitions
SYMBOLS = ("BTC", "ETH", "SOL", "XRP", "ADA")
CANDLES = "cryptopair_1m_kdata"


KINDS = {UtcTimestamp: datetime, ExactDecimal: int, type(JSON_DOCUMENT): dict}


def candle(entity: str, position: int) -> dict:
    prices = {"open": 100.0, "high": 101.0, "low": 99.0, "close": 100.5, "volume": 2.0, "volume_quote": 201.0}
    return prices | {
        "entity_id": entity,
        "provider": "binance",
        "name": "X/USDT",
        "timestamp": START + position * STEP,
        "trade_count": position,
    }


def store_candles(database: Database, table: str = CANDLES, each: int = 4000, symbols=SYMBOLS) -> None:
    """`each` candles of every symbol."""
    database.ensure_partitions(
        table, Span(to_milliseconds(START), to_milliseconds(START + each * STEP + timedelta(days=62)))
    )
    with database.begin(table) as connection:
        for symbol in symbols:
            entity = f"cryptopair_binance_{symbol.lower()}usdt"
            connection.execute(TABLES[table].insert(), [candle(entity, position) for position in range(each)])


def store_entities(database: Database, count: int = 2000) -> None:
    """`count` currencies, pairs and perpetuals; nine of ten trade no more."""
    bases = [*SYMBOLS, *(f"C{number}" for number in range(count - len(SYMBOLS)))]
    pair_rows = pairs(*bases).to_dict("records")
    for position, row in enumerate(pair_rows):
        row["is_active"] = position % 10 == 0
    perp_rows = [
        {key: value for key, value in row.items() if not key.startswith(("base_", "quote_"))}
        | {
            "id": row["id"].replace("cryptopair", "cryptoperp"),
            "entity_id": row["id"].replace("cryptopair", "cryptoperp"),
            "entity_type": "cryptoperp",
            "underlying_symbol": row["base_symbol"],
            "settlement_symbol": "USDT",
            "underlying_asset_id": row["base_asset_id"],
            "settlement_asset_id": "crypto_binance_usdt",
        }
        for row in pair_rows
    ]
    with database.begin("crypto_meta") as connection:
        connection.execute(TABLES["crypto_asset"].insert(), assets(*bases, "USDT").to_dict("records"))
        connection.execute(TABLES["crypto_pair"].insert(), pair_rows)
        connection.execute(TABLES["crypto_perp"].insert(), perp_rows)


def store_others(database: Database, count: int = 5000) -> None:
    """Ticks of five symbols, findings and measurements: `count` rows of each table that has an index to prove."""
    for name in (
        *("crypto_trade", "crypto_orderbook", "crypto_funding", "crypto_kdata_gap", "crypto_data_quality_log"),
        *("crypto_price_consistency", "crypto_operational_metrics", "crypto_websocket_sessions"),
        *("crypto_kdata_coverage", "crypto_kdata_decision", "crypto_kdata_archive", "crypto_kdata_finding"),
        *("crypto_source_file", "crypto_api_keys"),
    ):
        with database.begin(name) as connection:
            connection.execute(TABLES[name].insert(), [row(name, position) for position in range(count)])


def row(table: str, position: int) -> dict:
    """A row that fits the table, with values as varied as they are in life."""
    values = {}
    for column in TABLES[table].columns:
        kind = KINDS.get(type(column.type)) or column.type.python_type
        symbol = SYMBOLS[position % 5]
        if column.name == "entity_id":
            of_ticks = table in ("crypto_trade", "crypto_orderbook", "crypto_funding")
            values[column.name] = f"cryptopair_binance_{symbol.lower() if of_ticks else f'c{position % 500}'}usdt"
        elif (column.primary_key and kind is str) or column.name in ("trade_id", "session_id", "key_type"):
            values[column.name] = f"{column.name[:9]}{position}"
        elif column.name in ("provider", "level", "status", "metric_name", "environment", "symbol"):
            values[column.name] = f"{column.name}{position % 7}"
        elif kind is datetime:
            values[column.name] = START + position * STEP
        elif kind is dict:
            values[column.name] = {"position": position}
        elif kind is str:
            values[column.name] = "text"
        else:
            values[column.name] = kind(position % 2)
    return values
