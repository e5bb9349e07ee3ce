"""Kline pages over HTTP: paging rules, wire format, the clock, listings, refusals."""

from __future__ import annotations

from decimal import Decimal

import pytest

from crypto_assets.domain.intervals import DAY_MS, MINUTE_MS, Interval

HOUR = 60 * MINUTE_MS


def opens(rows):
    return [row[0] for row in rows]


def test_a_kline_is_binances_twelve_elements(client, genesis_ms):
    (row,) = client.spot(startTime=genesis_ms, limit=1)
    assert len(row) == 12
    assert row[0] == genesis_ms
    assert row[6] == genesis_ms + MINUTE_MS - 1
    assert type(row[8]) is int
    assert row[11] == "0"
    for index in (1, 2, 3, 4, 5, 7, 9, 10):
        assert len(row[index].partition(".")[2]) == 8, "spot prints eight decimals"


def test_futures_print_the_decimals_of_tick_and_step(client, genesis_ms):
    (row,) = client.futures(startTime=genesis_ms, limit=1)
    assert len(row[1].partition(".")[2]) == 1
    assert len(row[5].partition(".")[2]) == 3
    (whole,) = client.futures("SOLUSDT", startTime=genesis_ms, limit=1)
    assert "." not in whole[5]


def test_start_and_end_are_inclusive_on_the_open_time(client, genesis_ms):
    rows = client.spot(startTime=genesis_ms + 60_000, endTime=genesis_ms + 180_000)
    assert opens(rows) == [genesis_ms + 60_000, genesis_ms + 120_000, genesis_ms + 180_000]
    assert opens(client.spot(startTime=genesis_ms + 1, endTime=genesis_ms + 119_999)) == [genesis_ms + 60_000]
    assert client.spot(startTime=genesis_ms + 1, endTime=genesis_ms + 59_999) == []


def test_without_a_start_the_newest_rows_come_oldest_first(client, clock_ms, genesis_ms):
    last = clock_ms - clock_ms % MINUTE_MS
    assert opens(client.spot(limit=3)) == [last - 120_000, last - 60_000, last]
    until = genesis_ms + DAY_MS
    assert opens(client.spot(endTime=until, limit=2)) == [until - 60_000, until]


@pytest.mark.parametrize(
    ("market", "limit", "expected"),
    [("spot", None, 500), ("spot", 5000, 1000), ("futures", None, 500), ("futures", 1500, 1500)],
)
def test_default_and_largest_page(client, genesis_ms, market, limit, expected):
    params = {} if limit is None else {"limit": limit}
    assert len(getattr(client, market)(startTime=genesis_ms, **params)) == expected


def paged(client, interval, start, end, limit):
    rows = []
    while page := client.spot(interval=interval, startTime=start, endTime=end, limit=limit):
        rows += page
        start = page[-1][0] + Interval(interval).milliseconds
    return rows


@pytest.mark.parametrize(("limit", "count"), [(1, 30), (7, 60), (499, 1600), (1000, 2100)])
@pytest.mark.parametrize("interval", ["1m", "5m"])
def test_pages_of_any_size_make_the_same_history(client, genesis_ms, limit, count, interval):
    start = genesis_ms + DAY_MS - 20 * Interval(interval).milliseconds
    end = start + (count - 1) * Interval(interval).milliseconds
    rows = paged(client, interval, start, end, limit)
    assert opens(rows) == list(range(start, end + 1, Interval(interval).milliseconds))
    assert rows == paged(client, interval, start, end, 613)


def test_higher_intervals_are_exact_sums_of_the_minutes(client, genesis_ms):
    start = genesis_ms + DAY_MS
    minutes = client.spot(startTime=start, endTime=start + DAY_MS // 2 - 1, limit=1000)
    minutes += client.spot(startTime=start + DAY_MS // 2, endTime=start + DAY_MS - 1, limit=1000)
    assert len(minutes) == 1440
    for name in ("5m", "15m", "30m", "1h", "4h", "1d"):
        size = Interval(name).milliseconds // MINUTE_MS
        rows = client.spot(interval=name, startTime=start, endTime=start + DAY_MS - 1, limit=1000)
        assert len(rows) == 1440 // size
        for number, row in enumerate(rows):
            part = minutes[number * size : (number + 1) * size]
            assert row[0] == part[0][0]
            assert row[1] == part[0][1]
            assert Decimal(row[2]) == max(Decimal(minute[2]) for minute in part)
            assert Decimal(row[3]) == min(Decimal(minute[3]) for minute in part)
            assert row[4] == part[-1][4]
            assert row[6] == part[-1][6]
            assert row[8] == sum(minute[8] for minute in part)
            for index in (5, 7, 9, 10):
                assert Decimal(row[index]) == sum(Decimal(minute[index]) for minute in part)


def test_the_last_candle_is_open_and_nothing_lies_after_the_clock(client, clock_ms):
    for interval in ("1m", "1h", "1d"):
        last = client.spot(interval=interval, limit=1)[-1]
        assert last[0] < clock_ms <= last[6]
        assert client.spot(interval=interval, startTime=clock_ms, endTime=clock_ms + DAY_MS) == []
    (hour,) = client.spot(interval="1h", limit=1)
    minutes = client.spot(startTime=hour[0])
    assert len(minutes) == 35, "34 closed minutes and half of the next"
    assert Decimal(hour[5]) == sum(Decimal(minute[5]) for minute in minutes)
    assert hour[4] == minutes[-1][4]


def test_history_starts_at_the_listing_and_a_delisted_symbol_keeps_it(client, genesis_ms, clock_ms):
    assert client.spot(startTime=0, limit=1)[0][0] == genesis_ms
    new = client.spot("NEWUSDT", startTime=0, limit=1)[0][0]
    assert genesis_ms < new < clock_ms
    last = client.spot("LUNAUSDT", limit=1)[0]
    assert last[0] < clock_ms - DAY_MS
    assert client.spot("LUNAUSDT", startTime=last[6] + 1) == []
    symbols = {s["symbol"]: s for s in client.get("/api/v3/exchangeInfo").json["symbols"]}
    assert symbols["LUNAUSDT"]["status"] == "BREAK"
    assert symbols["NEWUSDT"]["status"] == "TRADING"


def test_a_symbol_may_be_written_in_any_script(client):
    assert len(client.spot("币安人生USDT", limit=2)) == 2
    assert len(client.futures("币安人生USDT", limit=2)) == 2


def test_ui_klines_are_klines(client, genesis_ms):
    asked = {"symbol": "ETHUSDT", "interval": "4h", "startTime": genesis_ms, "limit": 3}
    assert client.get("/api/v3/uiKlines", **asked).json == client.get("/api/v3/klines", **asked).json


@pytest.mark.parametrize(
    ("params", "code", "message"),
    [
        ({"interval": "1m"}, -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."),
        ({"symbol": "BTCUSDT"}, -1102, "Mandatory parameter 'interval' was not sent, was empty/null, or malformed."),
        ({"symbol": "NOPEUSDT", "interval": "1m"}, -1121, "Invalid symbol."),
        ({"symbol": "BTCUSDT", "interval": "3m"}, -1120, "Invalid interval."),
        ({"symbol": "btcusdt", "interval": "1m"}, -1100, "Illegal characters found in parameter 'symbol'"),
        (
            {"symbol": "BTCUSDT", "interval": "1m", "startTime": "x"},
            -1100,
            "Illegal characters found in parameter 'startTime'",
        ),
        (
            {"symbol": "BTCUSDT", "interval": "1m", "startTime": "-1"},
            -1100,
            "Illegal characters found in parameter 'startTime'",
        ),
        ({"symbol": "BTCUSDT", "interval": "1m", "limit": 0}, -1130, "Data sent for parameter 'limit' is not valid."),
    ],
)
def test_refusals_use_binances_words(client, params, code, message):
    for path in ("/api/v3/klines", "/fapi/v1/klines"):
        answer = client.get(path, **params)
        assert answer.status == 400
        assert answer.json["code"] == code
        assert answer.json["msg"].startswith(message)


def test_funding_follows_each_symbols_interval(client, genesis_ms, clock_ms):
    eight = client.get("/fapi/v1/fundingRate", symbol="BTCUSDT", startTime=0, limit=1000).json
    four = client.get("/fapi/v1/fundingRate", symbol="1000PEPEUSDT", startTime=0, limit=1000).json
    for rows, hours in ((eight, 8), (four, 4)):
        times = [row["fundingTime"] for row in rows]
        assert times == list(range(genesis_ms + hours * HOUR, clock_ms, hours * HOUR))
    newest = client.get("/fapi/v1/fundingRate", symbol="BTCUSDT", limit=5).json
    assert newest == eight[-5:]
    (minute,) = client.futures(startTime=eight[3]["fundingTime"], limit=1)
    assert Decimal(eight[3]["markPrice"]) == Decimal(minute[1])
    info = client.get("/fapi/v1/fundingInfo").json
    assert [(row["symbol"], row["fundingIntervalHours"]) for row in info] == [("1000PEPEUSDT", 4)]
    assert client.get("/fapi/v1/fundingRate", symbol="BTCUSDT", limit=1001).json["code"] == -1130
    premium = client.get("/fapi/v1/premiumIndex", symbol="BTCUSDT").json
    assert premium["lastFundingRate"] == eight[-1]["fundingRate"]
    assert premium["nextFundingTime"] == eight[-1]["fundingTime"] + 8 * HOUR


def test_tickers_show_the_last_close(client, clock_ms):
    assert client.get("/api/v3/ticker/price", symbol="BTCUSDT").json["price"] == client.spot(limit=1)[0][4]
    everything = client.get("/fapi/v1/ticker/price").json
    assert {row["symbol"] for row in everything} >= {"BTCUSDT", "ETHUSDT"}
    assert client.get("/api/v3/time").json == {"serverTime": clock_ms}
    assert client.get("/fapi/v1/ping").json == {}
    assert client.get("/api/v3/nothing").status == 404


def test_exchange_info_can_be_asked_for_some_symbols(client):
    one = client.get("/api/v3/exchangeInfo", symbol="ETHBTC", permissions="SPOT").json
    assert [s["symbol"] for s in one["symbols"]] == ["ETHBTC"]
    two = client.get("/api/v3/exchangeInfo", symbols='["ETHBTC","BTCUSDT"]').json
    assert [s["symbol"] for s in two["symbols"]] == ["ETHBTC", "BTCUSDT"]
    assert client.get("/api/v3/exchangeInfo", symbol="NOPE").json["code"] == -1121
