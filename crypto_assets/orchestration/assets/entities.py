"""The entity assets: every currency, pair and perpetual the exchange lists.

How they are found and written belongs to `collect.symbols`. Called by `definitions`.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of the functions it decorates at runtime.

from datetime import timedelta

import dagster as dg

from crypto_assets.collect.symbols import Populated, populate_assets, populate_markets
from crypto_assets.database.queries import row_count
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.entities import MarketType
from crypto_assets.orchestration.assets.schema import OWNERS
from crypto_assets.orchestration.failures import stating_user_errors
from crypto_assets.orchestration.metadata import table_metadata
from crypto_assets.orchestration.resources import DatabaseResource, ExchangeResource

_FRESHNESS = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=7), warn_window=timedelta(days=2))


def build_asset_asset(provider: str, markets: tuple[MarketType, ...]) -> dg.AssetsDefinition:
    """The asset `crypto_asset`: the currencies of `markets`, those for which symbols are collected."""

    @dg.asset(
        name="crypto_asset",
        description="Every currency that the exchange's markets trade or settle in. Stablecoins are marked.",
        group_name="entities",
        kinds={provider, "sqlite"},
        owners=OWNERS,
        deps=["crypto_meta_schema", "crypto_quality_schema"],
        metadata=table_metadata("crypto_asset"),
        freshness_policy=_FRESHNESS,
        code_version="1",
        pool=provider,
    )
    def crypto_asset(exchange: ExchangeResource, database: DatabaseResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
        with stating_user_errors(), exchange.open() as client, database.open() as db:
            listed = [market for market_type in markets for market in client.markets(market_type)]
            clock = client.server_time(markets[0]) if markets else 0
            populated = populate_assets(db, listed, clock)
            with db.connect("crypto_asset") as connection:
                return _result(populated, row_count(connection, TABLES["crypto_asset"]))

    return crypto_asset


def build_market_asset(provider: str, market_type: MarketType, tracked: tuple[str, ...]) -> dg.AssetsDefinition:
    """The asset `crypto_pair` or `crypto_perp`. Without tracked symbols the market is not asked at all."""
    table = market_type.entity_table

    @dg.asset(
        name=table,
        description=(
            f"Every {'spot pair' if market_type is MarketType.SPOT else 'USDT-M perpetual'} the exchange lists or has "
            "listed, with steps, limits and the time it was listed and ended as far as public endpoints tell."
        ),
        group_name="entities",
        kinds={provider, "sqlite"},
        owners=OWNERS,
        deps=["crypto_asset", "crypto_quality_schema"],
        metadata=table_metadata(table),
        freshness_policy=_FRESHNESS,
        code_version="1",
        pool=provider,
    )
    def market_asset(exchange: ExchangeResource, database: DatabaseResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
        with stating_user_errors(), exchange.open() as client, database.open() as db:
            if tracked:
                clock = client.server_time(market_type)
                populated = populate_markets(db, client, market_type, tracked, clock)
            else:
                populated = Populated.nothing()
            with db.connect(table) as connection:
                return _result(populated, row_count(connection, TABLES[table]))

    return market_asset


def _result(populated: Populated, row_count: int) -> dg.MaterializeResult:  # type: ignore[type-arg]
    return dg.MaterializeResult(
        metadata={
            "listed": populated.listed,
            "rows_inserted": populated.counts.inserted,
            "rows_changed": populated.counts.changed,
            "rows_rejected": populated.rejected,
            "vanished": populated.gone,
            "remarks": " ".join(populated.remarks),
            "dagster/row_count": row_count,
        }
    )
