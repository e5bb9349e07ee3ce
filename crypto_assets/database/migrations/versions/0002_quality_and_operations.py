"""Richer entities, indexes, identity; quality, operations and security. A frozen snapshot, as 0001 is."""
# ruff: noqa: INP001 - alembic loads its scripts by path

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from crypto_assets.database.migrations.operations import (
    DECIMAL,
    JSON,
    TIME,
    add_column,
    column,
    create_index,
    create_table,
    dialect,
    drop_column,
    drop_index,
    drop_table,
    string,
    unit,
)

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

IDENTITY = "crypto_database_identity"


def _added_columns() -> dict[str, list[sa.Column[Any]]]:
    one = sa.text("1")
    return {
        "crypto_asset": [
            sa.Column("consensus_mechanism", string(64)),
            sa.Column("blockchain", string(64)),
            sa.Column("contract_address", string(128)),
            column("data_quality_score", sa.Double(), server_default=sa.text("1.0")),
            sa.Column("last_validation_timestamp", TIME),
        ],
        "crypto_pair": [
            column("margin_enabled", sa.Boolean(), server_default=sa.false()),
            column("unit_multiplier", sa.Integer(), server_default=one),
        ],
        "crypto_perp": [
            column("default_leverage", sa.Double(), server_default=sa.text("1.0")),
            column("position_modes", string(64), server_default=sa.text("'both'")),
            sa.Column("maintenance_margin_rate", sa.Double()),
            sa.Column("initial_margin_rate", sa.Double()),
            column("unit_multiplier", sa.Integer(), server_default=one),
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
    name = unit()
    if name == "crypto_meta":
        for table, columns in _added_columns().items():
            for added in columns:
                add_column(name, table, added)
    for table, columns in _new_tables(name).items():
        options = {"sqlite_with_rowid": table != "crypto_kdata_coverage", "if_not_exists": table == IDENTITY}
        create_table(name, table, *columns, **options)
    for index, table, keys in INDEXES.get(name, []):
        if index.endswith("_active"):
            _create_active_index(index, table)
        else:
            create_index(name, index, table, keys)


def downgrade() -> None:
    """Removes them again, with what was stored there; whose data this is stays known as long as there are any."""
    name = unit()
    for index, table, _ in INDEXES.get(name, []):
        drop_index(name, index, table)
    for table in _new_tables(name):
        if table != IDENTITY:
            drop_table(name, table)
    if name == "crypto_meta":
        for table, columns in _added_columns().items():
            for added in columns:
                drop_column(name, table, added.name)


def _create_active_index(index: str, table: str) -> None:
    """Covers the list of active symbols; MySQL has no partial indexes."""
    keys = ["is_active", "entity_id"] if dialect() == "mysql" else ["entity_id"]
    create_index(
        "crypto_meta",
        index,
        table,
        keys,
        sqlite_where=sa.text("is_active = 1"),
        postgresql_where=sa.text("is_active"),
    )


def _new_tables(name: str) -> dict[str, list[Any]]:
    if name == "crypto_meta":
        return {
            IDENTITY: [
                column("environment", string(16)),
                column("created_at", TIME),
                sa.PrimaryKeyConstraint("environment", name=f"pk_{IDENTITY}"),
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
            column("id", string(128)),
            *(column(name, string(size)) for name, size in [*subject, ("validation_type", 64)]),
            column("validation_result", JSON),
            column("quality_score", sa.Double()),
            column("issues_detected", JSON),
            column("timestamp", TIME),
            sa.PrimaryKeyConstraint("id", name="pk_crypto_data_quality_log"),
        ],
        "crypto_price_consistency": [
            column("id", string(128)),
            column("symbol", string(64)),
            column("timestamp_window", TIME),
            column("provider_prices", JSON),
            column("max_deviation_pct", sa.Double()),
            column("outlier_providers", JSON),
            column("confidence_score", sa.Double()),
            column("recommended_price", DECIMAL),
            column("validation_timestamp", TIME),
            sa.PrimaryKeyConstraint("id", name="pk_crypto_price_consistency"),
        ],
        "crypto_kdata_gap": [
            column("id", string(255)),
            *(column(name, string(size)) for name, size in series),
            column("start", TIME),
            column("end", TIME),
            column("missing", sa.Integer()),
            column("status", string(16)),
            column("attempts", sa.Integer()),
            column("first_seen", TIME),
            sa.Column("last_checked", TIME),
            sa.Column("repaired_at", TIME),
            column("evidence", JSON),
            sa.PrimaryKeyConstraint("id", name="pk_crypto_kdata_gap"),
        ],
        "crypto_kdata_coverage": [
            *(column(name, string(size)) for name, size in [*series, ("partition", 16)]),
            column("expected", sa.Integer()),
            column("present", sa.Integer()),
            column("verified_at", TIME),
            column("digest", string(64)),
            sa.PrimaryKeyConstraint("entity_id", "provider", "level", "partition", name="pk_crypto_kdata_coverage"),
        ],
    }


def _operations_tables() -> dict[str, list[Any]]:
    zero = sa.text("0")
    return {
        "crypto_operational_metrics": [
            column("id", string(128)),
            column("metric_name", string(64)),
            sa.Column("provider", string(32)),
            column("metric_value", sa.Double()),
            column("metric_tags", JSON),
            column("timestamp", TIME),
            sa.PrimaryKeyConstraint("id", name="pk_crypto_operational_metrics"),
        ],
        "crypto_websocket_sessions": [
            column("id", string(128)),
            column("provider", string(32)),
            column("session_id", string(128)),
            column("connection_status", string(16)),
            column("subscribed_streams", JSON),
            sa.Column("last_message_timestamp", TIME),
            column("reconnect_count", sa.Integer(), server_default=zero),
            column("error_count", sa.Integer(), server_default=zero),
            column("started_timestamp", TIME),
            column("updated_timestamp", TIME),
            sa.PrimaryKeyConstraint("id", name="pk_crypto_websocket_sessions"),
        ],
    }


def _api_key_columns() -> list[Any]:
    return [
        column("id", string(128)),
        column("provider", string(32)),
        column("environment", string(16)),
        column("key_type", string(16)),
        column("encrypted_key", sa.Text()),
        sa.Column("encrypted_secret", sa.Text()),
        sa.Column("encrypted_passphrase", sa.Text()),
        column("encryption_version", string(16)),
        *(sa.Column(name, JSON) for name in ("ip_whitelist", "permissions", "rate_limits")),
        sa.Column("created_by", string(128)),
        sa.Column("last_used_timestamp", TIME),
        column("usage_count", sa.BigInteger(), server_default=sa.text("0")),
        sa.Column("rotation_schedule", string(32)),
        sa.Column("next_rotation_date", TIME),
        column("rotation_status", string(16), server_default=sa.text("'active'")),
        column("created_timestamp", TIME),
        column("updated_timestamp", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_crypto_api_keys"),
        sa.UniqueConstraint("provider", "environment", "key_type", name="uq_crypto_api_keys_provider"),
    ]
