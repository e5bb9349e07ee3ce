"""The public endpoints of both markets: parameters in, a JSON body or Binance's refusal out. No HTTP here.

What rows look like belongs to `klines`, symbols to `markets`, what faults do to rows to `effects`. Called by
`application`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import DAY_MS, Interval
from crypto_assets.domain.spans import Span
from crypto_assets.sandbox import errors, markets
from crypto_assets.sandbox.dataset import PERPETUAL, Dataset, FundingRate, SymbolInfo, decimal_text
from crypto_assets.sandbox.effects import damaged
from crypto_assets.sandbox.faults import Fault
from crypto_assets.sandbox.klines import KlinePages

PREFIXES = {"/api/v3/": MarketType.SPOT, "/fapi/v1/": MarketType.SWAP}
MAX_KLINES = {MarketType.SPOT: 1000, MarketType.SWAP: 1500}
DEFAULT_KLINES = 500
_MAX_FUNDING, _DEFAULT_FUNDING, _NEWEST_FUNDING = 1000, 100, 200
_FUNDING_REACH_MS = 30 * DAY_MS
_SYMBOL_RANGE = "^[\\w\\-._&&[^a-z]]{1,50}$"
_SYMBOL = re.compile(r"(?:(?![a-z])[\w\-.]){1,50}")
_NUMBER_RANGE = "^[0-9]{1,20}$"
_NUMBER = re.compile(r"[0-9]{1,20}")
_FOREVER = 2**62


@dataclass(frozen=True, slots=True)
class Question:
    """One request: market, endpoint (`klines`), parameters as text, and the faults that hit it."""

    market: MarketType
    endpoint: str
    params: Mapping[str, str]
    faults: Sequence[Fault] = ()

    def number(self, name: str) -> int | None:
        """A parameter as a number, None if it was not sent. Raises ApiError -1100."""
        text = self.params.get(name)
        if text is None:
            return None
        if not _NUMBER.fullmatch(text):
            raise errors.illegal_characters(name, _NUMBER_RANGE)
        return min(int(text), _FOREVER)

    def mandatory(self, name: str) -> str:
        """A parameter that must be there. Raises ApiError -1102."""
        if not self.params.get(name):
            raise errors.missing(name)
        return self.params[name]


def kline_limit(question: Question) -> int:
    """The rows asked for. Spot serves 1000 to who asks for more, futures refuse with -1130, as both do zero."""
    largest = MAX_KLINES[question.market]
    limit = question.number("limit")
    if limit is None:
        return DEFAULT_KLINES
    if limit == 0 or (limit > largest and question.market is MarketType.SWAP):
        raise errors.invalid_data("limit")
    return min(limit, largest)


_Routes = dict[str, Callable[[Question], bytes]]


class Endpoints:
    """Answers questions from a dataset. `budgets` only shows in exchangeInfo."""

    def __init__(self, dataset: Dataset, budgets: Mapping[MarketType, int | None]) -> None:
        self._dataset = dataset
        self._budgets = budgets
        self._pages = KlinePages(dataset)
        both: _Routes = {"ping": self._ping, "time": self._time, "exchangeInfo": self._info}
        both |= {"klines": self._klines, "ticker/price": self._ticker}
        self._routes: dict[MarketType, _Routes] = {
            MarketType.SPOT: both | {"uiKlines": self._klines},
            MarketType.SWAP: both
            | {"fundingRate": self._funding, "fundingInfo": self._funding_info, "premiumIndex": self._premium},
        }

    def answer(self, question: Question) -> bytes:
        """The JSON body. Raises ApiError with what Binance would say instead."""
        route = self._routes[question.market].get(question.endpoint)
        if route is None:
            prefix = next(prefix for prefix, market in PREFIXES.items() if market is question.market)
            raise errors.not_found(prefix + question.endpoint)
        return route(question)

    def _symbols(self, question: Question) -> dict[str, SymbolInfo]:
        """The symbols of the market as the faults leave them."""
        symbols = {info.symbol: info for info in self._dataset.symbols(question.market)}
        for fault in question.faults:
            info = symbols.get(fault.symbol or "")
            if info is None:
                continue
            is_unlisted = fault.kind == "unlisted_symbol" and question.endpoint == "exchangeInfo"
            if fault.kind == "vanished_symbol" or is_unlisted:
                del symbols[info.symbol]
            elif fault.kind == "delisted_symbol":
                swap = question.market is MarketType.SWAP
                delivery = fault.start if swap else info.delivery_ms
                symbols[info.symbol] = replace(info, ended_ms=fault.start, delivery_ms=delivery)
        return symbols

    def _symbol(self, question: Question) -> SymbolInfo:
        name = question.mandatory("symbol")
        if not _SYMBOL.fullmatch(name):
            raise errors.illegal_characters("symbol", _SYMBOL_RANGE)
        info = self._symbols(question).get(name)
        if info is None:
            raise errors.invalid_symbol()
        return info

    def _ping(self, question: Question) -> bytes:
        del question
        return b"{}"

    def _time(self, question: Question) -> bytes:
        del question
        return orjson.dumps({"serverTime": self._dataset.clock_ms()})

    def _info(self, question: Question) -> bytes:
        symbols = self._symbols(question)
        asked: list[str] | None = None
        if question.market is MarketType.SPOT:
            asked = self._asked_symbols(question.params)
        if asked is not None and not set(asked) <= symbols.keys():
            raise errors.invalid_symbol()
        chosen = list(symbols.values()) if asked is None else [symbols[name] for name in asked]
        budget = self._budgets[question.market]
        return orjson.dumps(markets.exchange_info(question.market, chosen, self._dataset.clock_ms(), budget))

    @staticmethod
    def _asked_symbols(params: Mapping[str, str]) -> list[str] | None:
        """Spot's `symbol` or `symbols` (a JSON list). Raises ApiError -1100 when it is no list of texts."""
        if "symbol" in params:
            return [params["symbol"]]
        if "symbols" not in params:
            return None
        try:
            names = orjson.loads(params["symbols"])
        except orjson.JSONDecodeError:
            names = None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise errors.illegal_characters("symbols", _SYMBOL_RANGE)
        return names

    def _klines(self, question: Question) -> bytes:
        info = self._symbol(question)
        name = question.mandatory("interval")
        try:
            interval = Interval(name)
        except ValueError:
            raise errors.invalid_interval() from None
        start, end = question.number("startTime"), question.number("endTime")
        window = Span(start or 0, _FOREVER if end is None else end + 1)
        page = self._pages.page(
            question.market,
            info,
            interval,
            window,
            kline_limit(question),
            newest=start is None,
            clock_ms=self._dataset.clock_ms(),
            hidden=[fault.span for fault in question.faults if fault.kind == "hidden_span"],
        )
        return damaged(page, question.faults, self._dataset.clock_ms())

    def _last_close(self, market: MarketType, info: SymbolInfo, clock_ms: int) -> str:
        """The last price: the close of the newest minute."""
        everything = Span(0, _FOREVER)
        page = self._pages.page(market, info, Interval.M1, everything, 1, newest=True, clock_ms=clock_ms)
        rows = orjson.loads(page)
        return str(rows[0][4]) if rows else decimal_text(0, 8)

    def _ticker(self, question: Question) -> bytes:
        clock = self._dataset.clock_ms()
        one = "symbol" in question.params
        infos = [self._symbol(question)] if one else list(self._symbols(question).values())
        rows: list[dict[str, Any]] = []
        for info in infos:
            row: dict[str, Any] = {"symbol": info.symbol, "price": self._last_close(question.market, info, clock)}
            if question.market is MarketType.SWAP:
                row["time"] = clock
            rows.append(row)
        return orjson.dumps(rows[0] if one else rows)

    def _funding(self, question: Question) -> bytes:
        limit = question.number("limit")
        if limit is not None and not 0 < limit <= _MAX_FUNDING:
            raise errors.invalid_data("limit")
        start, end = question.number("startTime"), question.number("endTime")
        no_times = start is None and end is None
        count = limit or (_NEWEST_FUNDING if no_times else _DEFAULT_FUNDING)
        window = Span(start or 0, min(self._dataset.clock_ms(), _FOREVER if end is None else end) + 1)
        newest = start is None
        infos = [self._symbol(question)] if "symbol" in question.params else self._perpetuals(question)
        found = [(rate, i.symbol) for i in infos for rate in self._fundings(i, window, count, newest=newest)]
        found.sort()
        page = found[-count:] if newest else found[:count]
        return orjson.dumps([markets.funding_rate(symbol, rate) for rate, symbol in page])

    def _fundings(self, info: SymbolInfo, window: Span, enough: int, *, newest: bool) -> list[FundingRate]:
        """At least `enough` fundings of a window while listed, if it has them, without walking all of history."""
        lived = window.intersect(Span(info.listed_ms, info.ended_ms or window.end))
        found: list[FundingRate] = []
        while lived.start < lived.end and len(found) < enough:
            if newest:
                part = Span(max(lived.start, lived.end - _FUNDING_REACH_MS), lived.end)
                found, lived = [*self._dataset.funding(info.symbol, *part), *found], Span(lived.start, part.start)
            else:
                part = Span(lived.start, min(lived.start + _FUNDING_REACH_MS, lived.end))
                found, lived = [*found, *self._dataset.funding(info.symbol, *part)], Span(part.end, lived.end)
        return found

    def _perpetuals(self, question: Question) -> list[SymbolInfo]:
        return [info for info in self._symbols(question).values() if info.contract_type == PERPETUAL]

    def _funding_info(self, question: Question) -> bytes:
        return orjson.dumps(markets.funding_info(self._perpetuals(question), self._dataset.clock_ms()))

    def _premium(self, question: Question) -> bytes:
        clock = self._dataset.clock_ms()
        one = "symbol" in question.params
        infos = [self._symbol(question)] if one else list(self._symbols(question).values())
        rows = []
        for info in infos:
            fundings = self._fundings(info, Span(clock - DAY_MS, clock + 1), 1, newest=True)
            price = self._last_close(question.market, info, clock)
            rows.append(markets.premium_index(info, price, fundings[-1] if fundings else None, clock))
        return orjson.dumps(rows[0] if one else rows)
