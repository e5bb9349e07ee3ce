"""The jobs and the schedules. What they run belongs to the assets, the checks and `orchestration.jobs.refresh`.

Called by `definitions`; the sensors and `cli` name its jobs.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of the functions it decorates at runtime.

from typing import Any

import dagster as dg

from crypto_assets.database.care.maintenance import METRICS
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import PartitionScheme
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets.orchestration.checks.definitions import DEEP
from crypto_assets.orchestration.jobs.refresh import build_listing_op, build_refresh_op
from crypto_assets.orchestration.resources import DatabaseResource

bootstrap = dg.define_asset_job(
    "bootstrap",
    selection=dg.AssetSelection.groups("schema", "entities"),
    description="Creates or migrates the schema and lists every symbol: what all candle tables rest on.",
)

list_symbols = dg.define_asset_job(
    "list_symbols",
    selection=dg.AssetSelection.groups("entities").without_checks(),
    description="Lists every symbol anew: what appeared, ended or came back is owed accordingly from then on.",
)

backfills = {
    scheme: dg.define_asset_job(
        f"backfill_{scheme.value}_kdata",
        selection=dg.AssetSelection.assets(
            *(name for name, each in KDATA_TABLES.items() if each.partition_scheme is scheme)
        ).without_checks(),
        description=f"Collects a range of {scheme.value} partitions in one run; the checks are left to job integrity.",
    )
    for scheme in PartitionScheme
}

integrity = dg.define_asset_job(
    "integrity",
    selection=dg.AssetSelection.all_asset_checks(),
    description="Runs every check over everything stored; of partitions that were verified only those are read again in"
    " which rows were changed or deleted: what others insert is found by deep_integrity. Asks the database only.",
)

deep_integrity = dg.define_asset_job(
    "deep_integrity",
    selection=dg.AssetSelection.all_asset_checks(),
    tags={DEEP: "true"},
    description="Runs every check over every stored row, whether it changed or not. Asks the database only.",
)

quality_report = dg.define_asset_job(
    "quality_report",
    selection=dg.AssetSelection.assets("crypto_quality_report"),
    description="Writes the page that shows what is complete, missing and late.",
)

maintenance = dg.define_asset_job(
    "maintenance",
    selection=dg.AssetSelection.assets(METRICS),
    description="Tidies the database, writes down how large it is, and checks its health.",
)


def request_where_stored(database: DatabaseResource) -> dg.RunRequest | dg.SkipReason:
    """A run, or the reason why there is nothing to run over yet."""
    with database.open() as db:
        if not db.exists():
            return dg.SkipReason(f"There is no database at {db.location} yet; run job bootstrap.")
    return dg.RunRequest()


def _scheduled(job: str, cron: str, description: str) -> dg.ScheduleDefinition:
    """The schedule `<job>_schedule`, in UTC, on by itself, which waits for a database."""

    @dg.schedule(
        name=f"{job}_schedule",
        job_name=job,
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=description,
    )
    def schedule(database: DatabaseResource) -> dg.RunRequest | dg.SkipReason:
        return request_where_stored(database)

    return schedule


integrity_schedule = _scheduled(integrity.name, "0 */6 * * *", "Every six hours: is everything stored as it should be?")
deep_integrity_schedule = _scheduled(
    deep_integrity.name, "0 4 * * 6", "Every Saturday night: is every stored row as it was when it was verified?"
)
quality_report_schedule = _scheduled(
    quality_report.name, "30 */6 * * *", "Half an hour after each integrity run: the page of what it found."
)
maintenance_schedule = _scheduled(
    maintenance.name,
    "0 3 * * 0",
    "Every Sunday night: statistics, space given back, partitions ahead of need, sizes written down.",
)


def build_refresh_job(
    provider: str, tracked: dict[MarketType, tuple[str, ...]], resources: dict[str, Any]
) -> dg.JobDefinition:
    """The job `refresh_kdata` over all candle tables."""
    listings = {
        market_type: build_listing_op(provider, market_type, tracked[market_type]) for market_type in MarketType
    }
    tables = {each: build_refresh_op(provider, each, tracked[each.market_type]) for each in KDATA_TABLES.values()}

    @dg.job(
        name="refresh_kdata",
        description="Lists the symbols anew, then collects what every candle table misses since its last partition.",
        resource_defs=resources,
        executor_def=dg.in_process_executor,
    )
    def refresh_kdata() -> None:
        listed = {market_type: list_symbols() for market_type, list_symbols in listings.items()}
        for candle_table, collect in tables.items():
            collect(listed[candle_table.market_type])

    return refresh_kdata


def build_refresh_schedule(job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Hourly, off by default: whoever collects continuously turns it on in the UI.

    At a minute in which only the 1m candle closes, so that no other candle is still within the margin after its close.
    """
    return dg.ScheduleDefinition(
        name="refresh_schedule",
        job=job,
        cron_schedule="2 * * * *",
        execution_timezone="UTC",
        description="Every hour: collect the candles that closed since. Off until you turn it on.",
    )
