"""What is known about the quality of candles: log, price consistency, findings, ledger of gaps, coverage.

Logical database `crypto_quality`. How findings are made belongs to the `quality` package.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Index, Integer, PrimaryKeyConstraint, Table, text

from crypto_assets.database.tables.columns import (
    JSON_DOCUMENT,
    QUALITY,
    ExactDecimal,
    UtcTimestamp,
    metadata,
    optional,
    required,
    string,
)

crypto_data_quality_log = Table(
    "crypto_data_quality_log",
    metadata,
    Column("id", string(128), primary_key=True, comment="Key"),
    required("entity_id", string(128), "What was validated"),
    required("provider", string(32), "Whose data"),
    required("validation_type", string(64), "What was looked for, such as no_gaps"),
    required("validation_result", JSON_DOCUMENT, "What was found"),
    required("quality_score", Double, "0 (unusable) to 1 (no issue)"),
    required("issues_detected", JSON_DOCUMENT, "List of issues"),
    required("timestamp", UtcTimestamp, "When it was validated, UTC"),
    Index("ix_crypto_data_quality_log_entity_timestamp", "entity_id", "timestamp"),
    Index("ix_crypto_data_quality_log_timestamp", "timestamp"),
    schema=QUALITY,
    comment="Results of validations",
)

crypto_price_consistency = Table(
    "crypto_price_consistency",
    metadata,
    Column("id", string(128), primary_key=True, comment="Key"),
    required("symbol", string(64), "What was compared: BTC/USDT"),
    required("timestamp_window", UtcTimestamp, "Start of the window compared, UTC"),
    required("provider_prices", JSON_DOCUMENT, "Price by provider, quote units"),
    required("max_deviation_pct", Double, "Largest distance from the recommended price, as a fraction of it"),
    required("outlier_providers", JSON_DOCUMENT, "Providers too far away to be used"),
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
    Column("id", string(255), primary_key=True, comment="Key"),
    required("entity_id", string(128), "The symbol"),
    required("provider", string(32), "Who was asked"),
    required("level", string(32), "The interval"),
    required("start", UtcTimestamp, "First missing open time, UTC"),
    required("end", UtcTimestamp, "Last missing open time, UTC"),
    required("missing", Integer, "Number of missing candles"),
    required("status", string(16), "open, source (the exchange has none) or repaired"),
    required("attempts", Integer, "How often the exchange was asked again"),
    required("first_seen", UtcTimestamp, "When it was found, UTC"),
    optional("last_checked", UtcTimestamp, "When the exchange was last asked, UTC"),
    optional("repaired_at", UtcTimestamp, "When the candles arrived, UTC"),
    required("evidence", JSON_DOCUMENT, "When asked, how often, what came back"),
    Index("ix_crypto_kdata_gap_entity", "entity_id", "level", "start"),
    Index("ix_crypto_kdata_gap_status", "level", "status"),
    schema=QUALITY,
    comment="The ledger: every span of candles that is owed and not stored, with the evidence",
    info={"time": "start"},
)

crypto_kdata_coverage = Table(
    "crypto_kdata_coverage",
    metadata,
    required("entity_id", string(128), "The symbol"),
    required("provider", string(32), "Who was asked"),
    required("level", string(32), "The interval"),
    required("partition", string(16), "Key of the partition: 2023-03-20, or 2023-03-01 for a month"),
    required("expected", Integer, "Candles owed when last asked"),
    required("present", Integer, "Candles stored then"),
    required(
        "verified_at",
        UtcTimestamp,
        "Candles closed by then are owed: the exchange's clock when it was last asked, less the margin, UTC",
    ),
    required("digest", string(64), "Checksum of the candles that were verified"),
    required(
        "source",
        string(32),
        "Where its candles came from: rest, archive, stream, or several joined by +; empty before any came",
        server_default=text("'rest'"),
    ),
    required(
        "plausibility_checked",
        string(32),
        "Start of the digest of the candles in which the check plausible looked; empty before it did",
        server_default=text("''"),
    ),
    required(
        "agreement_checked",
        string(32),
        "The same of agrees_with_minutes; of minutes with that of the hours they were compared with",
        server_default=text("''"),
    ),
    PrimaryKeyConstraint("entity_id", "provider", "level", "partition"),
    schema=QUALITY,
    comment="What was ever collected, per symbol, interval and partition",
    info={"time": "verified_at"},
    sqlite_with_rowid=False,
)

crypto_kdata_decision = Table(
    "crypto_kdata_decision",
    metadata,
    required("entity_id", string(128), "The symbol"),
    required("provider", string(32), "Whose data"),
    required("level", string(32), "The interval"),
    required("start", UtcTimestamp, "First open time that is meant, UTC"),
    required("end", UtcTimestamp, "Last open time that is meant, UTC"),
    required("decision", string(16), "collect or leave"),
    required("decided_at", UtcTimestamp, "When it was decided, UTC"),
    required("decided_by", string(255), "Who decided it, and where"),
    PrimaryKeyConstraint("entity_id", "provider", "level", "start"),
    schema=QUALITY,
    comment="What was decided about long holes between collected partitions: to collect them, or to leave them",
    info={"time": "start"},
    sqlite_with_rowid=False,
)

crypto_kdata_archive = Table(
    "crypto_kdata_archive",
    metadata,
    required("entity_id", string(128), "The symbol"),
    required("provider", string(32), "Who was asked"),
    required("level", string(32), "The interval"),
    required("month", string(16), "The archived month: 2023-03-01"),
    required("path", string(255), "The Parquet file, relative to the archive's directory"),
    required("rows", Integer, "Candles in the file"),
    required("bytes", BigInteger, "Size of the file"),
    required("first_timestamp", UtcTimestamp, "Open time of its first candle, UTC"),
    required("last_timestamp", UtcTimestamp, "Open time of its last candle, UTC"),
    required("digest", string(64), "Checksum of its candles"),
    required("archived_at", UtcTimestamp, "When it was written, UTC"),
    PrimaryKeyConstraint("entity_id", "provider", "level", "month"),
    schema=QUALITY,
    comment="The manifest of candles that were moved from the database into Parquet files",
    info={"time": "archived_at"},
    sqlite_with_rowid=False,
)

crypto_kdata_finding = Table(
    "crypto_kdata_finding",
    metadata,
    required("check_name", string(32), "plausible or agrees_with_minutes"),
    required("entity_id", string(128), "The symbol"),
    required("provider", string(32), "Whose data"),
    required("level", string(32), "The interval; of agrees_with_minutes 1m"),
    required("partition", string(16), "Key of the partition: 2023-03-20, or 2023-03-01 for a month"),
    required("checked", string(32), "What coverage says was looked at; the finding stands while it says so"),
    required("found", JSON_DOCUMENT, "How many candles, the first of them, and what about them"),
    required("found_at", UtcTimestamp, "When it was found, UTC"),
    PrimaryKeyConstraint("check_name", "entity_id", "provider", "level", "partition"),
    schema=QUALITY,
    comment="What checks found in partitions that are stored, while these are as they were",
    info={"time": "found_at"},
    sqlite_with_rowid=False,
)

crypto_source_file = Table(
    "crypto_source_file",
    metadata,
    required("entity_id", string(128), "The symbol"),
    required("provider", string(32), "Whose archive"),
    required("level", string(32), "The interval"),
    required("period", string(16), "What the file covers: the day 2023-03-20 or the month 2023-03"),
    required("sha256", string(64), "Its checksum when it was loaded"),
    required("rows", Integer, "Candles in the file"),
    required("last_timestamp", UtcTimestamp, "Open time of its last candle, UTC"),
    required("loaded_at", UtcTimestamp, "When it was loaded, UTC"),
    required("checked_at", UtcTimestamp, "When its checksum was last compared with the published one, UTC"),
    PrimaryKeyConstraint("entity_id", "provider", "level", "period"),
    schema=QUALITY,
    comment="Files of the exchange's public archive whose candles are stored",
    info={"time": "loaded_at"},
    sqlite_with_rowid=False,
)

TABLES = (
    crypto_data_quality_log,
    crypto_price_consistency,
    crypto_kdata_gap,
    crypto_kdata_coverage,
    crypto_kdata_decision,
    crypto_kdata_archive,
    crypto_kdata_finding,
    crypto_source_file,
)
