"""Richer entities, indexes, identity; quality, operations and security. A frozen snapshot, as 0001 is."""
# ruff: noqa: INP001 - alembic loads its scripts by path

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TIME = sa.Text()
DECIMAL = sa.Text()


def _column(name: str, kind: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False, **options)


def _added_columns() -> dict[str, list[sa.Column[Any]]]:
    one = sa.text("1")
    return {
        "crypto_asset": [
            sa.Column("consensus_mechanism", sa.String(64)),
            sa.Column("blockchain", sa.String(64)),
            sa.Column("contract_address", sa.String(128)),
            _column("data_quality_score", sa.Double(), server_default=sa.text("1.0")),
            sa.Column("last_validation_timestamp", TIME),
        ],
        "crypto_pair": [
            _column("margin_enabled", sa.Boolean(), server_default=sa.false()),
            _column("unit_multiplier", sa.Integer(), server_default=one),
        ],
        "crypto_perp": [
            _column("default_leverage", sa.Double(), server_default=sa.text("1.0")),
            _column("position_modes", sa.String(64), server_default=sa.text("'both'")),
            sa.Column("maintenance_margin_rate", sa.Double()),
            sa.Column("initial_margin_rate", sa.Double()),
            _column("unit_multiplier", sa.Integer(), server_default=one),
        ],
    }


INDEXES = {
    "crypto_meta": [
        *(
            index
            for table in ("crypto_asset", "crypto_pair", "crypto_perp")
            for index in (
                (f"ix_{table}_code", table, ["code"]),
                (f"ix_{table}_exchange_code", table, ["exchange", "code"]),
                (f"ix_{table}_timestamp", table, ["timestamp"]),
            )
        ),
        ("ix_crypto_asset_symbol", "crypto_asset", ["symbol"]),
        ("ix_crypto_asset_data_quality_score", "crypto_asset", ["data_quality_score"]),
        ("ix_crypto_asset_last_validation_timestamp", "crypto_asset", ["last_validation_timestamp"]),
        ("ix_crypto_pair_base_quote", "crypto_pair", ["base_symbol", "quote_symbol"]),
        ("ix_crypto_perp_underlying", "crypto_perp", ["underlying_symbol", "settlement_symbol"]),
        ("ix_crypto_pair_active", "crypto_pair", ["entity_id"]),
        ("ix_crypto_perp_active", "crypto_perp", ["entity_id"]),
    ],
    "crypto_tick": [
        (f"ix_{table}_entity_timestamp", table, ["entity_id", "timestamp"])
        for table in ("crypto_trade", "crypto_orderbook", "crypto_funding")
    ],
    "crypto_quality": [
        ("ix_crypto_data_quality_log_entity_timestamp", "crypto_data_quality_log", ["entity_id", "timestamp"]),
        ("ix_crypto_data_quality_log_timestamp", "crypto_data_quality_log", ["timestamp"]),
        ("ix_crypto_price_consistency_symbol_window", "crypto_price_consistency", ["symbol", "timestamp_window"]),
        ("ix_crypto_kdata_gap_entity", "crypto_kdata_gap", ["entity_id", "level", "start"]),
        ("ix_crypto_kdata_gap_status", "crypto_kdata_gap", ["level", "status"]),
    ],
    "crypto_operations": [
        ("ix_crypto_operational_metrics_name_timestamp", "crypto_operational_metrics", ["metric_name", "timestamp"]),
        (
            "ix_crypto_websocket_sessions_provider_updated",
            "crypto_websocket_sessions",
            ["provider", "updated_timestamp"],
        ),
    ],
}


def upgrade() -> None:
    """Adds columns, tables and indexes to the database that is being migrated."""
    name = op.get_context().opts["database"]
    if name == "crypto_meta":
        for table, columns in _added_columns().items():
            for column in columns:
                op.add_column(table, column)
    for table, columns in _new_tables(name).items():
        op.create_table(table, *columns, sqlite_with_rowid=table != "crypto_kdata_coverage")
    for index, table, keys in INDEXES.get(name, []):
        active = sa.text("is_active = 1") if index.endswith("_active") else None
        op.create_index(index, table, keys, sqlite_where=active)


def downgrade() -> None:
    """Removes them again, with what was stored there."""
    name = op.get_context().opts["database"]
    for index, table, _ in INDEXES.get(name, []):
        op.drop_index(index, table)
    for table in _new_tables(name):
        op.drop_table(table)
    if name == "crypto_meta":
        for table, columns in _added_columns().items():
            for column in columns:
                op.drop_column(table, column.name)


def _new_tables(name: str) -> dict[str, list[Any]]:
    if name == "crypto_meta":
        identity = "crypto_database_identity"
        return {
            identity: [
                _column("environment", sa.String(16)),
                _column("created_at", TIME),
                sa.PrimaryKeyConstraint("environment", name=f"pk_{identity}"),
            ]
        }
    if name == "crypto_quality":
        return _quality_tables()
    if name == "crypto_operations":
        return _operations_tables()
    if name == "crypto_security":
        return {"crypto_api_keys": _api_key_columns()}
    return {}


def _quality_tables() -> dict[str, list[Any]]:
    subject = [("entity_id", 128), ("provider", 32)]
    series = [*subject, ("level", 32)]
    return {
        "crypto_data_quality_log": [
            _column("id", sa.String(128)),
            *(_column(name, sa.String(size)) for name, size in [*subject, ("validation_type", 64)]),
            _column("validation_result", sa.JSON()),
            _column("quality_score", sa.Double()),
            _column("issues_detected", sa.JSON()),
            _column("timestamp", TIME),
            sa.PrimaryKeyConstraint("id", name="pk_crypto_data_quality_log"),
        ],
        "crypto_price_consistency": [
            _column("id", sa.String(128)),
            _column("symbol", sa.String(64)),
            _column("timestamp_window", TIME),
            _column("provider_prices", sa.JSON()),
            _column("max_deviation_pct", sa.Double()),
            _column("outlier_providers", sa.JSON()),
            _column("confidence_score", sa.Double()),
            _column("recommended_price", DECIMAL),
            _column("validation_timestamp", TIME),
            sa.PrimaryKeyConstraint("id", name="pk_crypto_price_consistency"),
        ],
        "crypto_kdata_gap": [
            _column("id", sa.String(255)),
            *(_column(name, sa.String(size)) for name, size in series),
            _column("start", TIME),
            _column("end", TIME),
            _column("missing", sa.Integer()),
            _column("status", sa.String(16)),
            _column("attempts", sa.Integer()),
            _column("first_seen", TIME),
            sa.Column("last_checked", TIME),
            sa.Column("repaired_at", TIME),
            _column("evidence", sa.JSON()),
            sa.PrimaryKeyConstraint("id", name="pk_crypto_kdata_gap"),
        ],
        "crypto_kdata_coverage": [
            *(_column(name, sa.String(size)) for name, size in [*series, ("partition", 16)]),
            _column("expected", sa.Integer()),
            _column("present", sa.Integer()),
            _column("verified_at", TIME),
            _column("digest", sa.String(64)),
            sa.PrimaryKeyConstraint("entity_id", "provider", "level", "partition", name="pk_crypto_kdata_coverage"),
        ],
    }


def _operations_tables() -> dict[str, list[Any]]:
    zero = sa.text("0")
    return {
        "crypto_operational_metrics": [
            _column("id", sa.String(128)),
            _column("metric_name", sa.String(64)),
            sa.Column("provider", sa.String(32)),
            _column("metric_value", sa.Double()),
            _column("metric_tags", sa.JSON()),
            _column("timestamp", TIME),
            sa.PrimaryKeyConstraint("id", name="pk_crypto_operational_metrics"),
        ],
        "crypto_websocket_sessions": [
            _column("id", sa.String(128)),
            _column("provider", sa.String(32)),
            _column("session_id", sa.String(128)),
            _column("connection_status", sa.String(16)),
            _column("subscribed_streams", sa.JSON()),
            sa.Column("last_message_timestamp", TIME),
            _column("reconnect_count", sa.Integer(), server_default=zero),
            _column("error_count", sa.Integer(), server_default=zero),
            _column("started_timestamp", TIME),
            _column("updated_timestamp", TIME),
            sa.PrimaryKeyConstraint("id", name="pk_crypto_websocket_sessions"),
        ],
    }


def _api_key_columns() -> list[Any]:
    return [
        _column("id", sa.String(128)),
        _column("provider", sa.String(32)),
        _column("environment", sa.String(16)),
        _column("key_type", sa.String(16)),
        _column("encrypted_key", sa.Text()),
        sa.Column("encrypted_secret", sa.Text()),
        sa.Column("encrypted_passphrase", sa.Text()),
        _column("encryption_version", sa.String(16)),
        *(sa.Column(name, sa.JSON()) for name in ("ip_whitelist", "permissions", "rate_limits")),
        sa.Column("created_by", sa.String(128)),
        sa.Column("last_used_timestamp", TIME),
        _column("usage_count", sa.BigInteger(), server_default=sa.text("0")),
        sa.Column("rotation_schedule", sa.String(32)),
        sa.Column("next_rotation_date", TIME),
        _column("rotation_status", sa.String(16), server_default=sa.text("'active'")),
        _column("created_timestamp", TIME),
        _column("updated_timestamp", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_crypto_api_keys"),
        sa.UniqueConstraint("provider", "environment", "key_type", name="uq_crypto_api_keys_provider"),
    ]
