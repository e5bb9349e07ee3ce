"""One market of Binance behind one ccxt object: hosts, retries, waits, and errors of ours instead of ccxt's.

Here belongs how a request is sent. What is asked belongs to `binance`, which makes one connection per market; what a
failure means belongs to `faults`. ccxt is loaded by the first request, not by an import.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import orjson

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import format_time
from crypto_assets.domain.urls import is_loopback
from crypto_assets.exchange.binance.faults import Place, setting_of, translate, unreachable
from crypto_assets.exchange.binance.klines import read_page
from crypto_assets.exchange.binance.weights import quotas_of
from crypto_assets.exchange.budget.account import Lease, Wait
from crypto_assets.exchange.budget.blocks import Blocks
from crypto_assets.exchange.budget.budget import WeightBudget
from crypto_assets.exchange.budget.store import LedgerStore
from crypto_assets.exchange.errors import ContractViolation, ExchangeError, RateLimited, TransientError
from crypto_assets.exchange.retrying import RetryPolicy, make_retrying

_API_PREFIXES = {MarketType.SPOT: ("public", "private", "v1"), MarketType.SWAP: ("fapiPublic", "fapiPrivate")}

_log = logging.getLogger(__name__)


class Connection:
    """Requests to one market's host. For one thread at a time, as ccxt's sync client is."""

    def __init__(
        self,
        market_type: MarketType,
        url: str,
        *,
        stores: Sequence[LedgerStore | Blocks],
        address: str,
        reserve: float,
        retry: RetryPolicy,
        sleep: Callable[[float], None],
        clock: Callable[[], float],
        timeout_s: float,
    ) -> None:
        self.market_type = market_type
        self.url = url.rstrip("/")
        self.requests = 0
        self.budget = WeightBudget(
            quotas_of(market_type, self.url), stores, address=address, reserve=reserve, sleep=sleep, clock=clock
        )
        self._policy = retry
        self._sleep = sleep
        self._clock = clock
        self._timeout_s = timeout_s
        self._ccxt: Any = None
        self._retrying: Any = None

    @property
    def ccxt(self) -> Any:
        """The ccxt exchange of this market, made on first use."""
        if self._ccxt is None:
            self._ccxt = _make_ccxt(self.market_type, self.url, self._timeout_s)
        return self._ccxt

    def get(self, endpoint: str, path: str, params: dict[str, Any]) -> Any:
        """The decoded JSON of ccxt's implicit `endpoint`; `path` names it in messages. Raises ExchangeError."""
        if self._retrying is None:
            self._retrying = make_retrying(self._policy, self._sleep)
        place = Place(self.market_type, self.url, path, params.get("symbol"), params.get("interval"))
        call = getattr(self.ccxt, endpoint)
        try:
            return self._retrying(self._once, call, params, place)
        except TransientError as error:
            if error.unreachable:
                raise unreachable(place, self._policy.attempts) from error
            raise

    def _once(self, call: Callable[[dict[str, Any]], Any], params: dict[str, Any], place: Place) -> Any:
        leases = self._lease(place, params)
        self.requests += 1
        self.ccxt.last_response_headers = None
        outside = sys.exception()
        try:
            try:
                answer = call(params)
            finally:
                # Before a fence is written: its answer may be the first that tells the exchange's clock.
                self.budget.settle(leases, self.ccxt.last_response_headers)
        except ExchangeError:
            raise
        except Exception as error:
            # ccxt's tree, and what escapes it (requests' decoding errors): `faults` tells them apart.
            failure = translate(error, place, self._clock(), outside)
            if isinstance(failure, RateLimited):
                self._fence(failure)
            raise failure from error
        if isinstance(answer, str | bytes) or answer is None:
            # ccxt hands on what is no JSON object or list as text.
            raise _no_document(answer, place)
        return answer

    def _lease(self, place: Place, params: dict[str, Any]) -> tuple[Lease, ...]:
        given = self.budget.lease(place.path, params.get("limit", 0), self._policy.max_retry_after_s)
        if not isinstance(given, Wait):
            return given
        end = format_time(int(self._clock() + given.seconds) * 1000)
        what = "has banned this address" if given.banned else "must be left alone"
        raise RateLimited(
            f"{place} was not asked: it {what} until {end} UTC, in {given.seconds:.0f} s; run this again afterwards",
            retry_after_s=given.seconds,
            banned=given.banned,
        )

    def _fence(self, error: RateLimited) -> None:
        """Going on, here or in another process, would turn a 429 into a ban, and a ban into a longer one."""
        is_news = self.budget.fence(error.retry_after_s, banned=error.banned)
        if is_news and error.retry_after_s <= self._policy.max_retry_after_s:
            # A longer one is raised, which tells it as well.
            _log.warning("%s; every process that shares this budget waits", error)

    def close(self) -> None:
        """Give the sockets back; the connection can be used again afterwards."""
        if self._ccxt is not None:
            self._ccxt.session.close()
            self._ccxt = None


def _make_ccxt(market_type: MarketType, url: str, timeout_s: float) -> Any:
    import ccxt  # noqa: PLC0415 - loads a hundred exchanges; processes that ask none should not pay for it

    from crypto_assets.exchange.direct_session import DirectSession  # noqa: PLC0415 - loads requests

    session = DirectSession(setting_of(market_type))
    # Proxies and certificate bundles of the environment count for the network, not for loopback.
    session.trust_env = not is_loopback(url)
    maker = ccxt.binance if market_type is MarketType.SPOT else ccxt.binanceusdm
    client = maker(
        {
            # Its throttle knows of no other object, process or program; `budget` does.
            "enableRateLimit": False,
            "timeout": int(timeout_s * 1000),
            "session": session,
            "enableLastHttpResponse": False,
            "enableLastJsonResponse": False,
            "enableLastResponseHeaders": True,
            "options": {
                "fetchMarkets": {"types": ["spot" if market_type is MarketType.SPOT else "linear"]},
                "fetchMargins": False,
                # parse_market looks them up; only a signed endpoint could fill them.
                "crossMarginPairsData": [],
                "isolatedMarginPairsData": [],
            },
        }
    )
    client.parse_json = _reading_klines_at_once(client.parse_json)
    client.urls["api"] = _urls_at(client.urls["api"], market_type, url)
    # At DEBUG ccxt writes every body to the log, 200 kB a page; a logger of its own keeps it out of everybody's.
    client.logger = logging.getLogger("crypto_assets.exchange.ccxt")
    client.logger.setLevel(logging.WARNING)
    return client


def _reading_klines_at_once(parse_json: Callable[[str], Any]) -> Callable[[str], Any]:
    """`parse_json` of ccxt, but klines become columns without an object for each number."""

    def parse(body: str) -> Any:
        page = read_page(body.encode())
        return parse_json(body) if page is None else page

    return parse


def _no_document(answer: str | bytes | None, place: Place) -> ExchangeError:
    """For a page of a proxy, or an answer cut short; but asking again gives no other than false, 0 or null."""
    start = answer[:60] if answer else ""
    with suppress(ValueError):
        orjson.loads(answer or "")
        return ContractViolation(f"{place} answered {start!r}; its API differs from the documented one")
    return TransientError(f"{place} answered with something that is not JSON ({start!r}); try again later")


def _urls_at(urls: dict[str, str], market_type: MarketType, url: str) -> dict[str, str]:
    """The URLs of this market in ccxt, moved to `url`; the others are left out, so that nothing reaches a live host."""
    return {
        name: url + urlsplit(address).path
        for name, address in urls.items()
        if name.startswith(_API_PREFIXES[market_type])
    }
