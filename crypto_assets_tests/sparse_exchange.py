"""A sparse exchange, which exists in the tests only: the tiny one, without a candle where nothing traded.

Its candles have neither quote volume nor a number of trades.

`refused` are open times whose candle comes with a high below its low, `strays` rows that come beside the candles of
each answer. Known to the project as `sparse` by `add_venue`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from crypto_assets.domain.series import CANDLE_COLUMNS
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.errors import ExchangeError
from crypto_assets_tests.tiny_exchange import Tiny, TinyExchange

PROVIDER = "sparse"
VENUE = Tiny(is_dense=False, unpublished=frozenset({"volume_quote", "trade_count"}))


@dataclass
class SparseExchange(TinyExchange):
    """`lacking` are the open times of the intervals in which nothing traded; `asked` is what it was asked for.

    From `fails_at` on it answers no more.
    """

    name: str = PROVIDER
    refused: set[int] = field(default_factory=set)
    strays: list[list[Any]] = field(default_factory=list)
    asked: list[Span] = field(default_factory=list)
    fails_at: int | None = None

    def candle_pages(self, market_type, exchange_id, interval, span):
        self.asked.append(span)
        for page in super().candle_pages(market_type, exchange_id, interval, span):
            if self.fails_at is not None and page.newest >= self.fails_at:
                raise ExchangeError("it fell silent")
            table = page.table.copy()
            table[[CANDLE_COLUMNS.index(name) for name in VENUE.unpublished]] = float("nan")
            for place, time in enumerate(table[0].tolist()):
                if time in self.refused:
                    table[CANDLE_COLUMNS.index("high"), place] = 1
            yield replace(page, table=table, strays=self.strays, rows=table.T.tolist())
