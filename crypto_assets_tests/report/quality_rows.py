"""Rows of the quality tables as the integrity runs write them, for the tests of the report."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from crypto_assets.database.engines import Database
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.intervals import Interval, PartitionScheme, partition_span
from crypto_assets_tests.database.filled_tables import candle, store_entities

NOW = datetime(2023, 4, 2, 12, 0, 30, tzinfo=UTC)
BTC, ETH, SOL = (f"cryptopair_binance_{code}usdt" for code in ("btc", "eth", "sol"))
BTC_PERP = "cryptoperp_binance_btcusdt"
_NUMBERS = itertools.count()


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def coverage(entity: str, level: str, partition: str, expected: int, present: int) -> dict[str, Any]:
    return {
        "entity_id": entity,
        "provider": "binance",
        "level": level,
        "partition": partition,
        "expected": expected,
        "present": present,
        "verified_at": at("2023-04-02 12:00"),
        "digest": "verified",
    }


def gap(entity: str, level: str, start: str, missing: int, status: str, **others: Any) -> dict[str, Any]:
    first = at(start)
    return {
        "id": f"gap{next(_NUMBERS)}",
        "entity_id": entity,
        "provider": "binance",
        "level": level,
        "start": first,
        "end": first + (missing - 1) * timedelta(milliseconds=Interval(level).milliseconds),
        "missing": missing,
        "status": status,
        "attempts": 3,
        "first_seen": at("2023-04-01 06:00"),
        "last_checked": at("2023-04-02 06:00"),
        "repaired_at": at("2023-04-02 06:00") if status == "repaired" else None,
        "evidence": {"asked": []},
    } | others


def result(entity: str, level: str, time: str, score: float, *issues: str) -> dict[str, Any]:
    return {
        "id": f"result{next(_NUMBERS)}",
        "entity_id": entity,
        "provider": "binance",
        "validation_type": "integrity",
        "validation_result": {"level": level, "checks": {}, "deep": False},
        "quality_score": score,
        "issues_detected": list(issues),
        "timestamp": at(time),
    }


def reset(entity: str, time: str) -> dict[str, Any]:
    return result(entity, "1m", time, 1.0) | {
        "validation_type": "reset",
        "validation_result": {"first_candle_before": "2023-01-01T00:00:00", "first_candle_now": "2023-03-30T00:00:00"},
    }


def store(database: Database, table: str, *rows: dict[str, Any]) -> None:
    with database.begin(table) as connection:
        connection.execute(TABLES[table].insert(), list(rows))


def store_example(database: Database) -> None:
    """A halt, an open gap, a repaired one, a reset, two integrity runs; BTC is fresh, ETH three hours behind."""
    store_entities(database, 5)
    store(
        database,
        "crypto_kdata_coverage",
        coverage(BTC, "1m", "2023-03-24", 1440, 1360),
        coverage(BTC, "1m", "2023-03-25", 1440, 1440),
        coverage(BTC, "1m", "2023-04-01", 1440, 1440),
        coverage(BTC, "1h", "2023-03-01", 744, 743),
        coverage(ETH, "1h", "2023-03-01", 744, 714),
        coverage(ETH, "1h", "2023-04-01", 36, 33),
        coverage(BTC_PERP, "1d", "2023-03-01", 31, 31),
    )
    store(
        database,
        "crypto_kdata_gap",
        gap(BTC, "1m", "2023-03-24 12:40", 80, "source"),
        gap(BTC, "1h", "2023-03-24 13:00", 1, "source"),
        gap(ETH, "1h", "2023-03-10 00:00", 30, "open"),
        gap(ETH, "1h", "2023-04-02 09:00", 3, "open"),
        gap(BTC_PERP, "1d", "2023-03-05", 1, "repaired"),
    )
    store(
        database,
        "crypto_data_quality_log",
        result(BTC, "1m", "2023-04-02 00:00:01", 1.0),
        result(ETH, "1h", "2023-04-02 00:00:02", 0.5, "330 owed candles are missing"),
        result(BTC, "1m", "2023-04-02 06:00:01", 1.0),
        result(ETH, "1h", "2023-04-02 06:00:02", 0.96, "33 owed candles are missing"),
        reset(ETH, "2023-03-30 06:00"),
    )
    april = partition_span(PartitionScheme.MONTHLY, "2023-04-01")
    database.ensure_partitions("cryptopair_1m_kdata", april)
    store(database, "cryptopair_1m_kdata", candle(BTC, 0) | {"timestamp": at("2023-04-02 11:59")})
    store(
        database,
        "cryptopair_1h_kdata",
        candle(BTC, 0) | {"timestamp": at("2023-04-02 11:00")},
        candle(ETH, 0) | {"timestamp": at("2023-04-02 08:00")},
    )
