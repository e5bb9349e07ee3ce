"""The sensor that repairs: it starts runs for exactly the spans and symbols of gaps and altered partitions now due.

It keeps no state: what is due follows from the ledger of gaps, what was requested from Dagster's history, where each
run carries a digest of its reason. So it may be stopped, restarted or reset at any moment. A request whose run failed
is made again on the next tick, then after waits that double; one whose run is under way is not made again. Reads the
database and Dagster's history only. What is due belongs to `quality.gaps.due`. Called by `definitions`.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of the functions it decorates at runtime.

from collections.abc import Iterator
from datetime import date, datetime

import dagster as dg

from crypto_assets.collect.spans_in_config import span_text
from crypto_assets.database.engines import Database
from crypto_assets.database.errors import DatabaseNotReady
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets.orchestration.jobs.assets import backfills
from crypto_assets.orchestration.partitions import first_partition
from crypto_assets.orchestration.resources import DatabaseResource, LedgerResource
from crypto_assets.orchestration.sensors.run_requests import (
    collection_request,
    left_before,
    next_try,
    tables_under_way,
)
from crypto_assets.quality.gaps.due import RepairRun, due_repairs
from crypto_assets.quality.verification.examination import settle_ledger, settle_marks

REPAIRS_PER_TICK = 5
PARTITIONS_PER_TICK = 64
"""A tick verifies so many changed partitions of a table: Dagster ends it after a minute."""


def build_gap_backfill_sensor(start: date) -> dg.SensorDefinition:
    """The sensor `gap_backfill_sensor`, for partitions from the day or month that contains `start`."""

    @dg.sensor(
        name="gap_backfill_sensor",
        jobs=list(backfills.values()),
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks again for candles that are missing or were altered: exactly those, newest first, until they"
        " are there or the exchange has shown that it has none.",
    )
    def gap_backfill_sensor(
        context: dg.SensorEvaluationContext, database: DatabaseResource, ledger: LedgerResource
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        with database.open() as db:
            if not db.exists():
                yield dg.SkipReason(f"There is no database at {db.location} yet; run job bootstrap.")
                return
            yield from requests(context.instance, db, ledger, start)

    return gap_backfill_sensor


def requests(
    instance: dg.DagsterInstance, database: Database, ledger: LedgerResource, start: date
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """The run requests of one tick, newest gaps first, or the reason why there are none.

    Repairs before the first partition, which contains `start`, are left out: no run could be given their partitions.
    """
    now, policy = ledger.now(), ledger.policy
    busy = tables_under_way(instance, now)
    repairs: list[RepairRun] = []
    waiting, next_due = 0, []
    for table, candle_table in KDATA_TABLES.items():
        try:
            if table not in busy:
                settle_marks(database, candle_table, now, policy, PARTITIONS_PER_TICK)
            settle_ledger(database, candle_table, now, policy)
            with database.connect(table) as connection:
                seen = due_repairs(connection, candle_table, now, policy)
        except DatabaseNotReady:
            continue  # not migrated, or not by this version: job bootstrap says more
        waiting += seen.open_gaps
        next_due += [seen.next_due] if seen.next_due else []
        repairs += [] if table in busy else seen.repairs
    possible = [_since(start, repair) for repair in repairs]
    cut = [repair.candle_table.name for repair, kept in zip(repairs, possible, strict=True) if kept != repair]
    repairs = [repair for repair in possible if repair is not None]
    asked = 0
    for repair in sorted(repairs, key=lambda each: each.newest, reverse=True):
        run_key = next_try(instance, repair.digest, now)
        if run_key is not None and asked < REPAIRS_PER_TICK:
            asked += 1
            yield _request(repair, run_key)
    if not asked:
        why = _why_nothing(waiting, len(repairs), busy, min(next_due, default=None), left=bool(cut))
        yield dg.SkipReason(why + left_before(start, cut))


def _since(start: date, repair: RepairRun) -> RepairRun | None:
    first = first_partition(repair.candle_table.interval, start)
    return repair.since(repair.candle_table.partition_span(first).start)


def _request(repair: RepairRun, run_key: str) -> dg.RunRequest:
    spans = {symbol: [span_text(span) for span in spans] for symbol, spans in repair.spans.items()}
    return collection_request(
        repair.candle_table, repair.partitions, {"spans": spans}, "gap_backfill_sensor", repair.digest, run_key
    )


def _why_nothing(gaps: int, repairs: int, busy: set[str], next_due: datetime | None, *, left: bool) -> str:
    if repairs:
        return f"{repairs} repairs are due; all of them are under way or failed a short time ago."
    if busy:
        return f"{', '.join(sorted(busy))} are being collected; what is missing there may be on its way."
    if gaps and next_due:
        return f"{gaps} gaps are open; the exchange is asked again at {next_due:%Y-%m-%d %H:%M:%S} UTC."
    return "Nothing is due." if left else "Nothing is missing that the exchange may have."
