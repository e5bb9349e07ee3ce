"""The jobs and the schedules. What they run belongs to the assets, checks and `refresh`. Called by `definitions`."""

from __future__ import annotations

from typing import Any

import dagster as dg

from crypto_assets.domain.entities import KDATA_TABLES, MarketType
from crypto_assets.domain.intervals import PartitionScheme
from crypto_assets.orchestration.refresh import build_refresh_op

bootstrap = dg.define_asset_job(
    "bootstrap",
    selection=dg.AssetSelection.groups("schema", "entities"),
    description="Creates or migrates the schema and lists every symbol: what all candle tables rest on.",
)

backfills = {
    scheme: dg.define_asset_job(
        f"backfill_{scheme.value}_kdata",
        selection=dg.AssetSelection.assets(
            *(table for table, (_, interval) in KDATA_TABLES.items() if interval.partition_scheme is scheme)
        ).without_checks(),
        description=f"Collects a range of {scheme.value} partitions in one run; the checks are left to job integrity.",
    )
    for scheme in PartitionScheme
}

integrity = dg.define_asset_job(
    "integrity",
    selection=dg.AssetSelection.all_asset_checks(),
    description="Runs every check over everything stored. Asks the database only.",
)

integrity_schedule = dg.ScheduleDefinition(
    name="integrity_schedule",
    job=integrity,
    cron_schedule="0 */6 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every six hours: is everything stored as it should be?",
)


def build_refresh_job(tracked: dict[MarketType, tuple[str, ...]], resources: dict[str, Any]) -> dg.JobDefinition:
    """The job `refresh_kdata` over all candle tables."""
    ops = [build_refresh_op(table, tracked[market_type]) for table, (market_type, _) in KDATA_TABLES.items()]

    @dg.job(
        name="refresh_kdata",
        description="Collects what is missing in every candle table since its last collected partition.",
        resource_defs=resources,
        executor_def=dg.in_process_executor,
    )
    def refresh_kdata() -> None:
        for op in ops:
            op()

    return refresh_kdata


def build_refresh_schedule(job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Hourly, off by default: whoever collects continuously turns it on in the UI."""
    return dg.ScheduleDefinition(
        name="refresh_schedule",
        job=job,
        cron_schedule="5 * * * *",
        execution_timezone="UTC",
        description="Every hour: collect the candles that closed since. Off until you turn it on.",
    )
