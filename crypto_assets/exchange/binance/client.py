"""Binance spot and USDT-M perpetuals through ccxt's implicit endpoints: which URL, which page, which cursor.

Here belongs what is asked of Binance. Retries and waits belong to `connection`, reading symbols to `symbols`, judging
candles to `frames`. `fetch_ohlcv` is not used: it drops quote volume, trade count and taker volumes. Made by
`orchestration` and `cli`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.environments import Environment
from crypto_assets.domain.intervals import Interval, format_time
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.binance import PROVIDER
from crypto_assets.exchange.binance.connection import Connection
from crypto_assets.exchange.binance.hosts import HOSTS
from crypto_assets.exchange.binance.klines import MIN_FIELDS, page_of
from crypto_assets.exchange.binance.symbols import read_market
from crypto_assets.exchange.binance.weights import PAGE_ROWS
from crypto_assets.exchange.budget.blocks import Blocks
from crypto_assets.exchange.budget.store import LedgerStore, OwnStore, SharedStore
from crypto_assets.exchange.client import CandlePage
from crypto_assets.exchange.errors import ConfigurationError, ContractViolation, UnknownSymbol
from crypto_assets.exchange.markets import Market, RefusedSymbol, nearest_symbols
from crypto_assets.exchange.paging import Ahead, pages_of
from crypto_assets.exchange.pauses import Pauses
from crypto_assets.exchange.retrying import RetryPolicy

# ccxt's implicit endpoint, and its path for messages.
_KLINES = {MarketType.SPOT: ("publicGetKlines", "klines"), MarketType.SWAP: ("fapiPublicGetKlines", "klines")}
_TIME = {MarketType.SPOT: ("publicGetTime", "time"), MarketType.SWAP: ("fapiPublicGetTime", "time")}
_INFO = {
    MarketType.SPOT: ("publicGetExchangeInfo", "exchangeInfo"),
    MarketType.SWAP: ("fapiPublicGetExchangeInfo", "exchangeInfo"),
}
_FUNDING_INFO = ("fapiPublicGetFundingInfo", "fundingInfo")

# The year 2100. A clock beyond it would make centuries of candles due.
_END_OF_CLOCKS_MS = 4_102_444_800_000
_DAY_HOURS = 24
_NO_LIMIT = 1_000_000_000

_log = logging.getLogger(__name__)


class BinanceExchange:
    """Binance's public market data in one environment. See `Exchange` for what each method promises.

    For any number of threads, each with connections of its own. At most `in_flight` pages of candles are asked for and
    not yet dealt with while no more than `readers` series are read; with 1, each is asked for when it is wanted.
    `spot_url` and `futures_url` (scheme://host[:port]) replace the environment's hosts. All that name the same
    `state_directory`, in this and other processes, spend one request budget together and leave the share
    `weight_reserve` of it for others; without one, this object has a budget of its own. `wider_store` is spent from as
    well, by other machines, too; it is closed with this object. Who names another `outgoing_address` shares with none
    of them. A candle may change until `close_margin_s` after its close. `sleep` and `clock` (seconds since 1970) are
    for tests.
    """

    def __init__(
        self,
        environment: Environment,
        *,
        spot_url: str | None = None,
        futures_url: str | None = None,
        state_directory: Path | None = None,
        wider_store: LedgerStore | None = None,
        outgoing_address: str = "",
        weight_reserve: float = 0.0,
        in_flight: int = 1,
        close_margin_s: float = 15.0,
        retry: RetryPolicy | None = None,
        sleep: Callable[[float], None] | None = None,
        clock: Callable[[], float] = time.time,
        timeout_s: float = 20.0,
    ) -> None:
        if environment not in HOSTS:
            raise ConfigurationError(
                f"CRYPTO_ASSETS_ENVIRONMENT is {str(environment)!r}; it must be one of {', '.join(HOSTS)}"
            )
        overrides = {MarketType.SPOT: spot_url, MarketType.SWAP: futures_url}
        own: LedgerStore = SharedStore(state_directory) if state_directory is not None else OwnStore()
        self._stores = (own,) if wider_store is None else (own, Blocks(wider_store))
        self._urls = {market_type: overrides[market_type] or host for market_type, host in HOSTS[environment].items()}
        self._pauses = Pauses()
        self._options: dict[str, Any] = {
            "stores": self._stores,
            "address": outgoing_address,
            "reserve": weight_reserve,
            "retry": retry or RetryPolicy(),
            "sleep": sleep or self._pauses.wait,
            "clock": clock,
            "timeout_s": timeout_s,
        }
        self._of_thread = threading.local()
        self._connections: list[Connection] = []
        self.close_margin_ms = round(close_margin_s * 1000)
        self._ahead = Ahead(in_flight) if in_flight > 1 else None
        self._listed: dict[MarketType, list[str]] = {}

    @property
    def name(self) -> str:
        """`binance`."""
        return PROVIDER

    @property
    def readers(self) -> int:
        """How many series of candles are best read side by side."""
        return self._ahead.readers if self._ahead is not None else 1

    @property
    def requests(self) -> int:
        """How many HTTP requests were made so far, retries included."""
        return sum(connection.requests for connection in self._connections)

    def url(self, market_type: MarketType) -> str:
        """The scheme and host that this market is asked at."""
        return self._urls[market_type].rstrip("/")

    def server_time(self, market_type: MarketType) -> int:
        """Binance's clock in UTC ms, from the `time` endpoint."""
        answer = self._connection(market_type).get(*_TIME[market_type], {})
        time_ms = answer.get("serverTime") if isinstance(answer, dict) else None
        if type(time_ms) is not int or not 0 < time_ms < _END_OF_CLOCKS_MS:
            raise ContractViolation(f"time at {self.url(market_type)} gave no serverTime but {str(answer)[:80]!r}")
        return time_ms

    def markets(
        self, market_type: MarketType, refuse: Callable[[RefusedSymbol], None] = lambda _: None
    ) -> list[Market]:
        """Every spot pair, or every perpetual: one request for spot, two for perpetuals (exchangeInfo, fundingInfo)."""
        info = self._connection(market_type).get(*_INFO[market_type], {})
        symbols = info.get("symbols") if isinstance(info, dict) else None
        if not isinstance(symbols, list):
            raise ContractViolation(f"exchangeInfo at {self.url(market_type)} holds no list of symbols")
        if symbols and not any(isinstance(raw, dict) for raw in symbols):
            raise ContractViolation(
                f"exchangeInfo at {self.url(market_type)} holds no symbols but {str(symbols)[:80]!r}"
            )
        self._read_weight_limit(market_type, info)
        funding = self._funding_intervals() if market_type is MarketType.SWAP else {}
        parse = self._connection(market_type).ccxt.parse_market
        markets = []
        for raw in symbols:
            try:
                market = read_market(market_type, raw, parse, funding)
            except ContractViolation as error:
                said = raw if isinstance(raw, dict) else {"symbol": raw}
                name = str(said.get("symbol"))
                refuse(RefusedSymbol((name if name.isprintable() else ascii(name))[:64], said, str(error)))
                continue
            if market is not None:
                markets.append(market)
        self._listed[market_type] = [market.exchange_id for market in markets]
        return markets

    def candle_pages(
        self, market_type: MarketType, exchange_id: str, interval: Interval, span: Span
    ) -> Iterator[CandlePage]:
        """The klines that open in `span`, oldest page first, asked for as they are consumed or a little ahead.

        Raises UnknownSymbol, or ContractViolation when a page is malformed or lies before what was asked.
        """
        ask = partial(self._page, market_type, exchange_id, interval)
        if self._ahead is None:
            return pages_of(ask, interval, span)
        return self._ahead.pages(ask, interval, span, PAGE_ROWS[market_type])

    def _page(self, market_type: MarketType, exchange_id: str, interval: Interval, window: Span) -> CandlePage:
        # startTime and endTime are inclusive and mean the open time.
        params = {
            "symbol": exchange_id,
            "interval": interval.value,
            "startTime": window.start,
            "endTime": window.end - 1,
            "limit": PAGE_ROWS[market_type],
        }
        return self._klines(market_type, params, window)

    def first_candle_time(self, market_type: MarketType, exchange_id: str, since: int = 0) -> int | None:
        """The open time in UTC ms of the oldest 1m candle since then, the best known listing date; or None."""
        return self._one_candle_time(market_type, exchange_id, {"startTime": since})

    def last_candle_time(self, market_type: MarketType, exchange_id: str) -> int | None:
        """The open time in UTC ms of the newest 1m candle, closed or not; or None."""
        return self._one_candle_time(market_type, exchange_id, {})

    def stop(self) -> None:
        """Lets no thread wait any longer: who does, or would, gets an ExchangeError. From any thread."""
        self._pauses.stop()

    def close(self) -> None:
        """Give the sockets, the budget's file and the wider store back; nobody waits any longer."""
        self.stop()
        if self._ahead is not None:
            self._ahead.close()
        for connection in self._connections:
            connection.close()
        for store in self._stores:
            store.close()

    def _connection(self, market_type: MarketType) -> Connection:
        """This thread's connection: ccxt's client is for one thread at a time."""
        own: dict[MarketType, Connection] = self._of_thread.__dict__.setdefault("connections", {})
        if market_type not in own:
            own[market_type] = Connection(market_type, self._urls[market_type], **self._options)
            self._connections.append(own[market_type])
        return own[market_type]

    def _one_candle_time(self, market_type: MarketType, exchange_id: str, where: dict[str, int]) -> int | None:
        params = {"symbol": exchange_id, "interval": Interval.M1.value, **where, "limit": 1}
        page = self._klines(market_type, params, Span(where.get("startTime", 0), _END_OF_CLOCKS_MS))
        return page.newest if len(page) else None

    def _klines(self, market_type: MarketType, params: dict[str, Any], window: Span) -> CandlePage:
        try:
            answer: Any = self._connection(market_type).get(*_KLINES[market_type], params)
        except UnknownSymbol as error:
            near = nearest_symbols(error.symbol, self._listed.get(market_type, ()))
            where = f"Binance {market_type.value} at {self.url(market_type)}"
            raise UnknownSymbol(error.symbol, near, where=where) from error
        if isinstance(answer, CandlePage):
            if answer.lies_in(window):
                return answer
            answer = answer.raw_rows()
        if type(answer) is not list or not {list}.issuperset(map(type, answer)):
            raise self._no_klines(answer, market_type, params)
        if min(map(len, answer), default=MIN_FIELDS) < MIN_FIELDS:
            raise self._no_klines(answer, market_type, params)
        page = page_of(answer, window)
        if answer and not len(page):
            raise ContractViolation(
                f"klines of {params['symbol']} at {self.url(market_type)} hold no candle of the window that begins at "
                f"{format_time(window.start)}, which was asked for, but {str(answer)[:100]!r}"
            )
        return page

    def _no_klines(self, page: Any, market_type: MarketType, params: dict[str, Any]) -> ContractViolation:
        return ContractViolation(
            f"klines of {params['symbol']} at {self.url(market_type)} are not lists of {MIN_FIELDS} or more fields "
            f"that begin with an open time: {str(page)[:100]!r}"
        )

    def _funding_intervals(self) -> dict[str, int]:
        """Hours between fundings by symbol, for those that differ from eight: fundingInfo lists only these."""
        try:
            rows = self._connection(MarketType.SWAP).get(*_FUNDING_INFO, {})
        except ConfigurationError as error:
            # exchangeInfo of this host has just answered: a test host without this endpoint, not a wrong host.
            _log.warning("funding intervals are taken as eight hours, because %s", error)
            return {}
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ContractViolation(f"fundingInfo at {self.url(MarketType.SWAP)} is no list but {str(rows)[:80]!r}")
        found = {str(row.get("symbol")): row.get("fundingIntervalHours") for row in rows}
        return {symbol: hours for symbol, hours in found.items() if type(hours) is int and 0 < hours <= _DAY_HOURS}

    def _read_weight_limit(self, market_type: MarketType, info: dict[str, Any]) -> None:
        limits = info.get("rateLimits")
        for limit in limits if isinstance(limits, list) else ():
            if not isinstance(limit, dict):
                continue
            kind = (limit.get("rateLimitType"), limit.get("interval"), limit.get("intervalNum"))
            most = limit.get("limit")
            if kind == ("REQUEST_WEIGHT", "MINUTE", 1) and type(most) is int and 0 < most < _NO_LIMIT:
                self._connection(market_type).budget.set_limit(most)
