"""The asset `crypto_operational_metrics`, which maintains the database and stores its sizes, and its check `healthy`.

Maintaining and measuring belongs to `database.care.maintenance`, archiving to `quality.retention`, deleting old scores
to `quality.history`, the vitals to `quality.vitals`. Called by `definitions`.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of the functions it decorates at runtime.

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from sqlalchemy import select

from crypto_assets.database.archive.manifest import ArchivedMonth
from crypto_assets.database.care.index_evidence import IndexUse, index_use
from crypto_assets.database.care.maintenance import METRICS, TableState, maintain, record
from crypto_assets.database.engines import Database
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.intervals import naive_utc, to_milliseconds
from crypto_assets.domain.series import KDATA_TABLES, CandleTable
from crypto_assets.domain.spans import Span
from crypto_assets.orchestration.assets.schema import OWNERS
from crypto_assets.orchestration.failures import stating_user_errors
from crypto_assets.orchestration.metadata import table_metadata, table_value
from crypto_assets.orchestration.resources import DatabaseResource, LedgerResource
from crypto_assets.quality.gaps.ledger import Policy
from crypto_assets.quality.history import forget
from crypto_assets.quality.retention import apply_retention
from crypto_assets.quality.vitals import Vital, vitals

_AHEAD = 2
"""Whole months after this one for which partitions are made before anybody writes into them."""


@dg.asset(
    name=METRICS,
    description="Measurements of the database, taken after it was tidied: bytes, rows and bytes per row of each table.",
    group_name="operations",
    kinds={"sqlalchemy"},
    owners=OWNERS,
    deps=["crypto_operations_schema"],
    metadata=table_metadata(METRICS),
    code_version="1",
)
def crypto_operational_metrics(database: DatabaseResource, ledger: LedgerResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """Partitions ahead of need, maintenance, measurements."""
    moment = datetime.now(UTC)
    with stating_user_errors(), database.open() as db:
        partitions = make_partitions_ahead(db, moment)
        # Before maintenance, which then gives the freed space back and measures what is left.
        archived = archive_old_candles(db, database, moment, ledger.policy)
        forgotten = forget(db, naive_utc(moment), database.history_days)
        states = maintain(db)
        use = index_use(db)
        stored = record(db, states, moment, {"index_use_share": use.share})
    return dg.MaterializeResult(
        metadata=_metadata(states, use, partitions, stored)
        | {"months_archived": len(archived), "rows_archived": sum(month.rows for month in archived)}
        | {f"{what}_forgotten": count for what, count in asdict(forgotten).items()}
    )


@dg.asset_check(
    asset=METRICS,
    name="healthy",
    description="Schema, references, integrity, query time, connections and index use are as they should be.",
    blocking=False,
)
def healthy(database: DatabaseResource) -> dg.AssetCheckResult:
    """The vitals of the database as one verdict."""
    with stating_user_errors(), database.open() as db:
        found = vitals(db)
    return verdict(found)


def verdict(found: Sequence[Vital]) -> dg.AssetCheckResult:
    """Passed only where every vital is; each one's figure beside it."""
    failed = [vital for vital in found if not vital.passed]
    numbers = {vital.what: vital.value if vital.value is not None else vital.figure for vital in found}
    return dg.AssetCheckResult(
        passed=not failed,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(f"{vital.what}: {vital.figure}" for vital in failed) or None,
        metadata=numbers | {"vitals": table_value([_vital_row(vital) for vital in found])},
    )


def archive_old_candles(
    db: Database, resource: DatabaseResource, moment: datetime, policy: Policy
) -> list[ArchivedMonth]:
    """Moves whole months older than `CRYPTO_ASSETS_RETENTION_DAYS` into files; nothing where that is 0."""
    if not resource.retention_days:
        return []
    before = moment - timedelta(days=resource.retention_days)
    return apply_retention(db, Path(resource.archive_directory), to_milliseconds(before), policy.longest_hole)


def make_partitions_ahead(database: Database, moment: datetime) -> int:
    """Makes the partitions of the month of `moment` and the two after it for every table that collects candles.

    The number of those made; tables without partitions are left as they are.
    """
    start = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = start
    for _ in range(_AHEAD + 1):
        end = (end + timedelta(days=31)).replace(day=1)
    span = Span(to_milliseconds(start), to_milliseconds(end))
    coverage = TABLES["crypto_kdata_coverage"]
    with database.connect(coverage.name) as connection:
        collected = connection.execute(select(coverage.c.entity_id, coverage.c.level).distinct()).all()
    tables = {CandleTable.of(entity_id, level) for entity_id, level in collected}
    return sum(database.ensure_partitions(each.name, span) for each in KDATA_TABLES.values() if each in tables)


def _metadata(states: Sequence[TableState], use: IndexUse, partitions: int, stored: int) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "total_bytes": sum(state.bytes for state in states),
        "total_rows": sum(state.rows for state in states),
        "tables_compacted": sum(state.compacted for state in states),
        "partitions_made": partitions,
        "index_use_share": use.share,
        "metrics_stored": stored,
    }
    for state in states:
        if state.bytes_per_row is not None:
            metadata[f"bytes/{state.table}"] = state.bytes
            metadata[f"bytes_per_row/{state.table}"] = state.bytes_per_row
    rows = [
        {"table": state.table, "rows": state.rows, "bytes": state.bytes, "compacted": state.compacted}
        for state in states
    ]
    if rows:
        metadata["tables"] = table_value(rows)
    if use.unused:
        metadata["unused_indexes"] = ", ".join(use.unused)
    return metadata


def _vital_row(vital: Vital) -> dict[str, Any]:
    return {"what": vital.what, "passed": vital.passed, "figure": vital.figure}
