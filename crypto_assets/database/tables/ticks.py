"""Trades, order books and funding. Logical database `crypto_tick`.

Recording them belongs to later packages; only their shape is here.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, Table

from crypto_assets.database.tables.columns import (
    JSON_DOCUMENT,
    TICK,
    UtcTimestamp,
    metadata,
    optional,
    required,
    string,
)
from crypto_assets.domain.entities import PROVIDER


def _tick_table(name: str, comment: str, *columns: Column[Any], rowid: bool) -> Table:
    return Table(
        name,
        metadata,
        Column("id", string(128), primary_key=True, comment="Key"),
        required("entity_id", string(128), "The symbol: a row of crypto_pair or crypto_perp"),
        required("provider", string(32), f"Where it was recorded, such as {PROVIDER}"),
        required("code", string(64), "The symbol's code: btcusdt"),
        required("name", string(128), "The symbol's display name: BTC/USDT"),
        required("timestamp_ms", BigInteger, "The exchange's time, milliseconds since 1970-01-01 UTC"),
        required("timestamp", UtcTimestamp, "The exchange's time, UTC"),
        *columns,
        Index(f"ix_{name}_entity_timestamp", "entity_id", "timestamp"),
        schema=TICK,
        comment=comment,
        info={"by_entity": True},
        sqlite_with_rowid=rowid,
    )


crypto_trade = _tick_table(
    "crypto_trade",
    "Trades",
    required("trade_id", string(128), "The exchange's id of the trade"),
    required("price", Double, "Price, quote units"),
    required("volume", Double, "Size, base units"),
    required("quote_volume", Double, "price times volume, quote units"),
    required("side", string(16), "buy or sell: what the aggressor did"),
    required("is_buyer_maker", Boolean, "Whether the buyer was passive, so the aggressor sold"),
    optional("bid_price", Double, "Best bid at that moment, quote units"),
    optional("ask_price", Double, "Best ask at that moment, quote units"),
    optional("spread", Double, "ask_price - bid_price, quote units"),
    optional("trade_flags", string(64), "The exchange's marks on the trade"),
    rowid=False,
)

crypto_orderbook = _tick_table(
    "crypto_orderbook",
    "Order books and their updates",
    required("update_id", BigInteger, "The exchange's number of this state"),
    optional("prev_update_id", BigInteger, "Last update of the state before"),
    optional("first_update_id", BigInteger, "First update merged into this one"),
    optional("last_update_id", BigInteger, "Last update merged into this one"),
    required("bids", JSON_DOCUMENT, "Bids, best first: [[price, size], ...], quote and base units"),
    required("asks", JSON_DOCUMENT, "Asks, best first: [[price, size], ...], quote and base units"),
    required("bid_levels", Integer, "Number of bids"),
    required("ask_levels", Integer, "Number of asks"),
    required("best_bid", Double, "Highest bid, quote units"),
    required("best_ask", Double, "Lowest ask, quote units"),
    required("spread", Double, "best_ask - best_bid, quote units"),
    required("spread_pct", Double, "spread / mid_price (0.01 is 1 %)"),
    required("mid_price", Double, "(best_bid + best_ask) / 2, quote units"),
    required("bid_volume", Double, "Sum of the bids' sizes, base units"),
    required("ask_volume", Double, "Sum of the asks' sizes, base units"),
    required("bid_vwap", Double, "Mean price of the bids by size, quote units"),
    required("ask_vwap", Double, "Mean price of the asks by size, quote units"),
    optional("checksum", string(64), "The exchange's checksum of the book"),
    required("is_snapshot", Boolean, "Whether this is a whole book, not a change of one"),
    rowid=True,  # rows of several kilobytes would spread the key over many pages
)

crypto_funding = _tick_table(
    "crypto_funding",
    "Funding payments of perpetuals",
    required("funding_rate", Double, "Rate of this payment, as a fraction of the position's value"),
    optional("predicted_rate", Double, "Rate expected for the next payment"),
    required("funding_timestamp", UtcTimestamp, "When it was paid, UTC"),
    optional("next_funding_timestamp", UtcTimestamp, "When the next one is due, UTC"),
    required("funding_interval_hours", Integer, "Hours since the payment before, as the data shows"),
    optional("mark_price", Double, "Mark price at payment, quote units"),
    optional("index_price", Double, "Index price at payment, quote units"),
    optional("premium_rate", Double, "Premium part of the rate"),
    optional("interest_rate", Double, "Interest part of the rate"),
    required("funding_cost_long", Double, "What a long position pays, as a fraction of its value"),
    required("funding_cost_short", Double, "What a short position pays, as a fraction of its value"),
    optional("avg_funding_24h", Double, "Mean rate of the last 24 hours"),
    optional("max_funding_24h", Double, "Highest rate of the last 24 hours"),
    optional("min_funding_24h", Double, "Lowest rate of the last 24 hours"),
    required("is_bullish_funding", Boolean, "Whether longs pay shorts"),
    required("is_extreme_funding", Boolean, "Whether the rate is far outside the usual"),
    optional("calculation_timestamp", UtcTimestamp, "When the derived columns were computed, UTC"),
    rowid=False,
)

TABLES = (crypto_trade, crypto_orderbook, crypto_funding)
