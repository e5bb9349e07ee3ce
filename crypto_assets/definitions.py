"""The code location: one function that puts the assets, checks, jobs, schedules and resources together.

Nothing else belongs here. Loaded by Dagster as `crypto_assets.definitions`; `cli` and the tests call
`build_definitions` with settings and resources of their own.
"""

from __future__ import annotations

import warnings
from typing import Any

import dagster as dg

from crypto_assets.alerts.webhook import Webhook
from crypto_assets.composition import resources_of
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets.orchestration.alerts.sensor import build_alert_sensor
from crypto_assets.orchestration.assets.entities import build_asset_asset, build_market_asset
from crypto_assets.orchestration.assets.kdata import build_kdata_asset
from crypto_assets.orchestration.assets.operations import crypto_operational_metrics, healthy
from crypto_assets.orchestration.assets.report import crypto_quality_report
from crypto_assets.orchestration.assets.schema import SCHEMAS, build_schema_asset
from crypto_assets.orchestration.checks.definitions import build_entity_checks, build_kdata_checks, entity_tables
from crypto_assets.orchestration.jobs.archive_refresh import archive_schedule, refresh_archive_files
from crypto_assets.orchestration.jobs.assets import (
    backfills,
    bootstrap,
    build_refresh_job,
    build_refresh_schedule,
    deep_integrity,
    deep_integrity_schedule,
    integrity,
    integrity_schedule,
    list_symbols,
    maintenance,
    maintenance_schedule,
    quality_report,
    quality_report_schedule,
)
from crypto_assets.orchestration.jobs.decide_holes import decide_holes
from crypto_assets.orchestration.jobs.rollback import rollback
from crypto_assets.orchestration.sensors.gap_backfill import build_gap_backfill_sensor
from crypto_assets.orchestration.sensors.new_listings import build_new_listing_sensor
from crypto_assets.settings import Settings, load_settings

# `backfill_policy` on an asset is beta in Dagster 1.13 and would warn fourteen times in every process. It is what makes
# a range of partitions one run: a run of its own for each costs forty times as much.
warnings.filterwarnings("ignore", category=dg.BetaWarning, message=".*backfill_policy.*")


def build_definitions(settings: Settings, **overrides: Any) -> dg.Definitions:
    """The project's definitions for `settings`; `overrides` replace resources (`exchange`, `database` ...) by name."""
    tracked = {MarketType.SPOT: settings.pairs, MarketType.SWAP: settings.perps}
    resources = resources_of(settings) | overrides
    refresh_kdata = build_refresh_job(settings.provider, tracked, resources)
    webhook = Webhook(str(settings.alert_webhook.get_secret_value())) if settings.alert_webhook else None
    return dg.Definitions(
        assets=[
            *(build_schema_asset(schema) for schema in SCHEMAS),
            build_asset_asset(
                settings.provider, tuple(market_type for market_type in MarketType if tracked[market_type])
            ),
            *(build_market_asset(settings.provider, market_type, tracked[market_type]) for market_type in MarketType),
            *(
                build_kdata_asset(settings.provider, each, tracked[each.market_type], settings.start)
                for each in KDATA_TABLES.values()
            ),
            crypto_operational_metrics,
            crypto_quality_report,
        ],
        asset_checks=[
            *(build_entity_checks(table) for table in entity_tables()),
            *(build_kdata_checks(each) for each in KDATA_TABLES.values()),
            healthy,
        ],
        jobs=[
            bootstrap,
            list_symbols,
            *backfills.values(),
            refresh_kdata,
            integrity,
            deep_integrity,
            quality_report,
            maintenance,
            refresh_archive_files,
            rollback,
            decide_holes,
        ],
        schedules=[
            integrity_schedule,
            deep_integrity_schedule,
            quality_report_schedule,
            maintenance_schedule,
            archive_schedule,
            build_refresh_schedule(refresh_kdata),
        ],
        sensors=[
            build_gap_backfill_sensor(settings.start),
            build_new_listing_sensor(tracked, settings.start),
            build_alert_sensor(webhook, settings.environment.value),
        ],
        resources=resources,
        # One interpreter for all steps of a run: starting one for each costs seven times as much.
        executor=dg.in_process_executor,
    )


defs = build_definitions(load_settings())
