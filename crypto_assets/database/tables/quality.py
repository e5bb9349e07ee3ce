"""What is known about the data's quality: log, consistency, gap ledger, coverage. Logical database `crypto_quality`.

How findings are made belongs to the `quality` package.
"""

from __future__ import annotations

from sqlalchemy import JSON, Column, Double, Index, Integer, PrimaryKeyConstraint, String, Table

from crypto_assets.database.tables.columns import QUALITY, ExactDecimal, UtcTimestamp, metadata, optional, required

crypto_data_quality_log = Table(
    "crypto_data_quality_log",
    metadata,
    Column("id", String(128), primary_key=True, comment="Key"),
    required("entity_id", String(128), "What was validated"),
    required("provider", String(32), "Whose data"),
    required("validation_type", String(64), "What was looked for, such as no_gaps"),
    required("validation_result", JSON, "What was found"),
    required("quality_score", Double, "0 (unusable) to 1 (no issue)"),
    required("issues_detected", JSON, "List of issues"),
    required("timestamp", UtcTimestamp, "When it was validated, UTC"),
    Index("ix_crypto_data_quality_log_entity_timestamp", "entity_id", "timestamp"),
    Index("ix_crypto_data_quality_log_timestamp", "timestamp"),
    schema=QUALITY,
    comment="Results of validations",
)

crypto_price_consistency = Table(
    "crypto_price_consistency",
    metadata,
    Column("id", String(128), primary_key=True, comment="Key"),
    required("symbol", String(64), "What was compared: BTC/USDT"),
    required("timestamp_window", UtcTimestamp, "Start of the window compared, UTC"),
    required("provider_prices", JSON, "Price by provider, quote units"),
    required("max_deviation_pct", Double, "Largest distance from the recommended price, as a fraction of it"),
    required("outlier_providers", JSON, "Providers too far away to be used"),
    required("confidence_score", Double, "0 to 1"),
    required("recommended_price", ExactDecimal, "The price the providers agree on, quote units, exact"),
    required("validation_timestamp", UtcTimestamp, "When it was compared, UTC"),
    Index("ix_crypto_price_consistency_symbol_window", "symbol", "timestamp_window"),
    schema=QUALITY,
    comment="Prices of the same thing at several providers",
    info={"time": "timestamp_window"},
)

crypto_kdata_gap = Table(
    "crypto_kdata_gap",
    metadata,
    Column("id", String(255), primary_key=True, comment="Key"),
    required("entity_id", String(128), "The symbol"),
    required("provider", String(32), "Who was asked"),
    required("level", String(32), "The interval"),
    required("start", UtcTimestamp, "First missing open time, UTC"),
    required("end", UtcTimestamp, "Last missing open time, UTC"),
    required("missing", Integer, "Number of missing candles"),
    required("status", String(16), "open, source (the exchange has none) or repaired"),
    required("attempts", Integer, "How often the exchange was asked again"),
    required("first_seen", UtcTimestamp, "When it was found, UTC"),
    optional("last_checked", UtcTimestamp, "When the exchange was last asked, UTC"),
    optional("repaired_at", UtcTimestamp, "When the candles arrived, UTC"),
    required("evidence", JSON, "When asked, how often, what came back"),
    Index("ix_crypto_kdata_gap_entity", "entity_id", "level", "start"),
    Index("ix_crypto_kdata_gap_status", "level", "status"),
    schema=QUALITY,
    comment="The ledger: every span of candles that is owed and not stored, with the evidence",
    info={"time": "start"},
)

crypto_kdata_coverage = Table(
    "crypto_kdata_coverage",
    metadata,
    required("entity_id", String(128), "The symbol"),
    required("provider", String(32), "Who was asked"),
    required("level", String(32), "The interval"),
    required("partition", String(16), "Key of the partition: 2023-03-20, or 2023-03-01 for a month"),
    required("expected", Integer, "Candles owed when last asked"),
    required("present", Integer, "Candles stored then"),
    required("verified_at", UtcTimestamp, "The exchange's clock when the partition was last asked, UTC"),
    required("digest", String(64), "Checksum of the candles that were verified"),
    PrimaryKeyConstraint("entity_id", "provider", "level", "partition"),
    schema=QUALITY,
    comment="What was ever collected, per symbol, interval and partition",
    info={"time": "verified_at"},
    sqlite_with_rowid=False,
)

TABLES = (crypto_data_quality_log, crypto_price_consistency, crypto_kdata_gap, crypto_kdata_coverage)
