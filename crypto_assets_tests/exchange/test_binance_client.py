"""Pages, hosts, counters and the weight budget of the Binance client, over real HTTP on loopback."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import Interval
from crypto_assets.domain.spans import Span
from crypto_assets.exchange import ConfigurationError
from crypto_assets.exchange.binance.client import BinanceExchange

SPOT, SWAP = MarketType.SPOT, MarketType.SWAP
MINUTE = 60_000


def open_times(exchange, span, market_type=SPOT, interval=Interval.M1):
    pages = exchange.candle_pages(market_type, "BTCUSDT", interval, span)
    return [time for page in pages for time in page.table[0].tolist()]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    minutes=st.sets(st.integers(0, 300)),
    start=st.integers(0, 300 * MINUTE),
    length=st.integers(0, 300 * MINUTE),
    max_rows=st.integers(1, 120),
    market_type=st.sampled_from(list(MarketType)),
)
def test_every_candle_of_a_span_comes_once_and_in_order(
    server, exchange, minutes, start, length, max_rows, market_type
):
    server.open_times = sorted(minute * MINUTE for minute in minutes)
    server.max_rows = max_rows
    before = len(server.asked)
    span = Span(start, start + length)
    wanted = [time for time in server.open_times if span.start <= time < span.end]
    assert open_times(exchange, span, market_type) == wanted
    requests = len(server.asked) - before
    assert requests <= math.ceil(len(wanted) / max_rows) + 1
    assert all(int(query["endTime"]) == span.end - 1 for _, query in server.asked[before:])


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shift=st.integers(1, MINUTE - 1), off_grid=st.integers(1, 20), max_rows=st.integers(1, 7))
def test_the_first_candle_back_on_the_grid_is_not_lost(server, exchange, shift, off_grid, max_rows):
    # 2018-02-09: minutes opened at .789 s for hours, and then on the grid again.
    shifted = [minute * MINUTE + shift for minute in range(off_grid)]
    server.open_times = shifted + [(off_grid + minute) * MINUTE for minute in range(5)]
    server.max_rows = max_rows
    assert open_times(exchange, Span(0, 100 * MINUTE)) == server.open_times


def test_an_empty_span_asks_nothing(exchange, server):
    assert open_times(exchange, Span(MINUTE, MINUTE)) == []
    assert open_times(exchange, Span(MINUTE, 0)) == []
    assert server.asked == []


def test_nothing_is_asked_beyond_the_span(exchange, server):
    server.open_times = [minute * MINUTE for minute in range(3000)]
    assert len(open_times(exchange, Span(0, 2000 * MINUTE))) == 2000
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("market_type", "path", "limit"), [(SPOT, "/api/v3/klines", "1000"), (SWAP, "/fapi/v1/klines", "499")]
)
def test_a_page_is_asked_for_by_these_parameters(exchange, server, market_type, path, limit):
    server.open_times = [0, MINUTE]
    open_times(exchange, Span(0, 2 * MINUTE), market_type)
    query = {"symbol": "BTCUSDT", "interval": "1m", "startTime": "0", "endTime": "119999", "limit": limit}
    assert server.asked == [(path, query)]


def test_pages_are_asked_for_as_they_are_consumed(exchange, server):
    server.open_times = [minute * MINUTE for minute in range(10)]
    server.max_rows = 2
    pages = exchange.candle_pages(SPOT, "BTCUSDT", Interval.M1, Span(0, 10 * MINUTE))
    next(pages)
    assert exchange.requests == 1


def test_rows_are_passed_on_as_they_came(exchange, server, answer):
    rows = [[MINUTE, None, *["1.10"] * 10], [0, "1e3", *["0.00000001"] * 10], [0, "1e3", *["0.00000001"] * 10]]
    server.answers.append(answer(rows))
    assert next(exchange.candle_pages(SPOT, "BTCUSDT", Interval.M1, Span(0, 2 * MINUTE))).raw_rows() == rows


def test_the_first_and_the_last_candle_are_found(exchange, server):
    server.open_times = [5 * MINUTE, 9 * MINUTE]
    assert exchange.first_candle_time(SPOT, "BTCUSDT") == 5 * MINUTE
    assert exchange.last_candle_time(SWAP, "BTCUSDT") == 9 * MINUTE
    assert server.asked[0][1] == {"symbol": "BTCUSDT", "interval": "1m", "startTime": "0", "limit": "1"}
    assert server.asked[1][1] == {"symbol": "BTCUSDT", "interval": "1m", "limit": "1"}


def test_a_symbol_without_candles_has_no_first_and_no_last(exchange):
    assert exchange.first_candle_time(SPOT, "BTCUSDT") is None
    assert exchange.last_candle_time(SPOT, "BTCUSDT") is None


def test_server_time_is_the_exchanges(exchange, server, answer):
    server.always["time"] = answer({"serverTime": 1_679_661_600_123})
    assert exchange.server_time(SPOT) == exchange.server_time(SWAP) == 1_679_661_600_123
    assert [path for path, _ in server.asked] == ["/api/v3/time", "/fapi/v1/time"]


def limited(answer, limit):
    weight = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": limit}
    return answer({"symbols": [], "rateLimits": [weight]})


@pytest.mark.parametrize(("used", "slept"), [("98", []), ("99", [1.0])])
def test_what_others_have_used_counts_and_the_next_minute_is_waited_for(
    exchange, server, answer, fake_time, used, slept
):
    server.always["exchangeInfo"] = limited(answer, 100)
    server.open_times = [0]
    # The clock of the answers is the client's, at the end of a minute, when the pace no longer holds anything back.
    fake_time.now = 1_700_000_039.0
    server.headers = {"Date": "Tue, 14 Nov 2023 22:13:59 GMT"}
    exchange.markets(SPOT)
    server.headers["X-MBX-USED-WEIGHT-1M"] = used
    exchange.first_candle_time(SPOT, "BTCUSDT")
    assert fake_time.slept == []
    exchange.first_candle_time(SPOT, "BTCUSDT")
    assert fake_time.slept == slept


def test_a_host_on_loopback_without_limits_is_asked_without_waiting(exchange, server, answer, fake_time):
    server.open_times = [minute * MINUTE for minute in range(300)]
    server.max_rows = 1
    server.headers = {"X-MBX-USED-WEIGHT-1M": "60000"}
    open_times(exchange, Span(0, 300 * MINUTE))
    assert fake_time.slept == []


def test_the_exchanges_own_weight_limit_counts(exchange, server, answer, fake_time):
    server.always["exchangeInfo"] = limited(answer, 40)
    server.open_times = [0]
    exchange.markets(SPOT)
    for _ in range(50):
        exchange.first_candle_time(SPOT, "BTCUSDT")
    # Two minutes at 40 a minute, less what a slow machine takes in earnest.
    assert sum(fake_time.slept) > 60


@pytest.mark.parametrize(
    ("environment", "spot", "futures"),
    [
        ("testnet", "https://testnet.binance.vision", "https://testnet.binancefuture.com"),
        ("live", "https://api.binance.com", "https://fapi.binance.com"),
        ("demo", "https://demo-api.binance.com", "https://demo-fapi.binance.com"),
        ("sandbox", "http://127.0.0.1:8730", "http://127.0.0.1:8730"),
    ],
)
def test_an_environment_asks_its_own_hosts_only(environment, spot, futures):
    exchange = BinanceExchange(environment)
    for market_type, host, path in [(SPOT, spot, "/api/"), (SWAP, futures, "/fapi/")]:
        client = exchange._connection(market_type).ccxt  # noqa: SLF001 - the URLs are what this test is about
        assert exchange.url(market_type) == host
        assert client.urls["api"]
        assert all(url.startswith(host + path) for url in client.urls["api"].values())
        signed = client.sign("klines", ["public" if market_type is SPOT else "fapiPublic", "GET"], "GET", {})
        assert signed["url"] == host + ("/api/v3/klines" if market_type is SPOT else "/fapi/v1/klines")
        assert not client.enableRateLimit  # it knows of no other process
    exchange.close()


def test_an_override_replaces_one_host_only():
    exchange = BinanceExchange("live", spot_url="https://data-api.binance.vision")
    assert exchange.url(SPOT) == "https://data-api.binance.vision"
    assert exchange.url(SWAP) == "https://fapi.binance.com"


def test_an_unknown_environment_is_named():
    with pytest.raises(ConfigurationError, match="testnet, live, demo, sandbox"):
        BinanceExchange("production")


def test_importing_the_package_does_not_load_ccxt():
    program = (
        "import sys, crypto_assets.exchange.binance.client as client\n"
        "client.BinanceExchange('live')\n"
        "print([name for name in ('ccxt', 'tenacity', 'requests', 'dagster', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
