"""The sensor that gets back what is missing: open gaps become runs of exactly their ranges and symbols.

It remembers nothing: what is due is in the ledger, what was asked for is in Dagster's history, by a digest of what each
request rests on. So it may be stopped, restarted or reset at any moment. A request whose run failed is made again on
the next tick, then after waits that double; one whose run is under way is never made a second time. Asks the database
and the history only. Called by `definitions`.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of the functions it decorates at runtime.

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg

from crypto_assets.database.engines import Database
from crypto_assets.database.errors import DatabaseNotReady
from crypto_assets.domain.entities import KDATA_TABLES
from crypto_assets.domain.intervals import PartitionScheme
from crypto_assets.orchestration.jobs import backfills
from crypto_assets.orchestration.resources import DatabaseResource, LedgerResource
from crypto_assets.orchestration.spans_in_config import span_text
from crypto_assets.quality.integrity import settle_marks
from crypto_assets.quality.repairs import Repair, outlook

REPAIR = "crypto_assets/repair"
"""The run tag with a repair's digest."""

REPAIRS_PER_TICK = 5
PARTITIONS_PER_TICK = 64
"""So many changed partitions of a table are looked at in a tick, which Dagster gives a minute."""

_UNDER_WAY = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_FORGOTTEN_AFTER = timedelta(hours=6)
"""A run under way for longer keeps nobody waiting: one that was killed without a daemon never ends in the history."""

_FIRST_WAIT, _LONGEST_WAIT = timedelta(minutes=1), timedelta(days=1)


@dg.sensor(
    name="gap_backfill_sensor",
    jobs=list(backfills.values()),
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Asks again for candles that are missing or were altered: exactly those, newest first, until they are"
    " there or the exchange has shown that it has none.",
)
def gap_backfill_sensor(
    context: dg.SensorEvaluationContext, database: DatabaseResource, ledger: LedgerResource
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """The runs that are due, or why there are none."""
    with database.open() as opened:
        if not opened.exists():
            yield dg.SkipReason(f"There is no database at {opened.location} yet; run job bootstrap.")
            return
        yield from requests(context.instance, opened, ledger)


def requests(
    instance: dg.DagsterInstance, database: Database, ledger: LedgerResource
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """The run requests of one tick, newest gaps first, or the reason why there are none."""
    now, policy = ledger.now(), ledger.policy
    busy = tables_under_way(instance, now)
    repairs: list[Repair] = []
    waiting, next_due = 0, []
    for table in KDATA_TABLES:
        try:
            if table not in busy:
                settle_marks(database, table, now, policy, PARTITIONS_PER_TICK)
            with database.connect(table) as connection:
                seen = outlook(connection, table, now, policy)
        except DatabaseNotReady:
            continue  # not migrated, or not by this version: job bootstrap says more
        waiting += seen.open_gaps
        next_due += [seen.next_due] if seen.next_due else []
        repairs += [] if table in busy else seen.repairs
    asked = 0
    for repair in sorted(repairs, key=lambda each: each.newest, reverse=True):
        tries = _tries(instance, repair, now)
        if tries is not None and asked < REPAIRS_PER_TICK:
            asked += 1
            yield _request(repair, tries)
    if not asked:
        yield dg.SkipReason(_why_nothing(waiting, len(repairs), busy, min(next_due, default=None)))


def tables_under_way(instance: dg.DagsterInstance, now: datetime) -> set[str]:
    """The candle tables that a run is collecting: what is missing there may be on its way."""
    busy: set[str] = set()
    under_way = dg.RunsFilter(statuses=_UNDER_WAY, created_after=now.replace(tzinfo=UTC) - _FORGOTTEN_AFTER)
    for record in instance.get_run_records(under_way):
        run = record.dagster_run
        if run.asset_selection is not None:
            busy |= {key.path[-1] for key in run.asset_selection}
        elif run.job_name == "refresh_kdata":
            busy |= set(KDATA_TABLES)
        else:
            busy |= {table for table in KDATA_TABLES if run.job_name == _backfill(table)}
    return busy & set(KDATA_TABLES)


def _tries(instance: dg.DagsterInstance, repair: Repair, now: datetime) -> int | None:
    """How often this very repair was tried in vain; None while it is tried, or is to be left alone for now."""
    records = instance.get_run_records(dg.RunsFilter(tags={REPAIR: repair.digest}), limit=50)
    since = now.replace(tzinfo=UTC) - _FORGOTTEN_AFTER
    if any(each.dagster_run.status in _UNDER_WAY and each.create_timestamp > since for each in records):
        return None
    ended = [each.end_time for each in records if each.end_time is not None]
    if len(records) > 1 and ended:
        wait = min(_FIRST_WAIT * 2 ** min(len(records) - 2, 20), _LONGEST_WAIT)
        if datetime.fromtimestamp(max(ended), UTC).replace(tzinfo=None) + wait > now:
            return None
    return len(records)


def _request(repair: Repair, tries: int) -> dg.RunRequest:
    first, last = repair.partitions
    spans = {symbol: [span_text(span) for span in spans] for symbol, spans in repair.spans.items()}
    return dg.RunRequest(
        run_key=f"{repair.digest} {tries}",
        job_name=_backfill(repair.table),
        asset_selection=[dg.AssetKey(repair.table)],
        run_config={"ops": {repair.table: {"config": {"spans": spans}}}},
        tags={
            "dagster/asset_partition_range_start": first,
            "dagster/asset_partition_range_end": last,
            "crypto_assets/trigger": "gap_backfill_sensor",
            REPAIR: repair.digest,
        },
    )


def _backfill(table: str) -> str:
    scheme: PartitionScheme = KDATA_TABLES[table][1].partition_scheme
    return str(backfills[scheme].name)


def _why_nothing(gaps: int, repairs: int, busy: set[str], next_due: datetime | None) -> str:
    if repairs:
        return f"{repairs} repairs are due; all of them are under way or failed a short time ago."
    if busy:
        return f"{', '.join(sorted(busy))} are being collected; what is missing there may be on its way."
    if gaps:
        return f"{gaps} gaps are open; the exchange is asked again at {next_due:%Y-%m-%d %H:%M:%S} UTC."
    return "Nothing is missing that the exchange may have."
