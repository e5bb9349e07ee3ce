"""Run requests of sensors: one run for one reason, another if it failed, never two of one table at the same time.

Dagster's history is the memory: each run carries a digest of its reason. Called by `orchestration.sensors.gap_backfill`
and `orchestration.sensors.new_listings`. Moments are naive UTC.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg

from crypto_assets.domain.intervals import naive_utc
from crypto_assets.domain.series import KDATA_TABLES, CandleTable
from crypto_assets.orchestration.jobs.assets import backfills
from crypto_assets.orchestration.partitions import first_partition

REQUEST = "crypto_assets/request"
"""The run tag with the digest."""

BOUNDED = {"dagster/max_runtime": "3600"}
"""The run tag by which the daemon ends a run after so many seconds. One whose worker was killed never ends otherwise:
it would hold one of the places for runs, and keep its table from being repaired."""

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
_REMEMBERED = 20
"""So many tries are read, newest first: the wait between tries is at its longest long before that many."""


def collection_request(
    candle_table: CandleTable,
    partitions: tuple[str, str],
    config: dict[str, Any],
    sensor: str,
    digest: str,
    run_key: str,
) -> dg.RunRequest:
    """A run over a range of partitions of one candle table; `config` is the asset's, `run_key` what `next_try` said.

    Without the table's checks: they judge all of it, and a run fails for what it was asked to do alone.
    """
    table = candle_table.name
    return dg.RunRequest(
        run_key=run_key,
        job_name=backfill_of(candle_table),
        asset_selection=[dg.AssetKey(table)],
        asset_check_keys=[],  # a selection of assets brings their checks along, though the job has none
        run_config={"ops": {table: {"config": config}}},
        tags={
            "dagster/asset_partition_range_start": partitions[0],
            "dagster/asset_partition_range_end": partitions[1],
            "crypto_assets/trigger": sensor,
            REQUEST: digest,
            **BOUNDED,
        },
    )


def left_before(start: date, tables: Iterable[str]) -> str:
    """A sentence, after a space, that names tables with something due before their first partition; or nothing."""
    names = sorted(set(tables))
    if not names:
        return ""
    firsts = dict.fromkeys(first_partition(KDATA_TABLES[table].interval, start) for table in names)
    return (
        f" What is due of {', '.join(names)} before {' and '.join(sorted(firsts))} is left: CRYPTO_ASSETS_START is"
        f" {start} here, so there are no partitions of it. All processes of one database need the same."
    )


def backfill_of(candle_table: CandleTable) -> str:
    """The job that collects a candle table."""
    return str(backfills[candle_table.partition_scheme].name)


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
            busy |= {name for name, each in KDATA_TABLES.items() if run.job_name == backfill_of(each)}
    return busy & set(KDATA_TABLES)


def next_try(instance: dg.DagsterInstance, digest: str, now: datetime) -> str | None:
    """The run key of the next try of this request; None while a run tries it, or while it must wait after a failure.

    Dagster never runs a key twice. So the key names the run that it follows: it stays the same until a run came of it,
    and then changes.
    """
    records = instance.get_run_records(dg.RunsFilter(tags={REQUEST: digest}), limit=_REMEMBERED)
    since = now.replace(tzinfo=UTC) - _FORGOTTEN_AFTER
    if any(each.dagster_run.status in _UNDER_WAY and each.create_timestamp > since for each in records):
        return None
    ended = [each.end_time for each in records if each.end_time is not None]
    if len(records) > 1 and ended:
        wait = min(_FIRST_WAIT * 2 ** (len(records) - 2), _LONGEST_WAIT)
        if naive_utc(datetime.fromtimestamp(max(ended), UTC)) + wait > now:
            return None
    return f"{digest} after {max((each.storage_id for each in records), default=0)}"
