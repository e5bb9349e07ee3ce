"""What has been collected: the coverage table, and from it the candles that are owed.

Owed is the grid from an entity's first collected partition to its last, those skipped in between included, cut to its
listing and to the last candle closed by the exchange's clock when the last partition was asked (docs/decisions/0003).
A table never collected owes nothing. Looking for what is missing belongs to `gaps`. Called by `gaps` and
`orchestration.collection`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Connection, Table, func, select

from crypto_assets.database.archive_manifest import archived_months
from crypto_assets.database.expressions import epoch_milliseconds
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
    ends = (
        select(
            coverage.c.entity_id,
            func.min(coverage.c.partition).label("first"),
            func.max(coverage.c.partition).label("last"),
        )
        .where(
            coverage.c.provider == PROVIDER,
            coverage.c.level == interval.value,
            coverage.c.entity_id.startswith(entities.name.replace("_", "") + "_", autoescape=True),
        )
        .group_by(coverage.c.entity_id)
        .subquery()
    )
    # The clock of the last partition, not the latest: asking for an old day again says nothing about today.
    of_last = (
        coverage.c.entity_id == ends.c.entity_id,
        coverage.c.partition == ends.c.last,
        coverage.c.provider == PROVIDER,
        coverage.c.level == interval.value,
    )
    collected = connection.execute(
        select(ends, coverage.c.verified_at.label("clock")).where(*of_last).order_by(ends.c.entity_id)
    )
    scheme = interval.partition_scheme
    owed = []
    for row in collected.all():
        span = Span(partition_span(scheme, row.first)[0], partition_span(scheme, row.last)[1])
        closed = Span(0, interval.closed_before(to_milliseconds(row.clock)))
        listed = listed_span(connection, entities, row.entity_id, interval)
        owed.append(Owed(row.entity_id, span.intersect(closed).intersect(listed)))
    return owed


def claim_coverage(
    connection: Connection, entities: Table, entity_id: str, interval: Interval, window: Span, clock: int
) -> None:
    """Notes the partitions of `window` that were never collected as asked for, before all their candles are stored.

    From then on they are owed: a run that is killed leaves gaps that are seen, not a table that looks whole.
    """
    coverage = TABLES["crypto_kdata_coverage"]
    known = set(
        connection.scalars(
            select(coverage.c.partition).where(
                coverage.c.entity_id == entity_id,
                coverage.c.provider == PROVIDER,
                coverage.c.level == interval.value,
            )
        )
    )
    listed = listed_span(connection, entities, entity_id, interval)
    keys = partition_keys(interval.partition_scheme, window.start, window.end)
    record_coverage(connection, [_row(entity_id, interval, key, listed, clock) for key in keys if key not in known])


def verified_coverage(
    connection: Connection, table: Table, entities: Table, entity_id: str, interval: Interval, window: Span, clock: int
) -> list[dict[str, Any]]:
    """The rows of the coverage table for every partition of `window` (whole partitions), asked for at `clock`.

    `expected` and `present` count the partition's owed and stored candles; `digest` is one of its candles, row by row.
    """
    listed = listed_span(connection, entities, entity_id, interval)
    archived = {each.month for each in archived_months(connection, table, PROVIDER, entity_ids=[entity_id])}
    rows = []
    for key in partition_keys(interval.partition_scheme, window.start, window.end):
        partition = Span(*partition_span(interval.partition_scheme, key))
        present, digest = _content(connection, table, entity_id, partition)
        if f"{key[:7]}-01" in archived and present < _row(entity_id, interval, key, listed, clock)["expected"]:
            continue  # the rest is in a file, and what was verified of it before still holds
        rows.append(_row(entity_id, interval, key, listed, clock) | {"present": present, "digest": digest})
    return rows


def _row(entity_id: str, interval: Interval, key: str, listed: Span, clock: int) -> dict[str, Any]:
    owed = Span(*partition_span(interval.partition_scheme, key)).intersect(listed)
    return {
        "entity_id": entity_id,
        "provider": PROVIDER,
        "level": interval.value,
        "partition": key,
        "expected": interval.count(*owed.intersect(Span(0, interval.closed_before(clock)))),
        "present": 0,
        "verified_at": to_datetime(clock).replace(tzinfo=None),
        "digest": "",
    }


def record_coverage(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """Stores rows of the coverage table."""
    if rows:
        upsert(connection, TABLES["crypto_kdata_coverage"], pd.DataFrame(rows))


def _content(connection: Connection, table: Table, entity_id: str, span: Span) -> tuple[int, str]:
    """The number of an entity's stored candles in `span`, and the checksum of what they say, the same on any engine."""
    c = table.c
    rows = connection.execute(
        select(epoch_milliseconds(c.timestamp), c.open, c.high, c.low, c.close, c.volume, c.volume_quote, c.trade_count)
        .where(
            c.entity_id == entity_id,
            c.timestamp >= to_datetime(span.start).replace(tzinfo=None),
            c.timestamp < to_datetime(span.end).replace(tzinfo=None),
        )
        .order_by(c.timestamp)
    ).all()
    # As doubles all of them are exact. Adding 0.0 takes the sign off -0.0, which SQLite does not keep.
    values = np.array([tuple(row) for row in rows], dtype=np.float64) + 0.0
    return len(rows), hashlib.blake2b(values.tobytes(), digest_size=16).hexdigest()
