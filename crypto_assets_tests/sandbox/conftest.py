"""A plain HTTP client for the sandbox and a frozen clock: no ccxt, nothing patched, real requests over loopback."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson
import pytest

from crypto_assets.domain.intervals import parse_time
from crypto_assets.sandbox.generated import GeneratedDataset
from crypto_assets.sandbox.server import RunningSandbox

CLOCK = parse_time("2024-06-10T12:34") + 30_000
GENESIS = parse_time("2024-06-01")


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


def ask(url: str, path: str, method: str = "GET", body: bytes | None = None, **params: Any) -> Answer:
    target = path + ("?" + urlencode(params) if params else "")
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        connection.request(method, target, body)
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


class Client:
    def __init__(self, sandbox: RunningSandbox) -> None:
        self.sandbox = sandbox

    def get(self, path: str, **params: Any) -> Answer:
        return ask(self.sandbox.url, path, **params)

    def spot(self, symbol: str = "BTCUSDT", interval: str = "1m", **params: Any) -> Any:
        return self.get("/api/v3/klines", symbol=symbol, interval=interval, **params).json

    def futures(self, symbol: str = "BTCUSDT", interval: str = "1m", **params: Any) -> Any:
        return self.get("/fapi/v1/klines", symbol=symbol, interval=interval, **params).json


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    dataset = GeneratedDataset(genesis_ms=GENESIS, clock=lambda: CLOCK)
    with RunningSandbox(dataset, spot_budget=None, futures_budget=None) as sandbox:
        yield sandbox


@pytest.fixture
def client(running: RunningSandbox) -> Iterator[Client]:
    running.faults.clear()
    running.requests.reset()
    yield Client(running)
    running.faults.clear()


@pytest.fixture(scope="session")
def request_to() -> Callable[..., Answer]:
    return ask


@pytest.fixture(scope="session")
def clock_ms() -> int:
    return CLOCK


@pytest.fixture(scope="session")
def genesis_ms() -> int:
    return GENESIS
