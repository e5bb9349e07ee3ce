"""From a failed ccxt call to an error of ours: the HTTP answer is read, ccxt's own classes are only the fallback.

Here belongs what a status, a Binance error code or a broken connection means. The error classes belong to `errors`,
retrying to `connection`, which is the only caller. ccxt is not imported: its exceptions carry the `requests` ones as
their causes, and those carry the answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import format_time
from crypto_assets.exchange.errors import (
    ConfigurationError,
    ContractViolation,
    ExchangeError,
    RateLimited,
    TransientError,
    UnknownSymbol,
)
from crypto_assets.exchange.headers import header_time, retry_after_s

SPOT_SETTING = "CRYPTO_ASSETS_SPOT_URL"
FUTURES_SETTING = "CRYPTO_ASSETS_FUTURES_URL"

# https://developers.binance.com/docs/binance-spot-api-docs/errors: internal, disconnected, unexpected answer,
# timeout, overloaded, shutting down. Binance says of all of them that the request may be sent again.
_TRANSIENT_CODES = {-1000, -1001, -1006, -1007, -1008, -1016}
_RATE_CODES = {-1003, -1015}
_BAD_SYMBOL = -1121
_BAD_INTERVAL = -1120
_PARAMETER_CODES = range(-1199, -1099)
_KEY_CODES = {-2008, -2014, -2015}

# Binance counts weight by the minute, and its shortest ban is two minutes.
_BANNED = 418
_WAIT_WITHOUT_HEADER_S = {HTTPStatus.TOO_MANY_REQUESTS: 60.0, _BANNED: 120.0}
# Whatever is stated: asking on at once is what leads to a ban, and the longest ban takes three days.
_SHORTEST_WAIT_S, _LONGEST_WAIT_S = 1.0, 3 * 86_400.0
_BAN_END = re.compile(r"banned until (\d{10,})", re.ASCII)
_MS_DIGITS = 13


def setting_of(market_type: MarketType) -> str:
    """The environment variable that chooses the host of a market."""
    return SPOT_SETTING if market_type is MarketType.SPOT else FUTURES_SETTING


@dataclass(frozen=True)
class Place:
    """Where a request went, for the message: the market, its base URL and what was asked for."""

    market_type: MarketType
    url: str
    path: str
    symbol: str | None = None
    interval: str | None = None

    @property
    def setting(self) -> str:
        """The environment variable that chooses this host."""
        return setting_of(self.market_type)

    def __str__(self) -> str:
        return f"{self.path} at {self.url}"


def translate(error: Exception, place: Place, now_s: float, outside: BaseException | None = None) -> ExchangeError:
    """The error of ours for `error`, raised by ccxt for the request to `place`.

    `now_s` is seconds since 1970 UTC, used for ban times when the answer has no Date header. `outside` is the exception
    that the caller was handling when it asked: Python chains it to `error`, but it says nothing about this request.
    """
    links = list(_chain(error, outside))
    response: Any = next((found for link in links if (found := getattr(link, "response", None)) is not None), None)
    if response is None:
        return _without_answer(links, place, now_s)
    body: str = response.text
    code = _binance_code(body)
    return _from_answer(response.status_code, response.headers, code, body, place, now_s)


def _from_answer(
    status: int, headers: Mapping[str, str], code: int | None, body: str, place: Place, now_s: float
) -> ExchangeError:
    if status in _WAIT_WITHOUT_HEADER_S or code in _RATE_CODES:
        return _rate_limited(status, headers, body, place, now_s)
    if status in (HTTPStatus.FORBIDDEN, HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS):
        return _refused(status, place)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT or code in _TRANSIENT_CODES:
        return TransientError(f"{place} failed with HTTP {status} ({_excerpt(body)}); try again later")
    if code is None and status in (404, 405, 410):
        return ConfigurationError(
            f"{place} does not exist (HTTP {status}); set {place.setting} to a host that serves Binance's API"
        )
    return _from_code(code, f"HTTP {status}: {_excerpt(body)}", place)


def _from_code(code: int | None, message: str, place: Place) -> ExchangeError:
    if code == _BAD_SYMBOL:
        return UnknownSymbol(place.symbol or "?", where=f"Binance {place.market_type.value} at {place.url}")
    if code == _BAD_INTERVAL:
        return ConfigurationError(
            f"{place} offers no interval {place.interval!r} ({message});"
            f" collect another interval or set {place.setting}"
        )
    if code in _KEY_CODES:
        return ConfigurationError(f"{place} demands an API key ({message}); set {place.setting} to a public host")
    if code is not None and code in _PARAMETER_CODES:
        return ContractViolation(f"{place} refused a parameter ({message}); its API differs from the documented one")
    return ContractViolation(f"{place} refused the request ({message}); please report it with this message")


def _without_answer(links: list[BaseException], place: Place, now_s: float) -> ExchangeError:
    """For failures without an HTTP error status: the connection, or an error body that came with status 200."""
    names = {base.__name__ for link in links for base in type(link).__mro__}
    cause = _excerpt(f"{type(links[-1]).__name__}: {links[-1]}")
    if names & {"NewConnectionError", "NameResolutionError", "ConnectTimeout", "ConnectTimeoutError", "ProxyError"}:
        return TransientError(f"{place} cannot be reached; check the network or {place.setting}", unreachable=True)
    if names & {"SSLError", "InvalidURL", "InvalidSchema", "MissingSchema"}:
        return ConfigurationError(f"{place} cannot be spoken to ({cause}); check {place.setting}")
    text = str(links[0])
    code = _binance_code(text[text.find("{") :]) if "{" in text else None
    if code is not None:
        return _from_answer(200, {}, code, text, place, now_s)
    if "BadSymbol" in names:
        return _from_code(_BAD_SYMBOL, text, place)
    if names & {"OperationFailed", "ContentDecodingError", "ChunkedEncodingError"}:
        return TransientError(f"{place} gave no complete answer ({cause}); try again later")
    return _from_code(None, cause, place)


def _rate_limited(status: int, headers: Mapping[str, str], body: str, place: Place, now_s: float) -> RateLimited:
    banned = status == _BANNED or _BAN_END.search(body) is not None
    wait_s = stated_wait_s(status, headers, body, now_s)
    what = "has banned this address" if banned else "is asked too often"
    end = format_time(int(now_s + wait_s) * 1000)
    message = f"{place} {what} (HTTP {status}); ask nothing of it for {wait_s:.0f} s, until {end} UTC"
    return RateLimited(message, retry_after_s=wait_s, banned=banned)


def _refused(status: int, place: Place) -> ConfigurationError:
    if place.market_type is MarketType.SPOT:
        advice = f"set {place.setting}=https://data-api.binance.vision, which serves spot market data everywhere"
    else:
        advice = f"set {place.setting} to a host you may use, or load the candles from the public archive"
    reason = (
        "does not serve your location" if status == HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS else "refuses this address"
    )
    return ConfigurationError(f"{place} {reason} (HTTP {status}); {advice}")


def unreachable(place: Place, attempts: int) -> ConfigurationError:
    """For a host that no attempt could connect to."""
    return ConfigurationError(
        f"{place} could not be reached in {attempts} attempts; check the network, or set {place.setting} to a host "
        "that answers"
    )


def stated_wait_s(status: int, headers: Mapping[str, str], body: str, now_s: float) -> float:
    """How many seconds an answer asks to wait: the longest of all it states, at least 1 and at most three days.

    What is no time counts for nothing; without any other statement the usual wait of the status does. `now_s` is as in
    `translate`.
    """
    clock_s = header_time(headers) or now_s
    # Milliseconds, whatever the digits are of: 1700003600 is a second, 1700003600000000 a microsecond.
    ends = [int(digits[:_MS_DIGITS].ljust(_MS_DIGITS, "0")) / 1000 for digits in _BAN_END.findall(body)]
    stated = [retry_after_s(headers, clock_s), *(end - clock_s for end in ends)]
    longest = max((wait for wait in stated if wait is not None), default=_WAIT_WITHOUT_HEADER_S.get(status, 60.0))
    return min(max(longest, _SHORTEST_WAIT_S), _LONGEST_WAIT_S)


def _binance_code(body: str) -> int | None:
    try:
        code = json.loads(body).get("code")
        return int(code) if code is not None else None
    except (ValueError, AttributeError, TypeError):
        return None


def _chain(error: BaseException, outside: BaseException | None) -> Iterator[BaseException]:
    """The exception, its causes, and what requests and urllib3 hide in `args` and `reason`; nearest first."""
    seen = {id(outside)}
    queue: list[object] = [error]
    while queue:
        link = queue.pop(0)
        if not isinstance(link, BaseException) or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        queue += [link.__cause__, link.__context__, getattr(link, "reason", None), *link.args]


def _excerpt(text: str, length: int = 160) -> str:
    """A body on one line, without a page of HTML."""
    line = re.sub(r"\s+", " ", text).strip()
    return (line[:length] + "...") if len(line) > length else line or "empty body"
