"""What has been collected: the coverage table, and from it the candles that are owed.

Owed is the grid from an entity's first collected partition to its last, those skipped in between included, cut to its
listing and to the last candle closed by the exchange's clock when it was last asked (docs/decisions/0003). A table
never collected owes nothing. Looking for what is missing belongs to `gaps`. Called by `gaps` and
`orchestration.collection`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pandas as pd
from sqlalchemy import Connection, Table, func, select

from crypto_assets.database.tables import TABLES
from crypto_assets.database.writes import upsert
from crypto_assets.domain.entities import PROVIDER
from crypto_assets.domain.intervals import (
    Interval,
    partition_keys,
    partition_span,
    to_datetime,
    to_milliseconds,
)
from crypto_assets.domain.spans import Span


@dataclass(frozen=True)
class Owed:
    """One entity's owed span of one candle table; empty where it was never listed within what was collected."""

    entity_id: str
    span: Span


def listed_span(connection: Connection, entities: Table, entity_id: str, interval: Interval) -> Span:
    """When the entity's candles of this interval can open: from its first candle's to its end, else without bound."""
    row = connection.execute(
        select(entities.c.list_date, entities.c.end_date).where(entities.c.id == entity_id)
    ).one_or_none()
    start = interval.floor(to_milliseconds(row.list_date)) if row and row.list_date else 0
    return Span(start, to_milliseconds(row.end_date) if row and row.end_date else _FOREVER)


_FOREVER = 253_402_300_800_000  # the year 10000, later than any candle


def owed_spans(connection: Connection, entities: Table, interval: Interval) -> list[Owed]:
    """The owed span of every collected entity of the entity table `entities` at `interval`, by entity id."""
    coverage = TABLES["crypto_kdata_coverage"]
    collected = connection.execute(
        select(
            coverage.c.entity_id,
            func.min(coverage.c.partition).label("first"),
            func.max(coverage.c.partition).label("last"),
            func.max(coverage.c.verified_at).label("clock"),
        )
        .where(
            coverage.c.provider == PROVIDER,
            coverage.c.level == interval.value,
            coverage.c.entity_id.startswith(entities.name.replace("_", "") + "_", autoescape=True),
        )
        .group_by(coverage.c.entity_id)
        .order_by(coverage.c.entity_id)
    )
    scheme = interval.partition_scheme
    owed = []
    for row in collected.all():
        span = Span(partition_span(scheme, row.first)[0], partition_span(scheme, row.last)[1])
        closed = Span(0, interval.closed_before(to_milliseconds(row.clock)))
        listed = listed_span(connection, entities, row.entity_id, interval)
        owed.append(Owed(row.entity_id, span.intersect(closed).intersect(listed)))
    return owed


def record_coverage(
    connection: Connection,
    table: Table,
    entities: Table,
    entity_id: str,
    interval: Interval,
    collected: Span,
    clock: int,
) -> None:
    """Notes every partition that `collected` (whole partitions) touches as asked at the exchange's `clock`.

    `expected` and `present` count the partition's owed and stored candles; `digest` changes when a stored price or
    volume does.
    """
    listed = listed_span(connection, entities, entity_id, interval)
    closed = Span(0, interval.closed_before(clock))
    rows = []
    for key in partition_keys(interval.partition_scheme, collected.start, collected.end):
        partition = Span(*partition_span(interval.partition_scheme, key))
        owed = partition.intersect(listed).intersect(closed)
        present, digest = _content(connection, table, entity_id, partition)
        rows.append(
            {
                "entity_id": entity_id,
                "provider": PROVIDER,
                "level": interval.value,
                "partition": key,
                "expected": interval.count(*owed),
                "present": present,
                "verified_at": to_datetime(clock).replace(tzinfo=None),
                "digest": digest,
            }
        )
    if rows:
        upsert(connection, TABLES["crypto_kdata_coverage"], pd.DataFrame(rows))


def _content(connection: Connection, table: Table, entity_id: str, span: Span) -> tuple[int, str]:
    c = table.c
    present, *sums = connection.execute(
        select(
            func.count(), *(func.sum(column) for column in (c.open, c.high, c.low, c.close, c.volume, c.trade_count))
        ).where(
            c.entity_id == entity_id,
            c.timestamp >= to_datetime(span.start).replace(tzinfo=None),
            c.timestamp < to_datetime(span.end).replace(tzinfo=None),
        )
    ).one()
    return present, hashlib.blake2b(repr((present, sums)).encode(), digest_size=16).hexdigest()
