"""Every fault over real HTTP, the three ways to ask for one, the request log, weights and bans."""

from __future__ import annotations

import http.client
import json
from decimal import Decimal

import orjson
import pytest

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import DAY_MS, MINUTE_MS, Interval, parse_time
from crypto_assets.sandbox.application import Sandbox
from crypto_assets.sandbox.faults import KINDS, Fault, Faults, parse_fault
from crypto_assets.sandbox.generated import GeneratedDataset
from crypto_assets.sandbox.limits import weight
from crypto_assets.sandbox.server import RunningSandbox


def klines(client, **params):
    return client.get("/api/v3/klines", **({"symbol": "BTCUSDT", "interval": "1m", "limit": 5} | params))


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_server_errors_last_as_many_requests_as_asked(client, status):
    client.sandbox.faults.add(f"status_5xx:times=2,path=klines,status={status}")
    assert client.get("/api/v3/time").status == 200
    assert [klines(client).status for _ in range(3)] == [status, status, 200]
    assert client.sandbox.faults.active() == []


def test_limits_bans_and_borders_answer_as_binance_does(client):
    faults = client.sandbox.faults
    faults.add("rate_limited:times=1,retry_after=7")
    answer = klines(client)
    assert (answer.status, answer.headers["retry-after"], answer.json["code"]) == (429, "7", -1003)
    faults.add("banned:times=1,retry_after=90")
    answer = klines(client)
    assert (answer.status, answer.headers["retry-after"]) == (418, "90")
    assert "IP banned until 1" in answer.json["msg"]
    faults.add("geo_blocked:times=1")
    answer = klines(client)
    assert (answer.status, answer.json["code"]) == (451, 0)
    assert "restricted location" in answer.json["msg"]


def test_a_dropped_connection(client):
    client.sandbox.faults.add("reset:times=1")
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        klines(client)
    assert client.sandbox.requests.by_status == {0: 1}
    assert klines(client).status == 200


def test_bodies_that_are_no_json(client):
    client.sandbox.faults.add("truncated_json:times=1")
    answer = klines(client)
    assert answer.status == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.body)
    client.sandbox.faults.add("html_body:times=1")
    answer = klines(client)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/html")


def test_a_client_with_less_patience_than_the_fault_gives_up(client, request_to):
    client.sandbox.faults.add("timeout:delay_ms=600000,path=klines")
    netloc = client.sandbox.url.removeprefix("http://")
    connection = http.client.HTTPConnection(netloc, timeout=0.2)
    connection.request("GET", "/api/v3/klines?symbol=BTCUSDT&interval=1m")
    with pytest.raises(TimeoutError):
        connection.getresponse()
    connection.close()
    assert request_to(client.sandbox.url, "/api/v3/ping").status == 200


def test_rows_damaged_in_every_way(client):
    good = klines(client).json
    opened = good[2][0]

    def once(text):
        client.sandbox.faults.add(f"{text}:times=1" if ":" not in text else f"{text},times=1")
        return klines(client).json

    assert once("duplicate_rows:row=1") == [good[0], good[1], *good[1:]]
    assert once("rows_out_of_order") == good[::-1]
    assert once(f"null_price:open_times={opened}")[2][4] is None
    assert Decimal(once("negative_price:row=-1")[-1][3]) == -Decimal(good[-1][3])
    bad = once("high_below_low:row=0")[0]
    assert Decimal(bad[2]) < Decimal(bad[3])
    shifted = once("off_grid:row=2,shift_ms=789")
    assert [row[0] for row in shifted] == [row[0] + (789 if index == 2 else 0) for index, row in enumerate(good)]
    assert once("null_price:row=99") == good, "a page without that row is left alone"
    assert klines(client).json == good


def test_a_hidden_span_is_a_gap_that_pages_jump_over(client, genesis_ms):
    start, end = genesis_ms + 10 * MINUTE_MS, genesis_ms + 70 * MINUTE_MS
    client.sandbox.faults.add(Fault("hidden_span", symbol="BTCUSDT", interval=Interval.M1, start=start, end=end))
    rows = client.spot(startTime=genesis_ms, limit=12)
    assert [row[0] for row in rows[9:]] == [start - MINUTE_MS, end, end + MINUTE_MS]
    assert client.spot(startTime=start + MINUTE_MS, limit=1)[0][0] == end
    assert client.spot(startTime=start, endTime=end - 1) == []
    assert [row[0] for row in client.spot(endTime=end, limit=2)] == [start - MINUTE_MS, end]
    assert len(client.spot("ETHUSDT", startTime=start, endTime=end - 1)) == 60
    assert [row[0] for row in client.spot(interval="15m", startTime=start, limit=1)] == [genesis_ms + 15 * MINUTE_MS]
    client.sandbox.faults.add("hidden_span", start=start, end=end)
    assert [row[0] for row in client.spot(interval="15m", startTime=start, limit=1)] == [genesis_ms + 75 * MINUTE_MS]


def test_a_revision_leaves_a_valid_candle(client, genesis_ms):
    before = client.spot(startTime=genesis_ms, limit=4)
    client.sandbox.faults.add("revised", start=before[1][0], end=before[3][0])
    after = client.spot(startTime=genesis_ms, limit=4)
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, False, True]
    for old, new in zip(before[1:3], after[1:3], strict=True):
        assert Decimal(new[4]) > Decimal(old[4])
        assert Decimal(new[2]) >= Decimal(new[4])
        assert new[5:] == old[5:]


@pytest.mark.parametrize(
    ("market", "prefix", "status"), [("spot", "/api/v3", "BREAK"), ("usdm", "/fapi/v1", "SETTLING")]
)
def test_a_symbol_can_be_delisted_or_vanish(client, genesis_ms, market, prefix, status):
    at = genesis_ms + DAY_MS
    added = client.sandbox.faults.add(parse_fault(f"delisted_symbol:market={market},symbol=ETHUSDT,from={at}"))
    info = client.get(f"{prefix}/exchangeInfo").json
    row = next(row for row in info["symbols"] if row["symbol"] == "ETHUSDT")
    assert row["status"] == status
    assert row.get("deliveryDate", at) == at
    asked = {"symbol": "ETHUSDT", "interval": "1m", "limit": 1}
    assert client.get(f"{prefix}/klines", **asked).json[0][0] == at - MINUTE_MS
    client.sandbox.faults.remove(added.id)
    client.sandbox.faults.add(f"vanished_symbol:market={market},symbol=ETHUSDT")
    assert client.get(f"{prefix}/klines", **asked).json == {"code": -1121, "msg": "Invalid symbol."}
    names = [row["symbol"] for row in client.get(f"{prefix}/exchangeInfo").json["symbols"]]
    assert "ETHUSDT" not in names
    assert "BTCUSDT" in names


def test_faults_are_posted_listed_and_deleted_over_http(client, request_to):
    def control(method, body=None, **params):
        return request_to(client.sandbox.url, "/sandbox/faults", method, orjson.dumps(body) if body else None, **params)

    posted = control(
        "POST", [{"kind": "status_5xx", "path": "fapi", "times": 1}, {"kind": "html_body", "symbol": "XUSDT"}]
    )
    assert posted.status == 201
    assert [fault["kind"] for fault in control("GET").json] == ["status_5xx", "html_body"]
    assert client.get("/fapi/v1/ping").status == 503
    assert [fault["kind"] for fault in control("GET").json] == ["html_body"]
    refused = control("POST", [{"kind": "reset"}, {"kind": "nonsense"}])
    assert refused.status == 400
    assert "status_5xx" in refused.json["error"]
    assert control("DELETE", id=posted.json[1]["id"]).json == []
    control("POST", {"kind": "reset"})
    assert control("DELETE").json == []
    assert client.sandbox.faults.active() == []


def test_a_fault_can_be_written_as_text():
    fault = parse_fault("hidden_span:market=usdm,interval=5m,start=2023-03-24T12:40,end=1679666400000,probability=0.5")
    assert fault == Fault(
        "hidden_span",
        market=MarketType.SWAP,
        interval=Interval.M5,
        probability=0.5,
        start=parse_time("2023-03-24T12:40"),
        end=1679666400000,
    )
    assert parse_fault("null_price:open_times=60000;120000").open_times == (60000, 120000)
    assert parse_fault("reset") == Fault("reset")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("fire", ["fire", *KINDS]),
        ("status_5xx:status=418", ["418", "503"]),
        ("status_5xx:colour=red", ["colour", "status", "times", "path"]),
        ("status_5xx:times", ["times", "field=value"]),
        ("status_5xx:times=many", ["times", "many"]),
        ("hidden_span:start=5", ["end"]),
        ("hidden_span:start=yesterday,end=5", ["yesterday", "2023-03-24"]),
        ("reset:market=moon", ["moon", "usdm"]),
        ("reset:probability=7", ["probability"]),
        ("vanished_symbol", ["symbol"]),
    ],
)
def test_a_fault_that_cannot_be_read_is_explained_in_one_sentence(text, names):
    with pytest.raises(ValueError, match=r".") as caught:
        parse_fault(text)
    message = str(caught.value)
    assert "\n" not in message
    for name in names:
        assert name in message


def test_probability_is_seeded():
    def strikes(seed):
        faults = Faults([Fault("reset", probability=0.5, seed=seed)])
        return [bool(faults.strike(MarketType.SPOT, "/api/v3/ping", None, None)) for _ in range(64)]

    assert strikes(1) == strikes(1) != strikes(2)
    assert 10 < sum(strikes(1)) < 54


def test_requests_are_counted_and_forgotten(client, request_to):
    klines(client)
    klines(client, symbol="NOPE")
    client.get("/fapi/v1/ping")
    log = request_to(client.sandbox.url, "/sandbox/requests").json
    assert log["total"] == 3
    assert log["by_path"] == {"/api/v3/klines": 2, "/fapi/v1/ping": 1}
    assert log["by_status"] == {"200": 2, "400": 1}
    assert log["recent"][1]["query"] == "symbol=NOPE&interval=1m&limit=5"
    assert log["max_used_weight"] == client.sandbox.requests.max_used_weight > 0
    assert request_to(client.sandbox.url, "/sandbox/requests", "DELETE").json["total"] == 0


@pytest.mark.parametrize(
    ("market", "endpoint", "limit", "cost"),
    [
        (MarketType.SPOT, "klines", 1000, 2),
        (MarketType.SPOT, "exchangeInfo", 500, 20),
        (MarketType.SWAP, "exchangeInfo", 500, 1),
        (MarketType.SWAP, "klines", 99, 1),
        (MarketType.SWAP, "klines", 100, 2),
        (MarketType.SWAP, "klines", 499, 2),
        (MarketType.SWAP, "klines", 500, 5),
        (MarketType.SWAP, "klines", 1000, 5),
        (MarketType.SWAP, "klines", 1001, 10),
    ],
)
def test_weights_are_binances(market, endpoint, limit, cost):
    assert weight(market, endpoint, limit, has_symbol=True) == cost


def test_a_used_up_budget_is_refused_then_banned_and_comes_back_with_the_minute(request_to):
    clock = [1_000_000_060.0]
    dataset = GeneratedDataset(clock=lambda: 1_717_200_000_000)
    options = {"spot_budget": 5, "ban_after": 2, "ban_seconds": 90, "now": lambda: clock[0]}
    with RunningSandbox(dataset, **options) as sandbox:
        path = "/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=1"
        answers = [request_to(sandbox.url, path) for _ in range(5)]
        assert [answer.status for answer in answers] == [200, 200, 429, 429, 418]
        assert [answer.headers["x-mbx-used-weight-1m"] for answer in answers] == ["2", "4", "6", "8", "10"]
        assert answers[2].headers["retry-after"] == "20", "the minute ends in 20 seconds"
        assert answers[2].json["code"] == -1003
        assert answers[4].headers["retry-after"] == "90"
        assert str(int(clock[0] + 90) * 1000) in answers[4].json["msg"]
        assert request_to(sandbox.url, "/fapi/v1/ping").status == 200, "futures have a budget of their own"
        clock[0] += 60
        assert request_to(sandbox.url, path).status == 418
        clock[0] += 60
        assert request_to(sandbox.url, path).status == 200


def test_answers_are_compressed_only_when_both_sides_want_it():
    dataset = GeneratedDataset(clock=lambda: 1_717_200_000_000)
    for compress, expected in ((True, "gzip"), (False, None)):
        with RunningSandbox(dataset, compress=compress) as sandbox:
            connection = http.client.HTTPConnection(sandbox.url.removeprefix("http://"))
            connection.request("GET", "/api/v3/exchangeInfo", headers={"Accept-Encoding": "gzip"})
            answer = connection.getresponse()
            answer.read()
            assert answer.getheader("Content-Encoding") == expected
            connection.close()


def test_a_sandbox_starts_with_the_faults_it_is_given():
    sandbox = Sandbox(GeneratedDataset(), faults=["reset:times=1", Fault("html_body")])
    assert [fault.kind for fault in sandbox.faults.active()] == ["reset", "html_body"]
