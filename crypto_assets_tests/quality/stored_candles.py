"""Candles, symbols and coverage as collecting leaves them, for the tests of this package; on every engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Connection

from crypto_assets.database.archive.manifest import ArchivedMonth, record_month
from crypto_assets.database.engines import Database
from crypto_assets.database.tables import TABLES
from crypto_assets.database.writes import upsert
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import Interval, parse_time, to_naive
from crypto_assets.domain.series import CandleTable
from crypto_assets.domain.spans import Span
from crypto_assets.quality.gaps.coverage import claim_coverage
from crypto_assets.quality.gaps.ledger import Answer, Policy
from crypto_assets.quality.verification.partitions import SymbolPartitions
from crypto_assets_tests.database.database_frames import assets, pairs

FIVE_MINUTES = CandleTable(MarketType.SPOT, Interval.M5)
TABLE = TABLES[FIVE_MINUTES.name]
PAIRS = TABLES["crypto_pair"]
BTC, ETH, SOL = (f"cryptopair_binance_{code}usdt" for code in ("btc", "eth", "sol"))
M5 = Interval.M5
STEP = M5.milliseconds
START = parse_time("2023-03-20")
DAY = Span(START, parse_time("2023-03-21"))
NOW = datetime(2023, 4, 10, 6)  # noqa: DTZ001 - our clock is naive UTC
QUALITY = "crypto_quality"


@contextmanager
def rolled_back(database: Database, table: CandleTable = FIVE_MINUTES) -> Iterator[Connection]:
    """A connection whose writes nobody else ever sees."""
    with database.connect(table.name) as connection:
        yield connection


@contextmanager
def written(database: Database, table: CandleTable = FIVE_MINUTES) -> Iterator[Connection]:
    """A connection that writes candles and everything about them."""
    with database.begin(table.name, also=["crypto_meta", QUALITY]) as connection:
        yield connection


def naive(time: int) -> datetime:
    return to_naive(time)


def times_of(span: Span, interval: Interval = M5) -> list[int]:
    return list(range(interval.ceil(span.start), span.end, interval.milliseconds))


def store(connection: Connection, times, entity: str = BTC, table: CandleTable = FIVE_MINUTES, **values: Any) -> None:
    """A candle at each of `times`, all alike but for `values`."""
    rows = [
        {
            "entity_id": entity,
            "provider": "binance",
            "name": "BTC/USDT",
            "timestamp": naive(time),
            **dict.fromkeys(("open", "high", "low", "close", "volume", "volume_quote"), 1.0),
            "trade_count": 1,
            **values,
        }
        for time in times
    ]
    if rows:
        connection.execute(TABLES[table.name].insert(), rows)


def list_pairs(connection: Connection, *bases: str, listed: int | None = None, ended: int | None = None) -> None:
    """Spot pairs in USDT, with one pair of dates."""
    bases = bases or ("BTC",)
    upsert(connection, TABLES["crypto_asset"], assets(*bases, "USDT"))
    dates = {"list_date": listed, "end_date": ended}
    frame = pairs(*bases).assign(
        **{name: np.datetime64("NaT" if time is None else time, "ms") for name, time in dates.items()}
    )
    upsert(connection, PAIRS, frame)


def list_again(connection: Connection, *spans: tuple[int, int | None], entity: str = BTC) -> None:
    """The spans of a symbol that was listed more than once."""
    rows = [{"entity_id": entity, "start": naive(start), "end": end and naive(end)} for start, end in spans]
    connection.execute(TABLES["crypto_listing"].insert(), rows)


def collected(
    connection: Connection,
    span: Span,
    clock: int | None = None,
    *,
    entity: str = BTC,
    table: CandleTable = FIVE_MINUTES,
) -> SymbolPartitions:
    """Notes whole partitions as collected and verified at `clock`, with the gaps that are in them."""
    partitions = SymbolPartitions(connection, table, entity)
    clock = span.end if clock is None else clock
    claim_coverage(connection, table, entity, span, clock)
    look = partitions.verify_asked(table.partition_keys(span), clock)
    partitions.account(look, NOW, Policy())
    return partitions


def asked_in_vain(connection: Connection, span: Span, *, table: CandleTable = FIVE_MINUTES) -> None:
    """Notes that the exchange had no candle in `span`, which one answer is enough for."""
    partitions = SymbolPartitions(connection, table, BTC)
    keys = table.partition_keys(span)
    look = partitions.verify_asked(keys, table.partition_span(keys[-1]).end)
    partitions.account(look, NOW, Policy(answers=1), [Answer(span, NOW, NOW, 0, "")])


def archived(connection: Connection, span: Span, rows: int | None = None, *, table: CandleTable = FIVE_MINUTES) -> None:
    """Notes the candles of `span` as those of an archived month."""
    interval = table.interval
    count = interval.count(*span) if rows is None else rows
    month = f"{naive(span.start):%Y-%m-01}"
    last = naive(span.end - interval.milliseconds)
    record_month(
        connection,
        table,
        "binance",
        ArchivedMonth(BTC, month, "x", count, 1, naive(span.start), last, "x"),
    )
