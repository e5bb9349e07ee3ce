"""What the name of a candle table tells: its market, its interval, the table and the one that lists its symbols.

For what works on one candle table: `quality.verification.partitions` and `collect.candles` derive from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crypto_assets.database.tables import TABLES
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.series import KDATA_TABLES

if TYPE_CHECKING:
    from sqlalchemy import Table

    from crypto_assets.domain.intervals import Interval


class OfCandleTable:
    """Something about the candle table `table_name`."""

    table_name: str

    @property
    def market_type(self) -> MarketType:
        """The market the table's symbols trade on."""
        return KDATA_TABLES[self.table_name][0]

    @property
    def interval(self) -> Interval:
        """The table's interval."""
        return KDATA_TABLES[self.table_name][1]

    @property
    def table(self) -> Table:
        """The candle table."""
        return TABLES[self.table_name]

    @property
    def entities(self) -> Table:
        """The table that lists the symbols."""
        return TABLES[self.market_type.entity_table]
