"""Measurements of the running system, and encrypted keys. Logical databases `crypto_operations` and `crypto_security`.

Encrypting and using keys belongs to later packages; nothing here is ever stored in clear.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Index, Integer, Table, Text, UniqueConstraint, text

from crypto_assets.database.tables.columns import (
    JSON_DOCUMENT,
    OPERATIONS,
    SECURITY,
    UtcTimestamp,
    metadata,
    optional,
    required,
    string,
)

crypto_operational_metrics = Table(
    "crypto_operational_metrics",
    metadata,
    Column("id", string(128), primary_key=True, comment="Key"),
    required("metric_name", string(64), "What is measured"),
    optional("provider", string(32), "Whom it concerns"),
    required("metric_value", Double, "The value, in the unit that the name says"),
    required("metric_tags", JSON_DOCUMENT, "Labels"),
    required("timestamp", UtcTimestamp, "When it was measured, UTC"),
    Index("ix_crypto_operational_metrics_name_timestamp", "metric_name", "timestamp"),
    schema=OPERATIONS,
    comment="Measurements of the system",
)

crypto_websocket_sessions = Table(
    "crypto_websocket_sessions",
    metadata,
    Column("id", string(128), primary_key=True, comment="Key"),
    required("provider", string(32), "Whose stream"),
    required("session_id", string(128), "One connection's id"),
    required("connection_status", string(16), "Such as connected or closed"),
    required("subscribed_streams", JSON_DOCUMENT, "Names of the streams"),
    optional("last_message_timestamp", UtcTimestamp, "When the last message came, UTC"),
    required("reconnect_count", Integer, "Reconnections so far", server_default=text("0")),
    required("error_count", Integer, "Errors so far", server_default=text("0")),
    required("started_timestamp", UtcTimestamp, "When it was opened, UTC"),
    required("updated_timestamp", UtcTimestamp, "When this row was last written, UTC"),
    Index("ix_crypto_websocket_sessions_provider_updated", "provider", "updated_timestamp"),
    schema=OPERATIONS,
    comment="WebSocket connections",
    info={"time": "updated_timestamp"},
)

crypto_weight_ledger = Table(
    "crypto_weight_ledger",
    metadata,
    Column(
        "host",
        string(255),
        primary_key=True,
        comment="Whose budget: the state's format, the market, its host, and the outgoing address where one is named",
    ),
    required("state", Text, "What was leased and observed, as JSON; empty until the first change"),
    required("updated_timestamp", UtcTimestamp, "When this row was last written, UTC, by the writer's clock"),
    schema=OPERATIONS,
    comment="The request budgets that machines share; unused on SQLite, where a file of the machine's has them",
    info={"time": "updated_timestamp"},
)

crypto_api_keys = Table(
    "crypto_api_keys",
    metadata,
    Column("id", string(128), primary_key=True, comment="Key"),
    required("provider", string(32), "Whose key"),
    required("environment", string(16), "testnet, live, demo or sandbox"),
    required("key_type", string(16), "readonly or trading"),
    required("encrypted_key", Text, "The key, encrypted"),
    optional("encrypted_secret", Text, "Its secret, encrypted"),
    optional("encrypted_passphrase", Text, "Its passphrase, encrypted"),
    required("encryption_version", string(16), "Which scheme encrypted it"),
    optional("ip_whitelist", JSON_DOCUMENT, "Addresses it may be used from"),
    optional("permissions", JSON_DOCUMENT, "What it may do"),
    optional("rate_limits", JSON_DOCUMENT, "Limits of its account"),
    optional("created_by", string(128), "Who stored it"),
    optional("last_used_timestamp", UtcTimestamp, "When it was last used, UTC"),
    required("usage_count", BigInteger, "How often it was used", server_default=text("0")),
    optional("rotation_schedule", string(32), "How often it is replaced"),
    optional("next_rotation_date", UtcTimestamp, "When it is next replaced, UTC"),
    required("rotation_status", string(16), "State of its replacement", server_default=text("'active'")),
    required("created_timestamp", UtcTimestamp, "When it was stored, UTC"),
    required("updated_timestamp", UtcTimestamp, "When this row was last written, UTC"),
    UniqueConstraint("provider", "environment", "key_type"),
    schema=SECURITY,
    comment="Exchange keys, encrypted",
    info={"time": "created_timestamp"},
)

TABLES = (crypto_operational_metrics, crypto_websocket_sessions, crypto_weight_ledger, crypto_api_keys)
