"""What we need of any exchange, as a Protocol: its clock, its symbols and its candles; and what a page of these is.

Here belongs the shape that `collect` depends on and that tests may implement; no exchange's own rules. Each
`exchange.<venue>` implements it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import orjson

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import Interval
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.markets import Market, RefusedSymbol

RawRows: TypeAlias = list[list[Any]]
"""Candles row by row as the exchange sent them: evidence for what is refused."""


@dataclass(frozen=True, eq=False)
class CandlePage:
    """The candles of an answer, or of several in a row, as columns in the order received.

    `table` has a row of float64 for each of `CANDLE_COLUMNS`: open times in UTC ms, which doubles hold exactly, and the
    exchange's decimal text, rounded once; NaN stands for null and for what is no number. `json` is all that came, rows
    as JSON with commas between. `strays` came with the candles and are not in the table: their open time is no whole
    number inside the window that was asked for, and open times decide where paging goes on. `rows` are the candles as
    they came, where they were read one by one.
    """

    table: npt.NDArray[np.float64]
    json: bytes = b""
    strays: RawRows = field(default_factory=list)
    rows: RawRows | None = None

    def __len__(self) -> int:
        """How many candles came, strays aside."""
        candles: int = self.table.shape[1]
        return candles

    @cached_property
    def newest(self) -> int:
        """The latest open time, 0 of an empty page."""
        return int(self.table[0].max()) if len(self) else 0

    def lies_in(self, window: Span) -> bool:
        """Whether all candles, at least one, open in the window."""
        return bool(len(self)) and window.start <= int(self.table[0].min()) and self.newest < window.end

    def count_in(self, span: Span) -> int:
        """How many candles open in the span."""
        if self.lies_in(span):
            return len(self)
        times = self.table[0]
        return int(np.count_nonzero((times >= span.start) & (times < span.end)))

    def raw_rows(self) -> RawRows:
        """The candles as the exchange sent them."""
        rows: RawRows = orjson.loads(b"[" + self.json + b"]") if self.rows is None else self.rows
        return rows


def one_page(pages: Sequence[CandlePage]) -> CandlePage:
    """Pages that follow each other, at least one, as one."""
    if len(pages) == 1:
        return pages[0]
    read_at_once = all(page.rows is None for page in pages)
    return CandlePage(
        np.concatenate([page.table for page in pages], axis=1),
        b",".join(page.json for page in pages if page.json),
        [stray for page in pages for stray in page.strays],
        None if read_at_once else [row for page in pages for row in page.raw_rows()],
    )


class Exchange(Protocol):
    """Public market data of one exchange. Every method raises `ExchangeError` when it cannot give what it promises."""

    @property
    def name(self) -> str:
        """The provider's name in ids and tables, such as `binance`."""

    @property
    def requests(self) -> int:
        """How many HTTP requests were made so far, retries included."""

    @property
    def readers(self) -> int:
        """How many series of candles are best read side by side, each by a thread of its own."""

    @property
    def close_margin_ms(self) -> int:
        """How long after its close, by the exchange's clock, a candle may still change: the last trades come late."""

    def server_time(self, market_type: MarketType) -> int:
        """The exchange's clock in UTC ms."""

    def markets(
        self, market_type: MarketType, refuse: Callable[[RefusedSymbol], None] = lambda _: None
    ) -> list[Market]:
        """Every symbol of this market, delisted ones that the exchange still shows included; asked anew each time.

        One that cannot be read is given to `refuse`, and keeps none of the others.
        """

    def candle_pages(
        self, market_type: MarketType, exchange_id: str, interval: Interval, span: Span
    ) -> Iterator[CandlePage]:
        """The candles that open in `span`, as they come, oldest first; no page is without candles."""

    def first_candle_time(self, market_type: MarketType, exchange_id: str, since: int = 0) -> int | None:
        """The open time in UTC ms of the oldest 1m candle that opens at `since` or later, None where there is none."""

    def last_candle_time(self, market_type: MarketType, exchange_id: str) -> int | None:
        """The open time in UTC ms of the newest 1m candle, closed or not, None where there is none."""

    def stop(self) -> None:
        """Let no thread wait any longer, for the exchange's limits or before another attempt."""

    def close(self) -> None:
        """Give connections back."""
