"""The sandbox seen by ccxt, run as a process, and told apart from a port that is taken."""

from __future__ import annotations

import socket
import subprocess
import sys

import ccxt
import pytest

from crypto_assets.domain.intervals import MINUTE_MS
from crypto_assets.sandbox.__main__ import main
from crypto_assets.sandbox.generated import GeneratedDataset
from crypto_assets.sandbox.process import SandboxProcess
from crypto_assets.sandbox.server import RunningSandbox


def connected(kind, types, url):
    exchange = kind({"enableRateLimit": False, "options": {"fetchMarkets": {"types": types}}})
    exchange.urls["api"]["public"] = f"{url}/api/v3"
    exchange.urls["api"]["fapiPublic"] = f"{url}/fapi/v1"
    return exchange


def test_ccxt_loads_the_spot_markets(client):
    exchange = connected(ccxt.binance, ["spot"], client.sandbox.url)
    markets = exchange.load_markets()
    assert len(markets) == 10
    btc = markets["BTC/USDT"]
    assert (btc["type"], btc["active"], btc["precision"]["price"], btc["precision"]["amount"]) == (
        "spot",
        True,
        0.01,
        1e-05,
    )
    assert btc["limits"]["cost"]["min"] == 5
    assert markets["LUNA/USDT"]["active"] is False
    assert markets["币安人生/USDT"]["id"] == "币安人生USDT"
    assert client.sandbox.requests.by_path == {"/api/v3/exchangeInfo": 1}


def test_ccxt_loads_the_perpetuals(client, genesis_ms):
    exchange = connected(ccxt.binanceusdm, ["linear"], client.sandbox.url)
    markets = exchange.load_markets()
    btc = markets["BTC/USDT:USDT"]
    assert (btc["swap"], btc["linear"], btc["created"], btc["precision"]["price"]) == (True, True, genesis_ms, 0.1)
    assert markets["OCEAN/USDT:USDT"]["active"] is False
    (quarterly,) = [market for market in markets.values() if market["future"]]
    assert quarterly["id"].startswith("BTCUSDT_")
    assert exchange.fetch_funding_rate_history("BTC/USDT:USDT", limit=3)[-1]["fundingRate"] is not None
    assert exchange.fetch_funding_rate("1000PEPE/USDT:USDT")["markPrice"] > 0


def test_ccxts_implicit_endpoints_and_errors(client, genesis_ms):
    exchange = connected(ccxt.binance, ["spot"], client.sandbox.url)
    asked = {"symbol": "币安人生USDT", "interval": "1m", "startTime": genesis_ms, "limit": 2}
    rows = exchange.publicGetKlines(asked)
    assert [int(row[0]) for row in rows] == [genesis_ms, genesis_ms + MINUTE_MS]
    with pytest.raises(ccxt.BadSymbol):
        exchange.publicGetKlines(asked | {"symbol": "NOPEUSDT"})
    client.sandbox.faults.add("rate_limited:times=1")
    with pytest.raises(ccxt.DDoSProtection):
        exchange.publicGetKlines(asked)
    client.sandbox.faults.add("status_5xx:times=1")
    with pytest.raises(ccxt.ExchangeNotAvailable):
        exchange.publicGetKlines(asked)
    client.sandbox.faults.add("reset:times=1")
    with pytest.raises(ccxt.NetworkError):
        exchange.publicGetKlines(asked)


def test_a_process_of_its_own_serves_what_its_arguments_say(request_to, genesis_ms):
    arguments = ["--genesis", "2024-06-01", "--symbols", "3", "--no-budget", "--fault", "status_5xx:times=1,path=ping"]
    with SandboxProcess(arguments) as sandbox:
        assert sandbox.pid
        assert request_to(sandbox.url, "/api/v3/ping").status == 503
        assert request_to(sandbox.url, "/api/v3/ping").status == 200
        info = request_to(sandbox.url, "/api/v3/exchangeInfo").json
        assert [row["symbol"] for row in info["symbols"]] == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
        rows = request_to(sandbox.url, "/api/v3/klines", symbol="BTCUSDT", interval="1m", startTime=0, limit=1)
        assert rows.json[0][0] == genesis_ms
    with pytest.raises(ConnectionError):
        request_to(sandbox.url, "/api/v3/ping")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--fault", "fire"], "known kinds"),
        (["--genesis", "soon"], "2023-03-24"),
        (["--data", "/nowhere"], "holds no recording"),
    ],
)
def test_bad_arguments_are_explained_in_one_sentence(capsys, arguments, words):
    assert main(["--port", "0", *arguments]) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("error: ")
    assert words in complaint
    assert complaint.count("\n") == 1


def test_a_process_that_cannot_start_says_why():
    with pytest.raises(RuntimeError, match="known kinds"), SandboxProcess(["--fault", "fire"]):
        pass


def test_a_taken_port_is_one_clear_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "crypto_assets.sandbox", "--port", str(port)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 2
        assert ended.stderr.startswith(f"error: the sandbox cannot listen on 127.0.0.1:{port}")
        assert ended.stderr.count("\n") == 1
        with pytest.raises(OSError, match="cannot listen"), RunningSandbox(GeneratedDataset(), port=port):
            pass
