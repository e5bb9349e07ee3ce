"""Who is traded: currencies, spot pairs, perpetuals, and whose data a database holds. Logical database `crypto_meta`.

Series of values over time belong to `candles` and `ticks`.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    false,
    text,
    true,
)

from crypto_assets.database.tables.columns import META, ExactDecimal, UtcTimestamp, metadata, optional, required, string
from crypto_assets.domain.entities import PROVIDER


def _common(entity_type: str, example: str, what: str) -> list[Column[Any]]:
    return [
        Column(
            "id",
            string(128),
            primary_key=True,
            comment=f"Key, equal to entity_id: {entity_type}_{PROVIDER}_{example}",
        ),
        required("entity_id", string(128), f"{entity_type}_{{exchange}}_{{code}}", unique=True),
        required("entity_type", string(64), f"Always {entity_type}"),
        required("exchange", string(32), f"Exchange, such as {PROVIDER}"),
        required("code", string(64), f"{what} in lower case without underscores: {example}"),
        required("name", string(128), f"Display name of {what.lower()}"),
        optional("list_date", UtcTimestamp, "Start of trading, UTC"),
        optional("end_date", UtcTimestamp, "End of trading, UTC; null while it trades, or where nobody says it ended"),
        required("timestamp", UtcTimestamp, "When this row was last refreshed, UTC"),
    ]


def _currency(name: str, comment: str) -> Column[Any]:
    return required(name, string(128), comment, ForeignKey(f"{META}.crypto_asset.id"))


def _trading_rules(quote: str) -> list[Column[Any]]:
    return [
        required("price_step", Double, f"Smallest change of a price, {quote} units"),
        required("qty_step", Double, "Smallest change of an order's size, base units"),
        optional("min_notional", Double, f"Smallest value of an order, {quote} units"),
        optional("max_order_size", Double, "Largest size of an order, base units"),
        optional("maker_fee", Double, "Fee of the passive side, as a fraction of the value (0.001 is 0.1 %)"),
        optional("taker_fee", Double, "Fee of the aggressor, as a fraction of the value"),
    ]


def _of_the_exchange() -> list[Column[Any]]:
    return [
        required(
            "exchange_id",
            string(64),
            "The exchange's own spelling, by which it is asked: BTCUSDT",
            server_default=text("''"),
        ),
        optional(
            "status", string(64), "The exchange's own word for its state, as TRADING; null while it is not listed"
        ),
    ]


def _active() -> Column[Any]:
    return required("is_active", Boolean, "Whether it trades now", server_default=true())


def _unit_multiplier() -> Column[Any]:
    return required(
        "unit_multiplier",
        Integer,
        "How many coins one base unit stands for: 1000 for 1000PEPE, 1 for most",
        server_default=text("1"),
    )


def _code_indexes(table: str) -> list[Index]:
    return [
        Index(f"ix_{table}_code", "code"),
        Index(f"ix_{table}_exchange_code", "exchange", "code"),
        Index(f"ix_{table}_timestamp", "timestamp"),
    ]


def _active_indexes(table: str) -> list[Index]:
    """Both cover the list of active symbols: the whole answer is in the index. MySQL has no partial ones."""
    name = f"ix_{table}_active"
    partial = Index(name, "entity_id", sqlite_where=text("is_active = 1"), postgresql_where=text("is_active"))
    whole = Index(name, "is_active", "entity_id")
    return [
        partial.ddl_if(callable_=lambda *_, dialect, **__: dialect.name in ("sqlite", "postgresql")),
        whole.ddl_if(callable_=lambda *_, dialect, **__: dialect.name in ("mysql", "mariadb")),
    ]


crypto_asset = Table(
    "crypto_asset",
    metadata,
    *_common("crypto", "btc", "The currency"),
    required("symbol", string(32), "Currency as the exchange writes it: BTC"),
    optional("full_name", string(128), "Full name: Bitcoin"),
    optional("description", Text, "What it is"),
    optional("max_supply", ExactDecimal, "Most units that can ever exist, exact"),
    optional("circulating_supply", ExactDecimal, "Units in circulation, exact"),
    optional("total_supply", ExactDecimal, "Units that exist, exact"),
    optional("market_cap", ExactDecimal, "Market capitalisation, US dollars, exact"),
    required("is_stablecoin", Boolean, "Whether its value is pegged to a currency", server_default=false()),
    optional("consensus_mechanism", string(64), "Such as proof-of-work"),
    optional("blockchain", string(64), "Chain it lives on"),
    optional("contract_address", string(128), "Address of its token contract on that chain"),
    required("data_quality_score", Double, "0 (unusable) to 1 (no known issue)", server_default=text("1.0")),
    optional("last_validation_timestamp", UtcTimestamp, "When its data was last validated, UTC"),
    *_code_indexes("crypto_asset"),
    Index("ix_crypto_asset_symbol", "symbol"),
    Index("ix_crypto_asset_data_quality_score", "data_quality_score"),
    Index("ix_crypto_asset_last_validation_timestamp", "last_validation_timestamp"),
    schema=META,
    comment="Currencies and tokens",
)

crypto_pair = Table(
    "crypto_pair",
    metadata,
    *_common("cryptopair", "btcusdt", "The pair"),
    required("base_symbol", string(32), "Currency that is bought: BTC"),
    required("quote_symbol", string(32), "Currency it is paid in: USDT"),
    _currency("base_asset_id", "The base's row in crypto_asset"),
    _currency("quote_asset_id", "The quote's row in crypto_asset"),
    *_trading_rules("quote"),
    _active(),
    required("margin_enabled", Boolean, "Whether it can be traded on margin", server_default=false()),
    _unit_multiplier(),
    *_of_the_exchange(),
    *_code_indexes("crypto_pair"),
    Index("ix_crypto_pair_base_quote", "base_symbol", "quote_symbol"),
    *_active_indexes("crypto_pair"),
    schema=META,
    comment="Spot pairs",
)

crypto_perp = Table(
    "crypto_perp",
    metadata,
    *_common("cryptoperp", "btcusdt", "The contract"),
    required("underlying_symbol", string(32), "Currency the contract follows: BTC"),
    required("settlement_symbol", string(32), "Currency profit and loss are paid in: USDT"),
    _currency("underlying_asset_id", "The underlying's row in crypto_asset"),
    _currency("settlement_asset_id", "The settlement currency's row in crypto_asset"),
    required("contract_size", Double, "Base units of one contract", server_default=text("1.0")),
    *_trading_rules("settlement"),
    required("funding_interval_hours", Integer, "Hours between funding payments", server_default=text("8")),
    optional("max_leverage", Double, "Highest leverage allowed"),
    required("default_leverage", Double, "Leverage of a new account", server_default=text("1.0")),
    required("position_modes", string(64), "one-way, hedge or both", server_default=text("'both'")),
    optional("maintenance_margin_rate", Double, "Margin to keep a position, as a fraction of its value"),
    optional("initial_margin_rate", Double, "Margin to open a position, as a fraction of its value"),
    _active(),
    _unit_multiplier(),
    *_of_the_exchange(),
    *_code_indexes("crypto_perp"),
    Index("ix_crypto_perp_underlying", "underlying_symbol", "settlement_symbol"),
    *_active_indexes("crypto_perp"),
    schema=META,
    comment="Perpetual contracts",
)

crypto_listing = Table(
    "crypto_listing",
    metadata,
    required("entity_id", string(128), "The symbol: a row of crypto_pair or crypto_perp"),
    required("start", UtcTimestamp, "Start of trading, UTC"),
    optional("end", UtcTimestamp, "End of trading, UTC; null while it trades"),
    PrimaryKeyConstraint("entity_id", "start"),
    schema=META,
    comment="The spans in which a symbol was listed, for those that were listed more than once",
    info={"time": "start"},
    sqlite_with_rowid=False,
)

crypto_database_identity = Table(
    "crypto_database_identity",
    metadata,
    Column("environment", string(16), primary_key=True, comment="testnet, live, demo or sandbox"),
    required("created_at", UtcTimestamp, "When the database was made, UTC"),
    schema=META,
    comment="Whose data this database holds; one row, and any other environment is refused",
    info={"time": "created_at"},
)

crypto_schema_migration = Table(
    "crypto_schema_migration",
    metadata,
    Column("id", string(128), primary_key=True, comment="Key"),
    required("database", string(64), "The database that was brought to another revision"),
    optional("revision_before", string(16), "Where it stood; null where there was nothing"),
    optional("revision_after", string(16), "Where it stands since; null where everything was removed"),
    required("version", string(32), "The version of crypto-assets that did it"),
    required("started_at", UtcTimestamp, "When it began, UTC"),
    required("seconds", Double, "How long it took"),
    schema=META,
    comment="Every change of the schema: what, when, by which version, in how many seconds",
    info={"time": "started_at"},
)

TABLES = (crypto_asset, crypto_pair, crypto_perp, crypto_listing, crypto_database_identity, crypto_schema_migration)
