"""Candle tables and series as values: which market, which interval, which symbol, and all that follows from these.

Here belongs what a candle table is (its name, the entities in it, the partitions its history is cut into) and what a
series is. The columns of candles belong to `database.tables.candles`. Called by every package.
"""

from __future__ import annotations

import difflib
from typing import NamedTuple

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import (
    Interval,
    PartitionScheme,
    is_partition_key,
    partition_key,
    partition_keys,
    partition_span,
    whole_partitions,
)
from crypto_assets.domain.spans import Span

CANDLE_COLUMNS = ("open_time", "open", "high", "low", "close", "volume", "volume_quote", "trade_count")
"""What is taken of a candle, whichever exchange it is from; all else that is stored follows from these."""


class CandleTable(NamedTuple):
    """The candles of one interval of all symbols of a market: a table, and an asset."""

    market_type: MarketType
    interval: Interval

    @classmethod
    def named(cls, name: str) -> CandleTable:
        """The candle table called `name`. Raises ValueError with the nearest names where there is none."""
        if name not in KDATA_TABLES:
            near = difflib.get_close_matches(name, KDATA_TABLES, n=3) or list(KDATA_TABLES)[:3]
            raise ValueError(f"{name!r} is no candle table; did you mean {', '.join(near)}?")
        return KDATA_TABLES[name]

    @classmethod
    def of(cls, entity_id: str, level: str) -> CandleTable | None:
        """The candle table that has the rows about an entity at a level, as coverage and ledger name them."""
        return KDATA_TABLES.get(f"{entity_id.partition('_')[0]}_{level}_kdata")

    @property
    def name(self) -> str:
        """The table's name and the asset's key: `cryptopair_1m_kdata`."""
        return f"{self.entity_type}_{self.level}_kdata"

    @property
    def level(self) -> str:
        """The interval as rows name it in their column `level`: `1m`."""
        return self.interval.value

    @property
    def entity_type(self) -> str:
        """The entity type of its symbols: `cryptopair`, the first part of their ids."""
        return self.market_type.entity_type

    @property
    def entity_table(self) -> str:
        """The table that lists its symbols: `crypto_pair`."""
        return self.market_type.entity_table

    @property
    def partition_scheme(self) -> PartitionScheme:
        """How its history is cut into partitions."""
        return self.interval.partition_scheme

    def partition_key(self, time_ms: int) -> str:
        """The key of the partition that contains `time_ms`."""
        return partition_key(self.partition_scheme, time_ms)

    def partition_span(self, key: str) -> Span:
        """The half-open span of milliseconds that the partition `key` covers."""
        return partition_span(self.partition_scheme, key)

    def partition_keys(self, span: Span) -> list[str]:
        """The keys of all partitions that overlap `span`, oldest first."""
        return partition_keys(self.partition_scheme, *span)

    def whole_partitions(self, span: Span) -> Span:
        """The span of the partitions that overlap `span`, which holds at least one time."""
        return whole_partitions(self.partition_scheme, span)

    def is_partition_key(self, text: str) -> bool:
        """Whether `text` is the key of one of its partitions."""
        return is_partition_key(self.partition_scheme, text)


KDATA_TABLES: dict[str, CandleTable] = {
    table.name: table for table in (CandleTable(market, interval) for market in MarketType for interval in Interval)
}
"""The 14 candle tables by name, pairs before perpetuals, shortest interval first."""


class Series(NamedTuple):
    """The candles of one symbol at one interval, as an exchange calls them and as they are stored."""

    provider: str
    market_type: MarketType
    exchange_id: str
    """The exchange's own id of the symbol: `BTCUSDT`."""
    entity_id: str
    interval: Interval

    @property
    def candle_table(self) -> CandleTable:
        """The table they are stored in."""
        return CandleTable(self.market_type, self.interval)

    @property
    def at_exchange(self) -> tuple[MarketType, str, Interval]:
        """What the exchange is asked for: the first arguments of `Exchange.candle_pages` and of `BulkFiles.file`."""
        return self.market_type, self.exchange_id, self.interval
