"""All that is to be said about one candle table, at a cost that grows with what changed since it was last looked at.

Looked at, row by row, are partitions with a mark (a trigger's), without a checksum (we were changing them), and those
for which coverage and ledger do not add up. A deep examination looks at all of them. What else there is was verified,
and nobody changed it. How a partition is verified belongs to `verification`. Called by `orchestration.checks` and the
benchmarks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, Table, func, select

from crypto_assets.database.engines import Database
from crypto_assets.database.expressions import written_text
from crypto_assets.database.queries import entity_ids
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.entities import KDATA_TABLES
from crypto_assets.domain.intervals import (
    Interval,
    PartitionScheme,
    is_partition_key,
    partition_keys,
    partition_span,
    to_datetime,
)
from crypto_assets.domain.spans import Span, intersect, merge
from crypto_assets.quality.candles import (
    Scope,
    duplicates,
    invalid_ohlc,
    no_times,
    null_ohlc,
    off_grid,
    unknown_entities,
)
from crypto_assets.quality.changes import marks
from crypto_assets.quality.coverage import Owed, count_verified, owed_spans, verified_counts
from crypto_assets.quality.findings import Finding
from crypto_assets.quality.gap_rows import load_gaps
from crypto_assets.quality.gaps import Completeness, archived_spans, completeness, within, written_within
from crypto_assets.quality.ledger import Gap, Policy
from crypto_assets.quality.verification import PARTITIONS_PER_TRANSACTION, Look, Series

QUALITY = "crypto_quality"

ROW_CHECKS = ("no_duplicates", "no_null_ohlc", "valid_ohlc", "on_grid", "known_entities")


@dataclass(frozen=True)
class Altered:
    """A partition whose candles are other than they were when they were verified, though none breaks a rule."""

    entity_id: str
    partition: str


@dataclass(frozen=True)
class Examination:
    """A candle table: completeness by entity, findings by check, partitions altered, rows verified, partitions read."""

    table: str
    completeness: list[Completeness]
    findings: dict[str, Finding]
    altered: list[Altered]
    rows: int
    looked_at: int
    offending: dict[str, int]
    """Offending rows and altered partitions by entity id, where there are any."""


def examine(database: Database, table_name: str, now: datetime, policy: Policy, *, deep: bool = False) -> Examination:
    """Verifies what is to be looked at of a candle table, brings coverage and ledger up to date, and says what is red.

    `now` is our clock, naive UTC, for the ledger. `deep` looks at every partition. Asks the database only.
    """
    with database.connect(table_name) as connection:
        suspects = _suspects(connection, table_name, policy)
        every = _every_partition(connection, table_name) if deep else {}
        for entity_id, strays in (_uncollected(connection, table_name) if deep else {}).items():
            suspects.setdefault(entity_id, set()).update(strays)
    looks: list[tuple[str, Look]] = []
    looked_at = 0
    for entity_id in sorted({*suspects, *every}):
        surely = suspects.get(entity_id, set())
        chosen = sorted(surely | every.get(entity_id, set()))
        looked_at += len(chosen)
        for first in range(0, len(chosen), PARTITIONS_PER_TRANSACTION):
            chunk = chosen[first : first + PARTITIONS_PER_TRANSACTION]
            doubtful = {key for key in chunk if key not in surely}
            if doubtful:
                # Looked at without keeping anybody from writing; nearly always that is all. What is as it was verified
                # keeps the rules as it did then: where it does not, there is a mark.
                with database.connect(table_name) as connection:
                    differing = Series(connection, table_name, entity_id).differing(doubtful)
                chunk = sorted(surely.intersection(chunk) | differing)
            if chunk:
                looks.append((entity_id, _settle(database, table_name, entity_id, chunk, now, policy)))
    with database.connect(table_name) as connection:
        return _said(connection, table_name, looks, looked_at, policy)


def settle_marks(database: Database, table_name: str, now: datetime, policy: Policy, limit: int) -> int:
    """Looks at the newest `limit` partitions that changed since anybody looked; how many there were.

    What is missing there is in the ledger afterwards. Of what was looked at before and found wanting nothing is done.
    """
    with database.connect(table_name) as connection:
        fresh = [mark for mark in marks(connection, table_name) if mark.found is None]
    chosen: dict[str, list[str]] = {}
    for mark in sorted(fresh, key=lambda each: each.partition, reverse=True)[:limit]:
        chosen.setdefault(mark.entity_id, []).append(mark.partition)
    for entity_id, partitions in chosen.items():
        _settle(database, table_name, entity_id, sorted(partitions), now, policy)
    return len(fresh)


def _settle(
    database: Database, table_name: str, entity_id: str, partitions: Sequence[str], now: datetime, policy: Policy
) -> Look:
    with database.begin(table_name, also=[QUALITY]) as connection:
        series = Series(connection, table_name, entity_id)
        look = series.examine(partitions)
        series.account(look, now, policy)
    return look


def _suspects(connection: Connection, table_name: str, policy: Policy) -> dict[str, set[str]]:
    """The partitions that are to be looked at, by entity: marked, unverified, or of which the sums do not add up."""
    market_type, interval = KDATA_TABLES[table_name]
    found: dict[str, set[str]] = {}
    for mark in marks(connection, table_name):
        found.setdefault(mark.entity_id, set()).add(mark.partition)
    present = verified_counts(connection, market_type, interval)
    gaps = load_gaps(connection, market_type, interval)
    archived = archived_spans(connection, TABLES[table_name], interval)
    entities = TABLES[market_type.entity_table]
    for owed in owed_spans(connection, entities, interval, longest_hole=policy.longest_hole):
        unsettled = _unsettled(
            interval,
            owed,
            present[owed.entity_id],
            gaps.get(owed.entity_id, []),
            archived.get(owed.entity_id, []),
        )
        if unsettled:
            found.setdefault(owed.entity_id, set()).update(unsettled)
    return found


def _unsettled(
    interval: Interval,
    owed: Owed,
    present: Mapping[str, int | None],
    gaps: Sequence[Gap],
    archived: Sequence[Span],
) -> set[str]:
    """The partitions of an entity that are unverified, or lack other candles than the ledger says."""
    expected = _by_partition(interval, owed.spans)
    lacking = _by_partition(interval, [gap.span for gap in gaps])
    # One that is in a file cannot be verified before it is restored, and the triggers tell when that happens.
    blank = {key for key, count in present.items() if count is None}
    scheme = interval.partition_scheme
    unsettled = {key for key in blank if not intersect([Span(*partition_span(scheme, key))], archived)}
    for key, count in expected.items():
        if key not in blank and count - (present.get(key) or 0) != lacking.get(key, 0):
            unsettled.add(key)
    return unsettled | (lacking.keys() - expected.keys())


def _by_partition(interval: Interval, spans: Iterable[Span]) -> dict[str, int]:
    """How many grid points of `spans` lie in each partition."""
    counts: dict[str, int] = {}
    for span in spans:
        for key in partition_keys(interval.partition_scheme, *span):
            own = span.intersect(Span(*partition_span(interval.partition_scheme, key)))
            counts[key] = counts.get(key, 0) + interval.count(*own)
    return counts


def _every_partition(connection: Connection, table_name: str) -> dict[str, set[str]]:
    """Every partition that was ever collected, by entity."""
    return {entity_id: set(rows) for entity_id, rows in verified_counts(connection, *KDATA_TABLES[table_name]).items()}


def _uncollected(connection: Connection, table_name: str) -> dict[str, set[str]]:
    """By entity, what partitions there are rows of that were never collected, or what is written in place of one."""
    table, interval = TABLES[table_name], KDATA_TABLES[table_name][1]
    is_daily = interval.partition_scheme is PartitionScheme.DAILY
    written = func.substr(written_text(table.c.timestamp), 1, 10 if is_daily else 7)
    every = _every_partition(connection, table_name)
    found: dict[str, set[str]] = {}
    for entity_id in entity_ids(connection, table):
        covered = merge(Span(*partition_span(interval.partition_scheme, key)) for key in every.get(entity_id, ()))
        starts, ends = [each.start for each in covered], [each.end for each in covered]
        for start, end in zip([None, *ends], [*starts, None], strict=True):
            where = [table.c.entity_id == entity_id]
            where += [] if start is None else [table.c.timestamp >= to_datetime(start).replace(tzinfo=None)]
            where += [] if end is None else [table.c.timestamp < to_datetime(end).replace(tzinfo=None)]
            keys = connection.scalars(select(written).where(*where).distinct())
            found.setdefault(entity_id, set()).update(key if is_daily else f"{key}-01" for key in keys)
    return found


def _said(
    connection: Connection, table_name: str, looks: Iterable[tuple[str, Look]], looked_at: int, policy: Policy
) -> Examination:
    market_type, interval = KDATA_TABLES[table_name]
    table, entities = TABLES[table_name], TABLES[market_type.entity_table]
    found = completeness(connection, table_name, entities, policy.longest_hole)
    open_gaps = {each.entity_id: [gap.span for gap in each.gaps] for each in found}
    findings = {check: Finding(0, 0) for check in ROW_CHECKS}
    offending: Counter[str] = Counter()
    altered = []
    for entity_id, look in looks:
        for found_there in _found_in(connection, table, interval, entity_id, look.wanting):
            for check, finding in found_there.items():
                findings[check] += finding
                offending[entity_id] += finding.count
        for key in look.differing:
            span = Span(*partition_span(interval.partition_scheme, key))
            # What is missing, or breaks a rule, is said by the check that is about it.
            if key not in look.wanting and not intersect([span], open_gaps.get(entity_id, [])):
                altered.append(Altered(entity_id, key))
                offending[entity_id] += 1
    listed = set(connection.scalars(select(entities.c.id)))
    if not listed.issuperset(entity_ids(connection, table)):
        findings["known_entities"] = unknown_entities(connection, table, entities)
    rows = count_verified(connection, market_type, interval)
    findings = {check: replace(finding, rows=rows) for check, finding in findings.items()}
    return Examination(table_name, found, findings, altered, rows, looked_at, dict(+offending))


def _found_in(
    connection: Connection, table: Table, interval: Interval, entity_id: str, keys: Sequence[str]
) -> Iterator[dict[str, Finding]]:
    """What the rows of these partitions of an entity offend against, neighbours together."""
    scheme = interval.partition_scheme
    partitions = [key for key in keys if is_partition_key(scheme, key)]
    for span in merge(Span(*partition_span(scheme, key)) for key in partitions):
        yield _row_findings(connection, table, interval, within(table, entity_id, span))
    for key in sorted(set(keys).difference(partitions)):
        yield {"on_grid": no_times(connection, table, written_within(table, entity_id, interval, key))}


def _row_findings(connection: Connection, table: Table, interval: Interval, scope: Scope) -> dict[str, Finding]:
    return {
        "no_duplicates": duplicates(connection, table, scope),
        "no_null_ohlc": null_ohlc(connection, table, scope),
        "valid_ohlc": invalid_ohlc(connection, table, scope),
        "on_grid": off_grid(connection, table, interval, scope),
    }
