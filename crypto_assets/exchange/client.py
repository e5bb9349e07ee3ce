"""What we need of any exchange, as a Protocol: its clock, its symbols and its candles.

Here belongs the shape that `collect` depends on and that tests may implement; no exchange's own rules. Each
`exchange.<venue>` implements it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeAlias

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import Interval
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.markets import Market, RefusedSymbol

RawPage: TypeAlias = list[list[Any]]
"""Candles as the exchange sent them: open time in UTC ms first, numbers as the text of the JSON. Judged by `frames`.

What the open time says decides where paging goes on, so it is judged before: see `StrayRow`.
"""


class StrayRow(list[Any]):
    """A row of a page whose open time is no whole number inside the window that was asked for."""


def marked(page: RawPage, window: Span) -> RawPage:
    """The page with its strays as such; the page itself where it has none."""
    times = [row[0] for row in page]
    if set(map(type, times)) <= {int} and (not times or (window.start <= min(times) and max(times) < window.end)):
        return page
    return [row if is_open_time(row[0], window) else StrayRow(row) for row in page]


def is_open_time(value: object, window: Span) -> bool:
    """Whether a value is a whole number, which `true` is not, inside the window."""
    return type(value) is int and window.start <= value < window.end


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
    ) -> Iterator[RawPage]:
        """The candles that open in `span`, as they come, oldest first, with strays; empty pages are not given."""

    def first_candle_time(self, market_type: MarketType, exchange_id: str, since: int = 0) -> int | None:
        """The open time in UTC ms of the oldest 1m candle that opens at `since` or later, None where there is none."""

    def last_candle_time(self, market_type: MarketType, exchange_id: str) -> int | None:
        """The open time in UTC ms of the newest 1m candle, closed or not, None where there is none."""

    def stop(self) -> None:
        """Let no thread wait any longer, for the exchange's limits or before another attempt."""

    def close(self) -> None:
        """Give connections back."""
