"""The fourteen candle tables, from one definition. Logical database `crypto_kdata`, on SQLite one file per table.

How derived columns are computed belongs to `frames`; what follows from other columns of the same row is generated here,
so that it costs no space and cannot disagree.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Computed, Double, ForeignKey, Integer, PrimaryKeyConstraint, Table, false

from crypto_assets.database.tables.columns import (
    KDATA,
    META,
    PerDialect,
    UtcTimestamp,
    metadata,
    optional,
    required,
    string,
)
from crypto_assets.domain.entities import PROVIDER, MarketType
from crypto_assets.domain.intervals import Interval
from crypto_assets.domain.series import KDATA_TABLES, CandleTable

# Entity ids are {type}_{exchange}_{code}, and none of the three holds an underscore; both types are ten letters long.
# SQLite computes generated columns on every write, so fewer function calls here are cheaper rows. PostgreSQL accepts
# immutable functions only, and neither to_char nor a cast of a timestamp to text is one.
_CODE = PerDialect(
    sqlite="substr(entity_id, instr(substr(entity_id, 12), '_') + 12)",
    postgresql="split_part(entity_id, '_', 3)",
    mysql="substring_index(entity_id, '_', -1)",
)
_POSTGRESQL_DAY = (
    "entity_id || '_' || date_part('year', timestamp)::int::text"
    " || '-' || lpad(date_part('month', timestamp)::int::text, 2, '0')"
    " || '-' || lpad(date_part('day', timestamp)::int::text, 2, '0')"
)
_DAY_ID = PerDialect(
    sqlite="entity_id || '_' || substr(timestamp, 1, 10)",
    postgresql=_POSTGRESQL_DAY,
    mysql="concat(entity_id, '_', date_format(timestamp, '%Y-%m-%d'))",
)
_TIME_ID = PerDialect(
    sqlite="entity_id || '_' || substr(timestamp, 1, 10) || 'T' || substr(timestamp, 12, 12)",
    postgresql=f"{_POSTGRESQL_DAY} || 'T' || CASE WHEN timestamp = timestamp::timestamp(0)"
    " THEN timestamp::time::text || '.000' ELSE left(timestamp::time::text || '000', 12) END",
    mysql="concat(entity_id, '_', left(date_format(timestamp, '%Y-%m-%dT%H:%i:%s.%f'), 23))",
)


def _table_of(candle_table: CandleTable) -> Table:
    """The table with its columns, keyed by (entity_id, timestamp)."""
    market_type, interval = candle_table
    generated_id = _DAY_ID if interval is Interval.D1 else _TIME_ID
    # Prices, volumes and the count may be null physically, so that a row damaged by hand can be found by a check.
    return Table(
        candle_table.name,
        metadata,
        required(
            "entity_id",
            string(128),
            f"The symbol: a row of {market_type.entity_table}",
            ForeignKey(f"{META}.{market_type.entity_table}.entity_id"),
        ),
        required("provider", string(32), f"Where the candle was asked for, such as {PROVIDER}"),
        required("name", string(32), "The symbol's display name: BTC/USDT"),
        required("timestamp", UtcTimestamp, "Open time, UTC"),
        optional("open", Double, "First price, quote units"),
        optional("high", Double, "Highest price, quote units"),
        optional("low", Double, "Lowest price, quote units"),
        optional("close", Double, "Last price, quote units"),
        optional("volume", Double, "Amount traded, base units"),
        optional(
            "change_pct", Double, "close / close one interval earlier - 1 (0.01 is 1 %); null without that candle"
        ),
        optional("turnover_rate", Double, "volume / circulating supply; null where the supply is unknown"),
        optional("volume_quote", Double, "Amount traded, quote units"),
        optional("trade_count", Integer, "Number of trades"),
        required(
            "is_high_volatility",
            Boolean,
            "(high - low) / open above 3 times its median over the 20 intervals before; false where one is missing",
            server_default=false(),
        ),
        required(
            "is_high_volume",
            Boolean,
            "volume above 3 times its median over the 20 intervals before; false where one is missing",
            server_default=false(),
        ),
        # Last: SQLite (3.40) gives `excluded.x` of an upsert the type of the column as many places further as there are
        # generated columns before x, which rounds large integers.
        optional("id", string(128), "{entity_id}_{timestamp}; generated", Computed(generated_id, persisted=False)),
        optional("code", string(32), "The symbol's code; generated", Computed(_CODE, persisted=False)),
        optional("level", string(32), "The interval; generated", Computed(f"'{interval.value}'", persisted=False)),
        optional("turnover", Double, "Equal to volume_quote; generated", Computed("volume_quote", persisted=False)),
        optional("volume_base", Double, "Equal to volume; generated", Computed("volume", persisted=False)),
        optional(
            "vwap",
            Double,
            "volume_quote / volume_base, quote units; null where nothing traded; generated",
            Computed("volume_quote / nullif(volume, 0)", persisted=False),
        ),
        PrimaryKeyConstraint("entity_id", "timestamp"),
        schema=KDATA,
        comment=f"{interval.value} candles of {'spot pairs' if market_type is MarketType.SPOT else 'perpetuals'}",
        info={"by_entity": True},
        sqlite_with_rowid=False,
    )


TABLES = tuple(map(_table_of, KDATA_TABLES.values()))
