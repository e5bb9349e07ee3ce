"""The candle assets: fourteen tables from one factory.

An asset body says: window, collect, metadata. How a window is collected belongs to `collect.run` and `collect.candles`.
Called by `definitions`.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of the functions it decorates at runtime.

from datetime import date, timedelta

import dagster as dg
from pydantic import Field

from crypto_assets.collect.run import collect_table
from crypto_assets.collect.spans_in_config import parse_spans
from crypto_assets.collect.symbols import names_meant, tracked_now
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import Interval
from crypto_assets.domain.series import CandleTable
from crypto_assets.orchestration.assets.schema import OWNERS
from crypto_assets.orchestration.failures import fail_if_incomplete, stating_user_errors
from crypto_assets.orchestration.metadata import partition_metadata, run_metadata, table_metadata
from crypto_assets.orchestration.partitions import partition_window, partitions_definition, refuse_unknown_partitions
from crypto_assets.orchestration.resources import (
    ArchiveResource,
    DatabaseResource,
    ExchangeResource,
    LedgerResource,
    ProgressResource,
)


class KdataConfig(dg.Config):
    """What a run over a candle table may choose."""

    symbols: list[str] = Field(
        default_factory=list,
        description="Symbols to collect instead of the configured ones: BTC/USDT, btcusdt or */USDT.",
    )
    only_missing: bool = Field(
        default=False,
        description="Ask only for candles that are not stored; otherwise for all, and revised ones are replaced.",
    )
    spans: dict[str, list[str]] = Field(
        default_factory=dict,
        description="By ccxt symbol, the only spans in which missing candles are asked for, each from/until (UTC,"
        " without the end): 2023-03-24T12:40/2023-03-24T14:00. What a repair asks for.",
    )


def _freshness(interval: Interval) -> dg.FreshnessPolicy:
    """Fresh is what was collected within a few intervals, and within a few runs of the hourly refresh."""
    length = timedelta(milliseconds=interval.milliseconds)
    warn = max(timedelta(hours=3), 2 * length)
    return dg.FreshnessPolicy.time_window(fail_window=max(timedelta(hours=12), 2 * warn), warn_window=warn)


def build_kdata_asset(
    provider: str, candle_table: CandleTable, tracked: tuple[str, ...], start: date
) -> dg.AssetsDefinition:
    """The asset of a provider's candle table, by time; it collects `tracked` symbols unless a run names others."""
    market_type, interval = candle_table
    partitions = partitions_definition(interval, start)

    @dg.asset(
        name=candle_table.name,
        description=(
            f"{interval.value} candles of {'spot pairs' if market_type is MarketType.SPOT else 'USDT-M perpetuals'}, "
            "closed ones only, exactly as the exchange published them."
        ),
        group_name="kdata",
        kinds={provider, "pandas", "sqlite"},
        owners=OWNERS,
        tags={"interval": interval.value, "entity_type": market_type.entity_type},
        deps=["crypto_kdata_schema", market_type.entity_table],
        metadata=table_metadata(candle_table.name),
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        freshness_policy=_freshness(interval),
        code_version="1",
        pool=provider,
    )
    def kdata(
        context: dg.AssetExecutionContext,
        config: KdataConfig,
        exchange: ExchangeResource,
        archive: ArchiveResource,
        database: DatabaseResource,
        ledger: LedgerResource,
        progress: ProgressResource,
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        refuse_unknown_partitions(context, partitions)
        window = partition_window(context)
        with stating_user_errors(), exchange.open() as client, archive.open() as bulk_files, database.open() as db:
            named = names_meant(db, market_type, config.symbols)
            run = collect_table(
                client,
                db,
                candle_table,
                named or list(config.spans) or tracked_now(db, market_type, tracked),
                window,
                only_missing=config.only_missing,
                policy=ledger.policy,
                now=ledger.now,
                spans=parse_spans(config.spans, window, named) if config.spans else None,
                progress=progress.tell(context.log),
                archive=bulk_files,
            )
        fail_if_incomplete(run)
        for key, figures in partition_metadata(run).items():
            context.add_asset_metadata(figures, partition_key=key)
        return dg.MaterializeResult(metadata=run_metadata(run))

    return kdata
