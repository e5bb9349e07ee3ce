"""A small HTTP server on loopback that speaks Binance's klines, and answers what a test told it to."""

from __future__ import annotations

import bisect
import json
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from crypto_assets.exchange import RetryPolicy
from crypto_assets.exchange.binance.client import BinanceExchange


@dataclass
class Answer:
    """One HTTP answer; `cut` promises more bytes than it sends, `drop` closes the connection without a word."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    drop: bool = False


def kline(open_time: int, interval_ms: int = 60_000) -> list[Any]:
    price = "12.34500000"
    close_time = open_time + interval_ms - 1
    return [open_time, price, price, price, price, "1.5", close_time, "18.5175", 3, "0.5", "6.1725", "0"]


class BinanceLike:
    """Answers queued `answers` first (in order, whatever is asked), then klines from `open_times`."""

    def __init__(self) -> None:
        self.answers: deque[Answer] = deque()
        self.always: dict[str, Answer] = {}
        self.open_times: list[int] = []
        self.max_rows = 10_000
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.headers: dict[str, str] = {}
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Nagle's algorithm and delayed acknowledgements would add 40 ms to each answer.
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                owner.answer(self)

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        query = dict(parse_qsl(parts.query))
        self.asked.append((parts.path, query))
        answer = self.answers.popleft() if self.answers else self.always.get(parts.path.rsplit("/", 1)[-1])
        answer = answer or Answer(self._klines(query))
        if answer.drop:
            request.close_connection = True
            request.connection.close()
            return
        text = answer.body if isinstance(answer.body, bytes | str) else json.dumps(answer.body)
        raw = text.encode() if isinstance(text, str) else text
        # send_response would add a Date of its own, which some tests choose.
        request.send_response_only(answer.status)
        usual = {"Content-Type": "application/json", "Date": request.date_time_string()}
        for name, value in {**usual, **self.headers, **answer.headers}.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(raw) + (100 if answer.cut else 0)))
        request.end_headers()
        request.close_connection = answer.cut
        with suppress(ConnectionError):  # a client may have read enough
            request.wfile.write(raw)

    def _klines(self, query: dict[str, str]) -> list[list[Any]]:
        limit = min(int(query.get("limit", 500)), self.max_rows)
        end = bisect.bisect_right(self.open_times, int(query.get("endTime", 1 << 62)))
        if "startTime" in query:
            start = bisect.bisect_left(self.open_times, int(query["startTime"]))
            chosen = self.open_times[start:end][:limit]
        else:
            chosen = self.open_times[:end][-limit:]
        return [kline(time) for time in chosen]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class FakeTime:
    """A clock that only sleeping moves, and a record of the sleeps."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


@pytest.fixture
def server():
    running = BinanceLike()
    yield running
    running.close()


@pytest.fixture
def fake_time():
    return FakeTime()


@pytest.fixture
def make_exchange(server, fake_time):
    made: list[BinanceExchange] = []

    def make(**options: Any) -> BinanceExchange:
        options = {"spot_url": server.url, "futures_url": server.url, "timeout_s": 5.0, **options}
        options.setdefault("retry", RetryPolicy(attempts=3))
        exchange = BinanceExchange("sandbox", sleep=fake_time.sleep, clock=fake_time.clock, **options)
        made.append(exchange)
        return exchange

    yield make
    for exchange in made:
        exchange.close()


@pytest.fixture
def exchange(make_exchange):
    return make_exchange()


@pytest.fixture
def answer():
    return Answer
