"""Entities, candles and ticks of the first specification. A frozen snapshot: never changed, imports no table of today.

For SQLite only so far: other engines get their own types here when they are first served.
"""
# ruff: noqa: INP001 - alembic loads its scripts by path

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TIME = sa.Text()
DECIMAL = sa.Text()


def upgrade() -> None:
    """Makes the tables of the database that is being migrated."""
    name = op.get_context().opts["database"]
    if name == "crypto_meta":
        _create_entities()
    elif name == "crypto_tick":
        _create_ticks()
    elif name.endswith("_kdata"):
        _create_candles(name, name.split("_")[1])


def downgrade() -> None:
    """Drops them, with all their rows."""
    name = op.get_context().opts["database"]
    tables = {
        "crypto_meta": ["crypto_perp", "crypto_pair", "crypto_asset"],
        "crypto_tick": ["crypto_funding", "crypto_orderbook", "crypto_trade"],
    }.get(name, [name] if name.endswith("_kdata") else [])
    for table in tables:
        op.drop_table(table)


def _column(name: str, kind: Any, *extra: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, *extra, nullable=False, **options)


def _entity_columns() -> list[sa.Column[Any]]:
    return [
        _column("id", sa.String(128)),
        _column("entity_id", sa.String(128)),
        _column("entity_type", sa.String(64)),
        _column("exchange", sa.String(32)),
        _column("code", sa.String(64)),
        _column("name", sa.String(128)),
        sa.Column("list_date", TIME),
        sa.Column("end_date", TIME),
        _column("timestamp", TIME),
    ]


def _constraints(table: str, *currencies: str) -> list[sa.Constraint]:
    return [
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        sa.UniqueConstraint("entity_id", name=f"uq_{table}_entity_id"),
        *(sa.ForeignKeyConstraint([name], ["crypto_asset.id"], name=f"fk_{table}_{name}") for name in currencies),
    ]


def _trading_rules() -> list[sa.Column[Any]]:
    optional = ("min_notional", "max_order_size", "maker_fee", "taker_fee")
    return [
        _column("price_step", sa.Double()),
        _column("qty_step", sa.Double()),
        *(sa.Column(name, sa.Double()) for name in optional),
    ]


def _create_entities() -> None:
    op.create_table(
        "crypto_asset",
        *_entity_columns(),
        _column("symbol", sa.String(32)),
        sa.Column("full_name", sa.String(128)),
        sa.Column("description", sa.Text()),
        *(sa.Column(name, DECIMAL) for name in ("max_supply", "circulating_supply", "total_supply", "market_cap")),
        _column("is_stablecoin", sa.Boolean(), server_default=sa.false()),
        *_constraints("crypto_asset"),
    )
    op.create_table(
        "crypto_pair",
        *_entity_columns(),
        _column("base_symbol", sa.String(32)),
        _column("quote_symbol", sa.String(32)),
        _column("base_asset_id", sa.String(128)),
        _column("quote_asset_id", sa.String(128)),
        *_trading_rules(),
        _column("is_active", sa.Boolean(), server_default=sa.true()),
        *_constraints("crypto_pair", "base_asset_id", "quote_asset_id"),
    )
    op.create_table(
        "crypto_perp",
        *_entity_columns(),
        _column("underlying_symbol", sa.String(32)),
        _column("settlement_symbol", sa.String(32)),
        _column("underlying_asset_id", sa.String(128)),
        _column("settlement_asset_id", sa.String(128)),
        _column("contract_size", sa.Double(), server_default=sa.text("1.0")),
        *_trading_rules(),
        _column("funding_interval_hours", sa.Integer(), server_default=sa.text("8")),
        sa.Column("max_leverage", sa.Double()),
        _column("is_active", sa.Boolean(), server_default=sa.true()),
        *_constraints("crypto_perp", "underlying_asset_id", "settlement_asset_id"),
    )


def _create_candles(table: str, level: str) -> None:
    code = "substr(entity_id, instr(substr(entity_id, 12), '_') + 12)"
    day = "entity_id || '_' || substr(timestamp, 1, 10)"
    moment = day if level == "1d" else f"{day} || 'T' || substr(timestamp, 12, 12)"
    vwap = "volume_quote / nullif(volume, 0)"
    op.create_table(
        table,
        _column("entity_id", sa.String(128)),
        _column("provider", sa.String(32)),
        _column("name", sa.String(32)),
        _column("timestamp", TIME),
        *(sa.Column(name, sa.Double()) for name in ("open", "high", "low", "close", "volume")),
        sa.Column("change_pct", sa.Double()),
        sa.Column("turnover_rate", sa.Double()),
        sa.Column("volume_quote", sa.Double()),
        sa.Column("trade_count", sa.Integer()),
        _column("is_high_volatility", sa.Boolean(), server_default=sa.false()),
        _column("is_high_volume", sa.Boolean(), server_default=sa.false()),
        sa.Column("id", sa.String(128), sa.Computed(moment, persisted=False)),
        sa.Column("code", sa.String(32), sa.Computed(code, persisted=False)),
        sa.Column("level", sa.String(32), sa.Computed(f"'{level}'", persisted=False)),
        sa.Column("turnover", sa.Double(), sa.Computed("volume_quote", persisted=False)),
        sa.Column("volume_base", sa.Double(), sa.Computed("volume", persisted=False)),
        sa.Column("vwap", sa.Double(), sa.Computed(vwap, persisted=False)),
        sa.PrimaryKeyConstraint("entity_id", "timestamp", name=f"pk_{table}"),
        sqlite_with_rowid=False,
    )


def _create_tick_table(table: str, *columns: sa.Column[Any], rowid: bool) -> None:
    op.create_table(
        table,
        _column("id", sa.String(128)),
        _column("entity_id", sa.String(128)),
        _column("provider", sa.String(32)),
        _column("code", sa.String(64)),
        _column("name", sa.String(128)),
        _column("timestamp_ms", sa.BigInteger()),
        _column("timestamp", TIME),
        *columns,
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        sqlite_with_rowid=rowid,
    )


def _create_ticks() -> None:
    _create_tick_table(
        "crypto_trade",
        _column("trade_id", sa.String(128)),
        *(_column(name, sa.Double()) for name in ("price", "volume", "quote_volume")),
        _column("side", sa.String(16)),
        _column("is_buyer_maker", sa.Boolean()),
        *(sa.Column(name, sa.Double()) for name in ("bid_price", "ask_price", "spread")),
        sa.Column("trade_flags", sa.String(64)),
        rowid=False,
    )
    prices = ("best_bid", "best_ask", "spread", "spread_pct", "mid_price")
    _create_tick_table(
        "crypto_orderbook",
        _column("update_id", sa.BigInteger()),
        *(sa.Column(name, sa.BigInteger()) for name in ("prev_update_id", "first_update_id", "last_update_id")),
        _column("bids", sa.JSON()),
        _column("asks", sa.JSON()),
        _column("bid_levels", sa.Integer()),
        _column("ask_levels", sa.Integer()),
        *(_column(name, sa.Double()) for name in (*prices, "bid_volume", "ask_volume", "bid_vwap", "ask_vwap")),
        sa.Column("checksum", sa.String(64)),
        _column("is_snapshot", sa.Boolean()),
        rowid=True,
    )
    _create_tick_table(
        "crypto_funding",
        _column("funding_rate", sa.Double()),
        sa.Column("predicted_rate", sa.Double()),
        _column("funding_timestamp", TIME),
        sa.Column("next_funding_timestamp", TIME),
        _column("funding_interval_hours", sa.Integer()),
        *(sa.Column(name, sa.Double()) for name in ("mark_price", "index_price", "premium_rate", "interest_rate")),
        _column("funding_cost_long", sa.Double()),
        _column("funding_cost_short", sa.Double()),
        *(sa.Column(f"{name}_funding_24h", sa.Double()) for name in ("avg", "max", "min")),
        _column("is_bullish_funding", sa.Boolean()),
        _column("is_extreme_funding", sa.Boolean()),
        sa.Column("calculation_timestamp", TIME),
        rowid=False,
    )
