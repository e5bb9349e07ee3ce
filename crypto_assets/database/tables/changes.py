"""The table of marks: partitions of candles that changed since they were verified. Triggers on candle tables write it.

It holds no data of a user's, and is none of `TABLES`. On SQLite
every candle file has its own, since no trigger writes into another file; on a server there is one. Reading and clearing
it belongs to `quality.verification.marks`.
"""

from __future__ import annotations

from sqlalchemy import PrimaryKeyConstraint, Table

from crypto_assets.database.tables.columns import KDATA, metadata, optional, required, string

crypto_kdata_change = Table(
    "crypto_kdata_change",
    metadata,
    required("candles", string(32), "The candle table"),
    required("entity_id", string(128), "The symbol"),
    required("partition", string(32), "Key of the partition whose candles were changed or deleted"),
    optional("found", string(64), "Checksum of what an examination found wanting there; null until it was examined"),
    PrimaryKeyConstraint("candles", "entity_id", "partition"),
    schema=KDATA,
    comment="Partitions of candles that changed since they were verified, by whomever, or were found wanting then",
    sqlite_with_rowid=False,
)
