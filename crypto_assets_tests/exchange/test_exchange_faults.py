"""Each HTTP fault becomes the error that says what to do."""

from __future__ import annotations

import socket

import pytest

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import Interval
from crypto_assets.domain.spans import Span
from crypto_assets.exchange import (
    ConfigurationError,
    ContractViolation,
    RateLimited,
    RetryPolicy,
    TransientError,
    UnknownSymbol,
)

SPOT, SWAP = MarketType.SPOT, MarketType.SWAP
MINUTES = Span(0, 600_000)


def pages(exchange, market_type=SPOT, span=MINUTES):
    return list(exchange.candle_pages(market_type, "BTCUSDT", Interval.M1, span))


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500, "body": "oops"},
        {"status": 502, "body": "<html><body>Bad Gateway</body></html>"},
        {"status": 503, "body": {"code": -1008, "msg": "Server is overloaded"}},
        {"status": 504, "body": ""},
        {"status": 408, "body": ""},
        {"status": 400, "body": {"code": -1001, "msg": "Internal error; unable to process your request."}},
        {"status": 200, "body": {"code": -1000, "msg": "An unknown error occurred"}},
        {"drop": True},
        {"body": "[[0,", "cut": True},
        {"body": '[[0, "1", '},
        {"body": "<html>maintenance</html>", "headers": {"Content-Type": "text/html"}},
        {"body": "not gzip", "headers": {"Content-Encoding": "gzip"}},
        {"body": ""},
    ],
)
def test_a_passing_fault_is_retried_and_the_page_arrives(exchange, server, answer, fake_time, fault):
    server.open_times = [0, 60_000]
    server.answers.append(answer(**fault))
    assert [time for page in pages(exchange) for time in page.table[0].tolist()] == [0, 60_000]
    assert len(fake_time.slept) == 1
    assert exchange.requests == len(server.asked) == 3


def test_a_lasting_fault_is_given_up_after_the_attempts(exchange, server, answer, fake_time):
    server.always["klines"] = answer(status=500, body="oops")
    with pytest.raises(TransientError, match=r"klines at http://127.* HTTP 500 \(oops\)"):
        pages(exchange)
    assert len(server.asked) == 3
    assert len(fake_time.slept) == 2


def test_a_silent_exchange_is_a_transient_error(make_exchange):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        exchange = make_exchange(spot_url=url, timeout_s=0.05, retry=RetryPolicy(attempts=2))
        with pytest.raises(TransientError, match="no complete answer"):
            exchange.server_time(SPOT)
    assert exchange.requests == 2


@pytest.mark.parametrize(
    ("market_type", "setting"), [(SPOT, "CRYPTO_ASSETS_SPOT_URL"), (SWAP, "CRYPTO_ASSETS_FUTURES_URL")]
)
@pytest.mark.parametrize("status", [403, 451])
def test_a_refused_location_names_the_setting_and_is_not_retried(
    exchange, server, answer, fake_time, market_type, setting, status
):
    body = {"code": 0, "msg": "Service unavailable from a restricted location"} if status == 451 else "<html>WAF</html>"
    server.always["time"] = answer(status=status, body=body)
    with pytest.raises(ConfigurationError, match=setting) as caught:
        exchange.server_time(market_type)
    assert server.url in str(caught.value)
    assert ("data-api.binance.vision" in str(caught.value)) == (market_type is SPOT)
    assert len(server.asked) == 1
    assert fake_time.slept == []


def test_a_closed_port_becomes_a_configuration_error_after_the_retries(make_exchange, fake_time):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    exchange = make_exchange(futures_url=url)
    with pytest.raises(ConfigurationError, match=r"3 attempts.*CRYPTO_ASSETS_FUTURES_URL"):
        exchange.server_time(SWAP)
    assert len(fake_time.slept) == 2


def test_a_host_that_does_not_resolve_becomes_a_configuration_error(make_exchange, monkeypatch):
    # A proxy of the environment would answer in the name server's place.
    monkeypatch.setenv("no_proxy", "*")
    exchange = make_exchange(spot_url="http://no-such-host.invalid:1", retry=RetryPolicy(attempts=1))
    with pytest.raises(ConfigurationError, match="CRYPTO_ASSETS_SPOT_URL"):
        exchange.server_time(SPOT)


def test_a_missing_path_is_a_wrong_host(exchange, server, answer):
    server.always["time"] = answer(status=404, body="<html>Not Found</html>")
    with pytest.raises(ConfigurationError, match="does not exist"):
        exchange.server_time(SPOT)


@pytest.mark.parametrize(("status", "banned"), [(429, False), (418, True)])
def test_retry_after_is_obeyed(exchange, server, answer, fake_time, status, banned):
    server.open_times = [0]
    server.answers.append(answer(status=status, body={"code": -1003, "msg": "x"}, headers={"Retry-After": "7"}))
    assert len(pages(exchange, span=Span(0, 60_000))) == 1
    assert fake_time.slept == [7.0]


def test_a_long_ban_is_raised_at_once_and_nothing_more_is_asked_until_it_ends(exchange, server, answer, fake_time):
    server.answers.append(answer(status=418, body={"code": -1003, "msg": "x"}, headers={"Retry-After": "7200"}))
    with pytest.raises(RateLimited, match="banned") as caught:
        pages(exchange)
    assert caught.value.banned
    assert caught.value.retry_after_s == 7200
    with pytest.raises(RateLimited, match="was not asked") as again:
        exchange.server_time(SPOT)
    assert 0 < again.value.retry_after_s <= 7200
    assert len(server.asked) == 1
    assert fake_time.slept == []
    fake_time.now += 7201
    server.open_times = [0]
    assert len(pages(exchange, span=Span(0, 60_000))) == 1


def test_a_ban_without_a_header_takes_its_end_from_the_message(exchange, server, answer):
    until_ms = 1_700_003_600_000
    message = f"Way too much request weight used; IP banned until {until_ms}. Please use WebSocket."
    date = {"Date": "Tue, 14 Nov 2023 22:13:20 GMT"}  # 1,700,000,000 s
    server.answers.append(answer(status=418, body={"code": -1003, "msg": message}, headers=date))
    with pytest.raises(RateLimited) as caught:
        pages(exchange)
    assert caught.value.banned
    assert caught.value.retry_after_s == 3600


def test_a_429_without_a_header_waits_a_minute(exchange, server, answer, fake_time):
    server.answers.append(answer(status=429, body="<html>Too many</html>"))
    assert pages(exchange) == []
    assert fake_time.slept == [60.0]


def test_an_unknown_symbol_says_what_is_near(exchange, server, answer):
    server.always["klines"] = answer(status=400, body={"code": -1121, "msg": "Invalid symbol."})
    symbol = {"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT"}
    symbol |= {"quoteAssetPrecision": 8, "baseAssetPrecision": 8, "filters": []}
    server.always["exchangeInfo"] = answer({"symbols": [symbol]})
    exchange.markets(SPOT)
    with pytest.raises(UnknownSymbol, match="did you mean BTCUSDT") as caught:
        exchange.first_candle_time(SPOT, "BTCUSDTT")
    assert caught.value.symbol == "BTCUSDTT"
    assert caught.value.nearest == ["BTCUSDT"]


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize(
    ("code", "kind"), [(-1121, UnknownSymbol), (-1120, ConfigurationError), (-1100, ContractViolation)]
)
def test_a_refused_parameter_is_not_retried(exchange, server, answer, code, kind, status):
    server.always["klines"] = answer(status=status, body={"code": code, "msg": "Illegal characters found."})
    with pytest.raises(kind):
        pages(exchange, SWAP)
    assert len(server.asked) == 1


def test_an_error_that_the_caller_is_handling_does_not_colour_the_next_one(make_exchange, server, answer):
    server.always["time"] = answer(status=451, body="")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = f"http://127.0.0.1:{taken.getsockname()[1]}"
    exchange = make_exchange(futures_url=closed, retry=RetryPolicy(attempts=1))
    try:
        exchange.server_time(SPOT)
    except ConfigurationError:
        with pytest.raises(ConfigurationError, match="could not be reached"):
            exchange.server_time(SWAP)


@pytest.mark.parametrize(
    "body",
    [
        {"unexpected": 1},
        [{"openTime": 0}],
        [[0, "1", "1"]],
        [[None] + ["1"] * 11],
        [["0"] + ["1"] * 11],
        [[0] + ["1"] * 11, None],
    ],
)
def test_a_page_that_is_no_kline_page_violates_the_contract(exchange, server, answer, body):
    server.always["klines"] = answer(body)
    with pytest.raises(ContractViolation, match=r"klines of BTCUSDT at http"):
        pages(exchange)
    assert len(server.asked) == 1


def test_a_page_before_the_cursor_violates_the_contract(exchange, server, answer):
    server.always["klines"] = answer([[0] + ["1"] * 11])
    with pytest.raises(ContractViolation, match="window that begins at 1970-01-01 00:01"):
        pages(exchange, span=Span(60_000, 600_000))


def test_a_server_time_without_a_time_violates_the_contract(exchange, server, answer):
    server.always["time"] = answer({"time": "noon"})
    with pytest.raises(ContractViolation, match="serverTime"):
        exchange.server_time(SPOT)


DATE = {"Date": "Tue, 14 Nov 2023 22:13:20 GMT"}  # 1,700,000,000 s, which is the tests' clock, too


def until(seconds, unit_ms=1):
    return f"Way too many requests; IP banned until {(1_700_000_000 + seconds) * 1000 // unit_ms}."


@pytest.mark.parametrize(
    ("status", "retry_after", "text", "waits"),
    [
        (418, "0", until(90), 90),
        (429, "0", until(90), 90),
        (200, "0", until(90), 90),
        (418, "95", until(90), 95),
        (418, "1", until(60) + until(90), 90),
        (418, "0", until(90, unit_ms=1000), 90),
        (418, "Tue, 14 Nov 2023 22:14:50 GMT", until(-5), 90),
        (429, "Tue, 14 Nov 2023 22:13:00 GMT", "", 1),
        (429, "0", "", 1),
        (418, "0", until(-3600), 1),
        *((429, nonsense, "", 60) for nonsense in ("-5", "soon", "nan", "inf", "1e999", "", "\u00b2", "99 Nov 2023")),
        *((418, nonsense, "", 120) for nonsense in ("-5", "soon")),
    ],
)
def test_the_longest_of_all_stated_waits_counts(exchange, server, answer, fake_time, status, retry_after, text, waits):
    server.open_times = [0]
    body = {"code": -1003, "msg": text}
    server.answers.append(answer(status=status, body=body, headers={**DATE, "Retry-After": retry_after}))
    pages(exchange, span=Span(0, 60_000))
    assert sum(fake_time.slept) == pytest.approx(waits)
    assert len(server.asked) == 2


@pytest.mark.parametrize("header", ["9" * 300, "1e300", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_no_wait_is_longer_than_the_longest_ban(exchange, server, answer, header):
    server.answers.append(answer(status=429, body="", headers={**DATE, "Retry-After": header}))
    with pytest.raises(RateLimited, match="259200 s, until 2023-11-17 22:13:20 UTC"):
        pages(exchange)


@pytest.mark.parametrize("date", ["Mon, 99 Nov 2023 99:00:00 GMT", "noon", "Mon, 01 Jan 0001 00:00:00 +1400"])
def test_a_date_and_a_weight_that_are_none_hurt_nobody(exchange, server, answer, date):
    server.headers = {"Date": date, "X-MBX-USED-WEIGHT-1M": "9" * 5000}
    server.open_times = [0]
    assert len(pages(exchange, span=Span(0, 60_000))) == 1
    server.headers |= {"Date": DATE["Date"]}
    assert len(pages(exchange, span=Span(0, 60_000))) == 1


@pytest.mark.parametrize("body", ["{}", "false", "true", "0", "null", '""', '"none"', '{"rows": []}'])
def test_what_is_no_list_is_no_evidence_that_there_are_no_candles(exchange, server, answer, fake_time, body):
    server.always["klines"] = answer(body)
    for ask in (
        lambda: pages(exchange),
        lambda: exchange.first_candle_time(SPOT, "BTCUSDT"),
        lambda: exchange.last_candle_time(SPOT, "BTCUSDT"),
    ):
        with pytest.raises(ContractViolation, match=r"klines "):
            ask()
    assert len(server.asked) == 3
    assert fake_time.slept == []


@pytest.mark.parametrize(
    "body", ["{}", "false", "0", "null", "[]", '{"symbols": {}}', '{"symbols": null}', '{"symbols": [0]}']
)
def test_what_lists_no_symbols_is_no_listing(exchange, server, answer, body):
    server.always["exchangeInfo"] = answer(body)
    with pytest.raises(ContractViolation, match="exchangeInfo"):
        exchange.markets(SPOT)


@pytest.mark.parametrize("body", ["{}", "false", "0", "null", "[0]"])
def test_what_lists_no_funding_intervals_does_not_mean_eight_hours(exchange, server, answer, body):
    server.always["exchangeInfo"] = answer({"symbols": []})
    server.always["fundingInfo"] = answer(body)
    with pytest.raises(ContractViolation, match="fundingInfo"):
        exchange.markets(SWAP)


@pytest.mark.parametrize("time", [0, -1, True, 1.5, "1679661600123", 10**30, None, 4_102_444_800_000])
def test_a_server_time_that_is_no_time_violates_the_contract(exchange, server, answer, time):
    server.always["time"] = answer({"serverTime": time})
    with pytest.raises(ContractViolation, match="serverTime"):
        exchange.server_time(SPOT)


@pytest.mark.parametrize("limit", [0, -1, "6000", True, 10**30, None])
def test_a_limit_that_is_none_is_not_kept(exchange, server, answer, limit):
    limits = [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": limit}, 7]
    server.always["exchangeInfo"] = answer({"symbols": [], "rateLimits": limits})
    assert exchange.markets(SPOT) == []
    server.open_times = [0]
    assert len(pages(exchange, span=Span(0, 60_000))) == 1


@pytest.mark.parametrize("time", [10**30, -1, 60_000.0, "60000", None, True, 600_000])
def test_a_row_with_an_absurd_open_time_is_marked_and_the_others_come(exchange, server, answer, time):
    rows = [[at, "1", "1", "1", "1", "1", 0, "1", 1, "1", "1"] for at in (0, time, 60_000)]
    server.answers += [answer(rows), answer([])]
    [page] = pages(exchange)
    assert page.table[0].tolist() == [0, 60_000]
    assert page.raw_rows() == [rows[0], rows[2]]
    # As the reader of JSON has it: a number of more than 64 bits is a double.
    assert page.strays == [[float(time) if time == 10**30 else time, *rows[1][1:]]]
    assert server.asked[1][1]["startTime"] == "120000"


@pytest.mark.parametrize("time", [10**30, -1, "0", None, 4_102_444_800_000])
def test_a_first_candle_of_no_time_violates_the_contract(exchange, server, answer, time):
    server.always["klines"] = answer([[time] + ["1"] * 11])
    with pytest.raises(ContractViolation, match="klines of BTCUSDT"):
        exchange.first_candle_time(SPOT, "BTCUSDT")
