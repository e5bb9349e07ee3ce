"""The coverage table: which partitions were collected. From it follow the candles that are owed.

A candle is owed on every grid point of a collected partition, of a short hole between two, and of a long hole that
somebody decided to collect. It must lie in a span in which the entity was listed, and must have closed, by the
exchange's clock, when the last partition of its run was asked for (`quality.gaps.holes`, docs/decisions/0003). A table
that was never collected owes nothing. What is stored is read by `quality.verification`. Called by it, by the other
modules of `quality.gaps`, and by `quality.retention`, `quality.rules.agreement` and `collect`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pandas as pd
from sqlalchemy import Connection, Row, select, update

from crypto_assets.database.expressions import of_series, provider_of
from crypto_assets.database.tables import TABLES
from crypto_assets.database.writes import upsert
from crypto_assets.domain.entities import exchange_in
from crypto_assets.domain.intervals import Interval, to_milliseconds, to_naive
from crypto_assets.domain.series import CandleTable
from crypto_assets.domain.spans import Span, intersect, merge
from crypto_assets.quality.gaps.collected_runs import collected_runs
from crypto_assets.quality.gaps.decisions import decisions
from crypto_assets.quality.gaps.holes import LONGEST_HOLE, meant

_COVERAGE = TABLES["crypto_kdata_coverage"]
_LISTING = TABLES["crypto_listing"]
_FOREVER = 253_402_300_800_000  # the year 10000, later than any candle


@dataclass(frozen=True)
class Owed:
    """One entity's owed spans of one candle table; none where it was never listed within what was collected.

    `chosen` are long holes among them that somebody decided to have collected. Not owed are `waiting`, those that
    nobody decided about, and `left`, those that somebody decided to leave. What coverage had of the entity then is in
    `verified` and `uneven`, as `Collected` explains.
    """

    entity_id: str
    spans: list[Span]
    chosen: list[Span] = field(default_factory=list)
    waiting: list[Span] = field(default_factory=list)
    left: list[Span] = field(default_factory=list)
    verified: int = field(default=0, compare=False)
    uneven: tuple[str, ...] = field(default=(), compare=False)

    def within(self, span: Span) -> list[Span]:
        """The owed parts of `span`."""
        return intersect(self.spans, [span])


def listed_spans(
    connection: Connection, candle_table: CandleTable, entity_ids: Collection[str]
) -> dict[str, list[Span]]:
    """When candles of this table can open, by entity id: from a listing's first candle to its end.

    An entity that was listed more than once has several spans; one whose dates are unknown is listed always.
    """
    entities, interval = TABLES[candle_table.entity_table], candle_table.interval
    dates = select(entities.c.id, entities.c.list_date, entities.c.end_date).where(entities.c.id.in_(entity_ids))
    spans = {
        row.id: [_listed(row.list_date, row.end_date, interval)] for row in connection.execute(dates.order_by("id"))
    }
    several: dict[str, list[Span]] = {}
    rows = connection.execute(select(_LISTING).where(_LISTING.c.entity_id.in_(entity_ids)))
    for row in rows.all():
        several.setdefault(row.entity_id, []).append(_listed(row.start, row.end, interval))
    always = {entity_id: [Span(0, _FOREVER)] for entity_id in entity_ids}
    return always | spans | {entity_id: merge(listed) for entity_id, listed in several.items()}


def _listed(start: Any, end: Any, interval: Interval) -> Span:
    return Span(interval.floor(to_milliseconds(start)) if start else 0, to_milliseconds(end) if end else _FOREVER)


def owed_spans(
    connection: Connection,
    candle_table: CandleTable,
    entity_id: str | None = None,
    *,
    longest_hole: timedelta = LONGEST_HOLE,
) -> list[Owed]:
    """What is owed of every collected entity of a candle table, by entity id.

    `longest_hole` is how long a hole between collected partitions may be to be owed without a decision.
    """
    decided = decisions(connection, candle_table, entity_id)
    collected = collected_runs(connection, candle_table, entity_id)
    listed = listed_spans(connection, candle_table, list(collected))
    owed = []
    for each, own in collected.items():
        closed = [run.closed(candle_table) for run in own.runs]
        found = meant(closed, listed[each], decided.get(each, ()), longest_hole)
        owed.append(Owed(each, found.owed, found.chosen, found.waiting, found.left, own.verified, own.uneven))
    return owed


def covered_partitions(
    connection: Connection,
    candle_table: CandleTable,
    entity_id: str | None = None,
    partitions: Collection[str] | None = None,
) -> dict[str, dict[str, Row[Any]]]:
    """The rows of the coverage table by entity id and partition key: expected, present, verified_at, digest."""
    c = _COVERAGE.c
    chosen = [] if partitions is None else [c.partition.in_(partitions)]
    return _rows_by_entity(connection, *of_series(c, provider_of(connection), candle_table, entity_id), *chosen)


def covered_between(
    connection: Connection,
    candle_table: CandleTable,
    entity_ids: Collection[str],
    first: str,
    last: str,
) -> dict[str, dict[str, Row[Any]]]:
    """The same of many entities for all partitions from the first to the last: one range of the key for each."""
    c = _COVERAGE.c
    own = (c.entity_id.in_(entity_ids), c.partition >= first, c.partition <= last)
    return _rows_by_entity(connection, *of_series(c, provider_of(connection), candle_table), *own)


def _rows_by_entity(connection: Connection, *where: Any) -> dict[str, dict[str, Row[Any]]]:
    c = _COVERAGE.c
    columns = (c.entity_id, c.partition, c.expected, c.present, c.verified_at, c.digest)
    found: dict[str, dict[str, Row[Any]]] = {}
    statement: Any = select(*columns).where(*where)
    for row in connection.execute(statement).all():
        found.setdefault(row.entity_id, {})[row.partition] = row
    return found


def claim_coverage(
    connection: Connection, candle_table: CandleTable, entity_id: str, window: Span, clock: int
) -> list[str]:
    """Claims the partitions of `window` that were never collected: they are in the coverage before their candles are.

    From then on their candles are owed, so a run that is killed leaves gaps that checks see. Without the claim the
    table would look whole. Returns the keys of the claimed partitions.
    """
    c = _COVERAGE.c
    known = set(
        connection.scalars(select(c.partition).where(*of_series(c, provider_of(connection), candle_table, entity_id)))
    )
    listed = listed_spans(connection, candle_table, [entity_id])[entity_id]
    claimed = [key for key in candle_table.partition_keys(window) if key not in known]
    rows = [coverage_row(candle_table, entity_id, key, listed, clock) | {"source": ""} for key in claimed]
    record_coverage(connection, rows)
    return claimed


def coverage_row(
    candle_table: CandleTable,
    entity_id: str,
    key: str,
    listed: Iterable[Span],
    clock: int,
    present: int = 0,
    digest: str = "",
    quiet: int = 0,
) -> dict[str, Any]:
    """A row of the coverage table for a partition that was asked for at `clock`; unverified without a digest.

    `quiet` is how many intervals have no candle because nothing traded: a sparse venue owes none for these.
    """
    interval, span = candle_table.interval, candle_table.partition_span(key)
    return {
        "entity_id": entity_id,
        "provider": exchange_in(entity_id),
        "level": candle_table.level,
        "partition": key,
        "expected": sum(interval.count(*each) for each in askable(interval, span, listed, clock)) - quiet,
        "present": present,
        "verified_at": to_naive(clock),
        "digest": digest,
    }


def askable(interval: Interval, span: Span, listed: Iterable[Span], clock: int) -> list[Span]:
    """The parts of `span` in which candles can have closed at `clock`."""
    return intersect([span.intersect(Span(0, interval.closed_before(clock)))], listed)


def record_coverage(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """Stores rows of the coverage table."""
    if rows:
        upsert(connection, _COVERAGE, pd.DataFrame(rows))


def unverify(connection: Connection, candle_table: CandleTable, entity_id: str, partitions: Collection[str]) -> None:
    """Clears the checksums of these partitions, whose candles we are changing. Verifying sets the next one."""
    if partitions:
        c = _COVERAGE.c
        where = (*of_series(c, provider_of(connection), candle_table, entity_id), c.partition.in_(partitions))
        connection.execute(update(_COVERAGE).where(*where).values(digest=""))
