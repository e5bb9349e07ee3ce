"""Entities, candles, ticks of the first specification. A frozen snapshot: never changed, imports no table of today."""
# ruff: noqa: INP001 - alembic loads its scripts by path

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from crypto_assets.database.migrations.operations import (
    DECIMAL,
    JSON,
    TIME,
    column,
    create_table,
    dialect,
    drop_table,
    option,
    reference,
    string,
    unit,
)

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

META, KDATA, TICK = "crypto_meta", "crypto_kdata", "crypto_tick"
CANDLES = [
    f"{kind}_{level}_kdata"
    for kind in ("cryptopair", "cryptoperp")
    for level in ("1m", "5m", "15m", "30m", "1h", "4h", "1d")
]


def upgrade() -> None:
    """Makes the tables of the database that is being migrated."""
    if unit() == META:
        _create_entities()
    elif unit() == TICK:
        _create_ticks()
    for table in _candles():
        _create_candles(table, table.split("_")[1])


def downgrade() -> None:
    """Drops them, with all their rows, and last the name of their environment, which 0002 leaves in its place."""
    for table in {META: ["crypto_perp", "crypto_pair", "crypto_asset"]}.get(unit(), []):
        drop_table(META, table)
    for table in {TICK: ["crypto_funding", "crypto_orderbook", "crypto_trade"]}.get(unit(), []):
        drop_table(TICK, table)
    for table in _candles():
        drop_table(KDATA, table)
    if unit() == META:
        drop_table(META, "crypto_database_identity", if_exists=True)


def _candles() -> list[str]:
    return CANDLES if unit() == KDATA else [table for table in CANDLES if table == unit()]


def _entity_columns() -> list[sa.Column[Any]]:
    return [
        column("id", string(128)),
        column("entity_id", string(128)),
        column("entity_type", string(64)),
        column("exchange", string(32)),
        column("code", string(64)),
        column("name", string(128)),
        sa.Column("list_date", TIME),
        sa.Column("end_date", TIME),
        column("timestamp", TIME),
    ]


def _constraints(table: str, *currencies: str) -> list[sa.Constraint]:
    return [
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        sa.UniqueConstraint("entity_id", name=f"uq_{table}_entity_id"),
        *(
            sa.ForeignKeyConstraint([name], [reference(META, "crypto_asset.id")], name=f"fk_{table}_{name}")
            for name in currencies
        ),
    ]


def _trading_rules() -> list[sa.Column[Any]]:
    optional = ("min_notional", "max_order_size", "maker_fee", "taker_fee")
    return [
        column("price_step", sa.Double()),
        column("qty_step", sa.Double()),
        *(sa.Column(name, sa.Double()) for name in optional),
    ]


def _create_entities() -> None:
    create_table(
        META,
        "crypto_asset",
        *_entity_columns(),
        column("symbol", string(32)),
        sa.Column("full_name", string(128)),
        sa.Column("description", sa.Text()),
        *(sa.Column(name, DECIMAL) for name in ("max_supply", "circulating_supply", "total_supply", "market_cap")),
        column("is_stablecoin", sa.Boolean(), server_default=sa.false()),
        *_constraints("crypto_asset"),
    )
    create_table(
        META,
        "crypto_pair",
        *_entity_columns(),
        column("base_symbol", string(32)),
        column("quote_symbol", string(32)),
        column("base_asset_id", string(128)),
        column("quote_asset_id", string(128)),
        *_trading_rules(),
        column("is_active", sa.Boolean(), server_default=sa.true()),
        *_constraints("crypto_pair", "base_asset_id", "quote_asset_id"),
    )
    create_table(
        META,
        "crypto_perp",
        *_entity_columns(),
        column("underlying_symbol", string(32)),
        column("settlement_symbol", string(32)),
        column("underlying_asset_id", string(128)),
        column("settlement_asset_id", string(128)),
        column("contract_size", sa.Double(), server_default=sa.text("1.0")),
        *_trading_rules(),
        column("funding_interval_hours", sa.Integer(), server_default=sa.text("8")),
        sa.Column("max_leverage", sa.Double()),
        column("is_active", sa.Boolean(), server_default=sa.true()),
        *_constraints("crypto_perp", "underlying_asset_id", "settlement_asset_id"),
    )


POSTGRESQL_DAY = (
    "entity_id || '_' || date_part('year', timestamp)::int::text"
    " || '-' || lpad(date_part('month', timestamp)::int::text, 2, '0')"
    " || '-' || lpad(date_part('day', timestamp)::int::text, 2, '0')"
)
GENERATED = {
    "sqlite": {
        "code": "substr(entity_id, instr(substr(entity_id, 12), '_') + 12)",
        "day": "entity_id || '_' || substr(timestamp, 1, 10)",
        "moment": "entity_id || '_' || substr(timestamp, 1, 10) || 'T' || substr(timestamp, 12, 12)",
    },
    "postgresql": {
        "code": "split_part(entity_id, '_', 3)",
        "day": POSTGRESQL_DAY,
        "moment": f"{POSTGRESQL_DAY} || 'T' || CASE WHEN timestamp = timestamp::timestamp(0)"
        " THEN timestamp::time::text || '.000' ELSE left(timestamp::time::text || '000', 12) END",
    },
    "mysql": {
        "code": "substring_index(entity_id, '_', -1)",
        "day": "concat(entity_id, '_', date_format(timestamp, '%Y-%m-%d'))",
        "moment": "concat(entity_id, '_', left(date_format(timestamp, '%Y-%m-%dT%H:%i:%s.%f'), 23))",
    },
}


def _create_candles(table: str, level: str) -> None:
    texts = GENERATED[dialect()]
    stored = bool(option("stored"))

    def generated(name: str, kind: Any, text: str) -> sa.Column[Any]:
        return sa.Column(name, kind, sa.Computed(text, persisted=stored))

    partitioned = level in option("partitioned") and dialect() != "sqlite"
    create_table(
        KDATA,
        table,
        column("entity_id", string(128)),
        column("provider", string(32)),
        column("name", string(32)),
        column("timestamp", TIME),
        *(sa.Column(name, sa.Double()) for name in ("open", "high", "low", "close", "volume")),
        sa.Column("change_pct", sa.Double()),
        sa.Column("turnover_rate", sa.Double()),
        sa.Column("volume_quote", sa.Double()),
        sa.Column("trade_count", sa.Integer()),
        column("is_high_volatility", sa.Boolean(), server_default=sa.false()),
        column("is_high_volume", sa.Boolean(), server_default=sa.false()),
        generated("id", string(128), texts["day" if level == "1d" else "moment"]),
        generated("code", string(32), texts["code"]),
        generated("level", string(32), f"'{level}'"),
        generated("turnover", sa.Double(), "volume_quote"),
        generated("volume_base", sa.Double(), "volume"),
        generated("vwap", sa.Double(), "volume_quote / nullif(volume, 0)"),
        sa.PrimaryKeyConstraint("entity_id", "timestamp", name=f"pk_{table}"),
        *_candle_references(table, partitioned=partitioned),
        sqlite_with_rowid=False,
        **_partitions(partitioned=partitioned),
    )


def _candle_references(table: str, *, partitioned: bool) -> list[sa.Constraint]:
    """The entity's foreign key, where the engine has one: not across SQLite's files, nor on MySQL's partitions."""
    if dialect() == "sqlite" or (partitioned and dialect() == "mysql"):
        return []
    entities = f"crypto_{table[len('crypto') :].split('_', maxsplit=1)[0]}"
    target = reference(META, f"{entities}.entity_id")
    return [sa.ForeignKeyConstraint(["entity_id"], [target], name=f"fk_{table}_entity_id")]


def _partitions(*, partitioned: bool) -> dict[str, str]:
    """By time; the months themselves are made as they are needed. MySQL wants one from the start."""
    if not partitioned:
        return {}
    everything = "RANGE COLUMNS (`timestamp`) (PARTITION later VALUES LESS THAN (MAXVALUE))"
    return {"postgresql_partition_by": "RANGE (timestamp)", "mysql_partition_by": everything}


def _create_tick_table(table: str, *columns: sa.Column[Any], rowid: bool) -> None:
    create_table(
        TICK,
        table,
        column("id", string(128)),
        column("entity_id", string(128)),
        column("provider", string(32)),
        column("code", string(64)),
        column("name", string(128)),
        column("timestamp_ms", sa.BigInteger()),
        column("timestamp", TIME),
        *columns,
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        sqlite_with_rowid=rowid,
    )


def _create_ticks() -> None:
    _create_tick_table(
        "crypto_trade",
        column("trade_id", string(128)),
        *(column(name, sa.Double()) for name in ("price", "volume", "quote_volume")),
        column("side", string(16)),
        column("is_buyer_maker", sa.Boolean()),
        *(sa.Column(name, sa.Double()) for name in ("bid_price", "ask_price", "spread")),
        sa.Column("trade_flags", string(64)),
        rowid=False,
    )
    prices = ("best_bid", "best_ask", "spread", "spread_pct", "mid_price")
    _create_tick_table(
        "crypto_orderbook",
        column("update_id", sa.BigInteger()),
        *(sa.Column(name, sa.BigInteger()) for name in ("prev_update_id", "first_update_id", "last_update_id")),
        column("bids", JSON),
        column("asks", JSON),
        column("bid_levels", sa.Integer()),
        column("ask_levels", sa.Integer()),
        *(column(name, sa.Double()) for name in (*prices, "bid_volume", "ask_volume", "bid_vwap", "ask_vwap")),
        sa.Column("checksum", string(64)),
        column("is_snapshot", sa.Boolean()),
        rowid=True,
    )
    _create_tick_table(
        "crypto_funding",
        column("funding_rate", sa.Double()),
        sa.Column("predicted_rate", sa.Double()),
        column("funding_timestamp", TIME),
        sa.Column("next_funding_timestamp", TIME),
        column("funding_interval_hours", sa.Integer()),
        *(sa.Column(name, sa.Double()) for name in ("mark_price", "index_price", "premium_rate", "interest_rate")),
        column("funding_cost_long", sa.Double()),
        column("funding_cost_short", sa.Double()),
        *(sa.Column(f"{name}_funding_24h", sa.Double()) for name in ("avg", "max", "min")),
        column("is_bullish_funding", sa.Boolean()),
        column("is_extreme_funding", sa.Boolean()),
        sa.Column("calculation_timestamp", TIME),
        rowid=False,
    )
