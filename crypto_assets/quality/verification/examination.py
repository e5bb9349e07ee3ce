"""Examining one candle table: what its checks say, at a cost that grows with what changed since the last examination.

Only suspect partitions (`quality.verification.suspects`) are read row by row; a deep examination reads all. The others
were verified, and nobody changed them since. How a partition is verified belongs to `quality.verification.partitions`.
Called by `orchestration.checks.definitions`, `orchestration.sensors.gap_backfill` and the benchmarks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, func, select

from crypto_assets.database.engines import Database
from crypto_assets.database.expressions import is_own, within, written_text
from crypto_assets.database.queries import entity_ids
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.intervals import PartitionScheme, to_naive
from crypto_assets.domain.series import CandleTable
from crypto_assets.domain.spans import intersect, merge
from crypto_assets.quality.gaps.collected_runs import collected_runs
from crypto_assets.quality.gaps.coverage import Owed, covered_partitions, owed_spans
from crypto_assets.quality.gaps.deciding import close_disowned
from crypto_assets.quality.gaps.ledger import Policy
from crypto_assets.quality.gaps.missing import Completeness, completeness_of, written_within
from crypto_assets.quality.gaps.rows import load_gaps
from crypto_assets.quality.rules.candles import (
    Scope,
    duplicates,
    invalid_ohlc,
    no_times,
    null_ohlc,
    off_grid,
    unknown_entities,
)
from crypto_assets.quality.rules.findings import Finding
from crypto_assets.quality.verification.marks import marks
from crypto_assets.quality.verification.partitions import PARTITIONS_PER_TRANSACTION, Look, SymbolPartitions
from crypto_assets.quality.verification.suspects import suspects

QUALITY = "crypto_quality"

ROW_CHECKS = ("no_duplicates", "no_null_ohlc", "valid_ohlc", "on_grid", "known_entities")


@dataclass(frozen=True)
class Altered:
    """A partition whose candles differ from the checksum they were verified with, though none breaks a rule."""

    entity_id: str
    partition: str


@dataclass(frozen=True)
class Examination:
    """What an examination of one candle table found; `rows` counts verified rows, `looked_at` the partitions read."""

    candle_table: CandleTable
    completeness: list[Completeness]
    findings: dict[str, Finding]
    altered: list[Altered]
    rows: int
    looked_at: int
    offending: dict[str, int]
    """Offending rows and altered partitions by entity id, where there are any."""
    owed: Sequence[Owed] = ()


def examine(
    database: Database, candle_table: CandleTable, now: datetime, policy: Policy, *, deep: bool = False
) -> Examination:
    """Verifies the suspect partitions of a candle table, brings coverage and ledger up to date, and returns findings.

    `now` is our clock, naive UTC, for the ledger. `deep` reads every partition. Reads and writes the database only.
    """
    with database.connect(candle_table.name) as connection:
        owed = owed_spans(connection, candle_table, longest_hole=policy.longest_hole)
    close_disowned(database, candle_table, owed, now, policy)
    with database.connect(candle_table.name) as connection:
        sure = suspects(connection, candle_table, owed)
        every = _every_partition(connection, candle_table) if deep else {}
        for entity_id, strays in (_uncollected(connection, candle_table) if deep else {}).items():
            sure.setdefault(entity_id, set()).update(strays)
    looks: list[tuple[str, Look]] = []
    looked_at = 0
    for entity_id in sorted({*sure, *every}):
        surely = sure.get(entity_id, set())
        chosen = sorted(surely | every.get(entity_id, set()))
        looked_at += len(chosen)
        for first in range(0, len(chosen), PARTITIONS_PER_TRANSACTION):
            chunk = chosen[first : first + PARTITIONS_PER_TRANSACTION]
            doubtful = {key for key in chunk if key not in surely}
            if doubtful:
                # These are read without a lock on writers, which nearly always is enough. One that equals its checksum
                # keeps the rules as it did when it was verified: one that broke them then has a mark.
                with database.connect(candle_table.name) as connection:
                    differing = SymbolPartitions(connection, candle_table, entity_id).differing(doubtful)
                chunk = sorted(surely.intersection(chunk) | differing)
            if chunk:
                looks.append((entity_id, _settle(database, candle_table, entity_id, chunk, now, policy)))
    with database.connect(candle_table.name) as connection:
        # Looking changed what is verified.
        now_verified = collected_runs(connection, candle_table).values() if looks else owed
        rows = sum(each.verified for each in now_verified)
        return _said(connection, candle_table, owed, rows, looks, looked_at)


def settle_marks(database: Database, candle_table: CandleTable, now: datetime, policy: Policy, limit: int) -> int:
    """Verifies the newest `limit` of the marked partitions that nobody examined yet; returns how many there are.

    What is missing there is in the ledger afterwards. Marks of partitions that were examined and found wanting are
    left.
    """
    with database.connect(candle_table.name) as connection:
        fresh = [mark for mark in marks(connection, candle_table) if mark.found is None]
    chosen: dict[str, list[str]] = {}
    for mark in sorted(fresh, key=lambda each: each.partition, reverse=True)[:limit]:
        chosen.setdefault(mark.entity_id, []).append(mark.partition)
    for entity_id, partitions in chosen.items():
        _settle(database, candle_table, entity_id, sorted(partitions), now, policy)
    return len(fresh)


def settle_ledger(database: Database, candle_table: CandleTable, now: datetime, policy: Policy) -> None:
    """Takes gaps that are no longer owed out of the ledger."""
    with database.connect(candle_table.name) as connection:
        if not load_gaps(connection, candle_table):
            return
        owed = owed_spans(connection, candle_table, longest_hole=policy.longest_hole)
    close_disowned(database, candle_table, owed, now, policy)


def _settle(
    database: Database,
    candle_table: CandleTable,
    entity_id: str,
    partitions: Sequence[str],
    now: datetime,
    policy: Policy,
) -> Look:
    with database.begin(candle_table.name, also=[QUALITY]) as connection:
        stored = SymbolPartitions(connection, candle_table, entity_id)
        look = stored.examine(partitions)
        stored.account(look, now, policy)
    return look


def _every_partition(connection: Connection, candle_table: CandleTable) -> dict[str, set[str]]:
    """Every partition that was ever collected, by entity."""
    covered = covered_partitions(connection, candle_table)
    return {entity_id: set(rows) for entity_id, rows in covered.items()}


def _uncollected(connection: Connection, candle_table: CandleTable) -> dict[str, set[str]]:
    """By entity, the keys of rows outside of all collected partitions; of a time that is no time its first letters."""
    table = TABLES[candle_table.name]
    is_daily = candle_table.partition_scheme is PartitionScheme.DAILY
    written = func.substr(written_text(table.c.timestamp), 1, 10 if is_daily else 7)
    every = _every_partition(connection, candle_table)
    found: dict[str, set[str]] = {}
    for entity_id in entity_ids(connection, table):
        if not is_own(connection, entity_id):
            continue
        covered = merge(candle_table.partition_span(key) for key in every.get(entity_id, ()))
        starts, ends = [each.start for each in covered], [each.end for each in covered]
        for start, end in zip([None, *ends], [*starts, None], strict=True):
            where = [table.c.entity_id == entity_id]
            where += [] if start is None else [table.c.timestamp >= to_naive(start)]
            where += [] if end is None else [table.c.timestamp < to_naive(end)]
            keys = connection.scalars(select(written).where(*where).distinct())
            found.setdefault(entity_id, set()).update(key if is_daily else f"{key}-01" for key in keys)
    return found


def _said(
    connection: Connection,
    candle_table: CandleTable,
    owed: Sequence[Owed],
    rows: int,
    looks: Iterable[tuple[str, Look]],
    looked_at: int,
) -> Examination:
    table, entities = TABLES[candle_table.name], TABLES[candle_table.entity_table]
    found = completeness_of(connection, candle_table, owed)
    open_gaps = {each.entity_id: [gap.span for gap in each.gaps] for each in found}
    findings = {check: Finding(0, 0) for check in ROW_CHECKS}
    offending: Counter[str] = Counter()
    altered = []
    for entity_id, look in looks:
        for found_there in _found_in(connection, candle_table, entity_id, look.wanting):
            for check, finding in found_there.items():
                findings[check] += finding
                offending[entity_id] += finding.count
        for key in look.differing:
            span = candle_table.partition_span(key)
            # Missing candles and broken rules are told by their own checks.
            if key not in look.wanting and not intersect([span], open_gaps.get(entity_id, [])):
                altered.append(Altered(entity_id, key))
                offending[entity_id] += 1
    listed = set(connection.scalars(select(entities.c.id)))
    if not listed.issuperset(entity_ids(connection, table)):
        findings["known_entities"] = unknown_entities(connection, table, entities)
    findings = {check: replace(finding, rows=rows) for check, finding in findings.items()}
    return Examination(candle_table, found, findings, altered, rows, looked_at, dict(+offending), owed)


def _found_in(
    connection: Connection, candle_table: CandleTable, entity_id: str, keys: Sequence[str]
) -> Iterator[dict[str, Finding]]:
    """The findings of the row rules in these partitions of an entity; neighbouring partitions are read together."""
    table = TABLES[candle_table.name]
    partitions = [key for key in keys if candle_table.is_partition_key(key)]
    for span in merge(map(candle_table.partition_span, partitions)):
        yield _row_findings(connection, candle_table, within(table, entity_id, span))
    for key in sorted(set(keys).difference(partitions)):
        yield {"on_grid": no_times(connection, table, written_within(candle_table, entity_id, key))}


def _row_findings(connection: Connection, candle_table: CandleTable, scope: Scope) -> dict[str, Finding]:
    table = TABLES[candle_table.name]
    return {
        "no_duplicates": duplicates(connection, table, scope),
        "no_null_ohlc": null_ohlc(connection, table, scope),
        "valid_ohlc": invalid_ohlc(connection, table, scope),
        "on_grid": off_grid(connection, table, candle_table.interval, scope),
    }
