"""The `refresh_kdata` job: every candle table from its last collected partition to now, without naming partitions.

An asset job cannot span daily and monthly partitions, so this job is made of ops that share the assets' code and report
each partition they touch as materialized. Called by `orchestration.jobs.assets`, and in parts by `archive_refresh`.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of the functions it decorates at runtime.

import dagster as dg
from sqlalchemy import func, select

from crypto_assets.collect.run import TableRun, collect_table
from crypto_assets.collect.symbols import populate_markets, tracked_now
from crypto_assets.database.engines import Database
from crypto_assets.database.entity_names import entities_called
from crypto_assets.database.expressions import provider_of
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.series import CandleTable
from crypto_assets.domain.spans import Span
from crypto_assets.orchestration.failures import fail_if_incomplete, stating_user_errors
from crypto_assets.orchestration.metadata import partition_metadata, run_metadata
from crypto_assets.orchestration.resources import (
    ArchiveResource,
    DatabaseResource,
    ExchangeResource,
    LedgerResource,
    ProgressResource,
)


def build_listing_op(provider: str, market_type: MarketType, tracked: tuple[str, ...]) -> dg.OpDefinition:
    """The op that refreshes one entity table: a symbol that ended, or resumed, is owed its candles accordingly."""

    @dg.op(name=f"refresh_{market_type.entity_table}", pool=provider, out=dg.Out(dg.Nothing))
    def refresh_listing(context: dg.OpExecutionContext, exchange: ExchangeResource, database: DatabaseResource) -> None:
        """Lists the market's symbols anew."""
        if tracked:
            with stating_user_errors(), exchange.open() as client, database.open() as db:
                populated = populate_markets(db, client, market_type, tracked, client.server_time(market_type))
            for remark in populated.remarks:
                context.log.warning("%s", remark)

    return refresh_listing


def build_refresh_op(provider: str, candle_table: CandleTable, tracked: tuple[str, ...]) -> dg.OpDefinition:
    """The op that refreshes one candle table."""
    market_type = candle_table.market_type

    @dg.op(name=f"refresh_{candle_table.name}", pool=provider, ins={"listed": dg.In(dg.Nothing)})
    def refresh(
        context: dg.OpExecutionContext,
        exchange: ExchangeResource,
        archive: ArchiveResource,
        database: DatabaseResource,
        ledger: LedgerResource,
        progress: ProgressResource,
    ) -> None:
        """Collects what is missing since the last collected partition of the table."""
        if not tracked:
            context.log.info("%s: no symbols are configured", candle_table.name)
            return
        with stating_user_errors(), exchange.open() as client, archive.open() as bulk_files, database.open() as db:
            symbols = tracked_now(db, market_type, tracked)
            clock = client.server_time(market_type) - client.close_margin_ms
            window = refresh_window(db, candle_table, symbols, clock)
            run = collect_table(
                client,
                db,
                candle_table,
                symbols,
                window,
                only_missing=True,
                policy=ledger.policy,
                now=ledger.now,
                progress=progress.tell(context.log),
                archive=bulk_files,
            )
        report_partitions(context, run)

    return refresh


def report_partitions(context: dg.OpExecutionContext, run: TableRun) -> None:
    """Tells Dagster of each partition of a run that it was materialized. Raises Failure where a symbol failed."""
    fail_if_incomplete(run)
    total = run_metadata(run)
    for key, figures in partition_metadata(run).items():
        context.log_event(
            dg.AssetMaterialization(asset_key=run.candle_table.name, partition=key, metadata=total | figures)
        )


def refresh_window(database: Database, candle_table: CandleTable, tracked: tuple[str, ...], clock: int) -> Span:
    """From the last collected partition of the table (the running one if none was) to the end of the running one.

    The last partition is the earliest of the `tracked` symbols' last ones, so that a symbol left behind catches up; one
    that is no longer tracked holds nobody back.
    """
    coverage, entities = TABLES["crypto_kdata_coverage"], TABLES[candle_table.entity_table]
    with database.connect(entities.name) as connection:
        chosen = {row.id for row in entities_called(connection, entities, tracked).values()}
    latest = (
        select(func.max(coverage.c.partition).label("partition"))
        .where(
            coverage.c.provider == provider_of(connection),
            coverage.c.level == candle_table.level,
            coverage.c.entity_id.in_(chosen),
        )
        .group_by(coverage.c.entity_id)
        .subquery()
    )
    running = candle_table.partition_key(clock)
    with database.connect(candle_table.name) as connection:
        first = connection.scalar(select(func.min(latest.c.partition))) or running
    return Span(candle_table.partition_span(min(first, running)).start, candle_table.partition_span(running).end)
