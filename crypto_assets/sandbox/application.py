"""The sandbox as an aiohttp application: HTTP around `endpoints` and `archives`, with weights, faults and log.

Here belongs what happens to every request, and the `/sandbox/` control paths. Starting and stopping belongs to
`server`, the caller.
"""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Callable, Iterable, Sequence
from email.utils import formatdate
from typing import Any

import orjson
from aiohttp import web

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import Interval
from crypto_assets.sandbox import errors
from crypto_assets.sandbox.archives import Archives, AskedFile, asked_file, no_such_key
from crypto_assets.sandbox.dataset import Dataset
from crypto_assets.sandbox.effects import HTML_BODY
from crypto_assets.sandbox.endpoints import DEFAULT_KLINES, PREFIXES, Endpoints, Question
from crypto_assets.sandbox.errors import ApiError
from crypto_assets.sandbox.faults import ARCHIVES, Fault, Faults, fault_from_json
from crypto_assets.sandbox.journal import Asked, RequestLog
from crypto_assets.sandbox.limits import SPOT_BUDGET, SWAP_BUDGET, WeightLimit, weight

_BAD_GATEWAY_BODY = b"<html><body><h1>Service Temporarily Unavailable</h1></body></html>"
_GZIP_LEVEL = 1


class Sandbox:
    """One exchange: a dataset, its faults, its request log and its weight limits.

    Args:
        dataset: what is served.
        spot_budget: weight per minute of the spot market; None for no limit.
        futures_budget: the same for USDT-M.
        ban_after: this many requests after a 429 lead to a 418 ban of `ban_seconds`.
        ban_seconds: see `ban_after`.
        latency_ms: every answer waits this long.
        faults: faults active from the start.
        compress: gzip answers for clients that accept it.
        now: seconds since 1970 for weights, bans and the Date of answers, the machine's unless a test wants its own.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        spot_budget: int | None = SPOT_BUDGET,
        futures_budget: int | None = SWAP_BUDGET,
        ban_after: int = 20,
        ban_seconds: int = 120,
        latency_ms: float = 0,
        faults: Iterable[Fault | str] = (),
        compress: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.faults = Faults()
        for fault in faults:
            self.faults.add(fault)
        self.requests = RequestLog()
        budgets = {MarketType.SPOT: spot_budget, MarketType.SWAP: futures_budget}
        self._limits = {market: WeightLimit(budget, ban_after, ban_seconds, now) for market, budget in budgets.items()}
        self._endpoints = Endpoints(dataset, budgets)
        self._now = now
        self._archives = Archives(dataset)
        self._latency = latency_ms / 1000
        self._compress = compress

    def application(self) -> web.Application:
        """A fresh aiohttp application of this sandbox."""
        app = web.Application()
        app.router.add_route("*", "/sandbox/faults", self._control_faults)
        app.router.add_route("*", "/sandbox/requests", self._control_requests)
        app.router.add_route("*", "/{path:.*}", self._handle)
        return app

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        for prefix, market in PREFIXES.items():
            if path.startswith(prefix) and request.method == "GET":
                return await self._exchange(request, market, path.removeprefix(prefix))
        if path.startswith(ARCHIVES) and request.method == "GET":
            return await self._archive(request)
        self.requests.record(Asked(path, request.query_string, 404, 0, time.time_ns() // 1_000_000))
        return _refusal(errors.not_found(path))

    async def _exchange(self, request: web.Request, market: MarketType, endpoint: str) -> web.StreamResponse:
        params = dict(request.query)
        faults = self.faults.strike(market, request.path, params.get("symbol"), _interval(params))
        await self._wait(faults)
        limit = self._limits[market]
        response = self._answer(Question(market, endpoint, params, faults), limit)
        self._record(request, response.status, faults, limit.used)
        response.headers["X-MBX-USED-WEIGHT-1M"] = str(limit.used)
        # The clock by which weight is counted; clients learn it from here.
        response.headers["Date"] = formatdate(self._now(), usegmt=True)
        if self._compress and "gzip" in request.headers.get("Accept-Encoding", "") and isinstance(response.body, bytes):
            response.body = gzip.compress(response.body, _GZIP_LEVEL)
            response.headers["Content-Encoding"] = "gzip"
        return response

    async def _archive(self, request: web.Request) -> web.StreamResponse:
        """A file of the public archive: no weight, no limit."""
        asked = asked_file(request.path)
        faults = self.faults.strike(asked.market, request.path, asked.symbol, asked.interval) if asked else []
        await self._wait(faults)
        response = self._archive_answer(request.path, asked, faults)
        self._record(request, response.status, faults, 0)
        return response

    def _archive_answer(self, path: str, asked: AskedFile | None, faults: Sequence[Fault]) -> web.Response:
        try:
            failure = _first_failure(faults)
        except ApiError as error:
            return _refusal(error)
        if failure is not None:
            return failure
        body = self._archives.answer(asked, faults) if asked else None
        if body is None:
            return web.Response(body=no_such_key(path), status=404, content_type="application/xml")
        return web.Response(body=_cut(body, faults), content_type="binary/octet-stream")

    async def _wait(self, faults: Sequence[Fault]) -> None:
        delay = self._latency + sum(fault.delay_ms for fault in faults if fault.kind == "timeout") / 1000
        if delay:
            await asyncio.sleep(delay)

    def _record(self, request: web.Request, status: int, faults: Sequence[Fault], used_weight: int) -> None:
        """Notes the request, and drops its connection where a fault wants that."""
        dropped = any(fault.kind == "reset" for fault in faults)
        now_ms = time.time_ns() // 1_000_000
        self.requests.record(Asked(request.path, request.query_string, 0 if dropped else status, used_weight, now_ms))
        if dropped and request.transport is not None:
            request.transport.abort()

    def _answer(self, question: Question, limit: WeightLimit) -> web.Response:
        rows = question.params.get("limit", "")
        asked = int(rows[:9]) if rows.isascii() and rows.isdigit() else DEFAULT_KLINES
        try:
            limit.spend(weight(question.market, question.endpoint, asked, has_symbol="symbol" in question.params))
            failure = _first_failure(question.faults)
            if failure is not None:
                return failure
            body = self._endpoints.answer(question)
        except ApiError as error:
            return _refusal(error)
        return web.Response(body=_cut(body, question.faults), content_type="application/json", charset="utf-8")

    async def _control_faults(self, request: web.Request) -> web.StreamResponse:
        """GET: the active faults. POST: one fault or a list of them. DELETE: all of them, or the one with `?id=`."""
        if request.method == "POST":
            try:
                given = orjson.loads(await request.read())
                # All are read before the first is added: a list with a mistake changes nothing.
                faults = [fault_from_json(values) for values in (given if isinstance(given, list) else [given])]
            except (ValueError, TypeError, AttributeError) as error:
                return _json({"error": f"not a fault or a list of faults: {error}"}, 400)
            return _json([self.faults.add(fault).as_json() for fault in faults], 201)
        if request.method == "DELETE":
            chosen = request.query.get("id", "")
            if chosen.isdigit():
                self.faults.remove(int(chosen))
            elif chosen:
                return _json({"error": f"{chosen!r} is not the id of a fault"}, 400)
            else:
                self.faults.clear()
        elif request.method != "GET":
            return _json({"error": "GET, POST or DELETE"}, 405)
        return _json([fault.as_json() for fault in self.faults.active()])

    async def _control_requests(self, request: web.Request) -> web.StreamResponse:
        """GET: counters and recent requests. DELETE: forgets them."""
        if request.method == "DELETE":
            self.requests.reset()
        elif request.method != "GET":
            return _json({"error": "GET or DELETE"}, 405)
        return _json(self.requests.as_json())


def _interval(params: dict[str, str]) -> Interval | None:
    try:
        return Interval(params["interval"])
    except (KeyError, ValueError):
        return None


def _json(value: dict[str, Any] | Sequence[Any], status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json", charset="utf-8")


def _refusal(error: ApiError) -> web.Response:
    response = web.Response(body=error.body(), status=error.status, content_type="application/json", charset="utf-8")
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def _cut(body: bytes, faults: Sequence[Fault]) -> bytes:
    return body[: len(body) // 2] if any(fault.kind == "truncated_json" for fault in faults) else body


def _first_failure(faults: Sequence[Fault]) -> web.Response | None:
    return next((failure for fault in faults if (failure := _failure(fault)) is not None), None)


def _failure(fault: Fault) -> web.Response | None:
    """The whole answer of a fault that replaces it; None for the others. Raises ApiError for Binance's own refusals."""
    if fault.kind == "status_5xx":
        return web.Response(body=_BAD_GATEWAY_BODY, status=fault.status, content_type="text/html")
    if fault.kind == "html_body":
        return web.Response(body=HTML_BODY, content_type="text/html")
    if fault.kind == "rate_limited":
        raise errors.too_many_requests(0, fault.retry_after)
    if fault.kind == "banned":
        raise errors.banned(time.time_ns() // 1_000_000 + fault.retry_after * 1000, fault.retry_after)
    if fault.kind == "geo_blocked":
        raise errors.geo_blocked()
    return None
