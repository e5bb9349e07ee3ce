"""Whoever ends a run waits for nobody who waits: for a fence, for the budget, for another attempt."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from crypto_assets.collect.outcome import Symbol
from crypto_assets.collect.run import each_symbol
from crypto_assets.domain.entities import MarketType
from crypto_assets.exchange.binance.client import BinanceExchange
from crypto_assets.exchange.errors import ExchangeError
from crypto_assets.exchange.pauses import Pauses

SPOT = MarketType.SPOT


class Announced(Pauses):
    """Tells when somebody begins to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Event()
        self.seconds: list[float] = []

    def wait(self, seconds):
        self.seconds.append(seconds)
        self.begun.set()
        super().wait(seconds)


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "body": {"code": -1003, "msg": "x"}, "headers": {"Retry-After": "100"}},
        {"status": 503, "body": "busy"},
    ],
)
def test_a_wait_ends_when_the_run_is_stopped_and_nothing_is_asked_again(server, answer, tmp_path, fault):
    server.answers.append(answer(**fault))
    pauses = Announced()
    exchange = BinanceExchange("sandbox", spot_url=server.url, state_directory=tmp_path, sleep=pauses.wait)
    with closing(exchange), ThreadPoolExecutor(1) as pool:
        asked = pool.submit(exchange.server_time, SPOT)
        assert pauses.begun.wait(60)
        pauses.stop()
        with pytest.raises(ExchangeError, match="the run was stopped"):
            asked.result(60)
        assert exchange.requests == 1


def test_an_exchange_that_was_stopped_waits_for_nothing(server, answer, tmp_path):
    server.always["time"] = answer(status=429, body={"code": -1003, "msg": "x"}, headers={"Retry-After": "100"})
    with closing(BinanceExchange("sandbox", spot_url=server.url, state_directory=tmp_path)) as exchange:
        exchange.stop()
        with pytest.raises(ExchangeError, match="the run was stopped"):
            exchange.server_time(SPOT)


def symbol(name: str) -> Symbol:
    return Symbol(exchange_id=name, entity_id=name, name=name, display_name=name)


def test_ctrl_c_is_not_held_up_by_the_symbols_that_wait():
    pauses, waiting = Pauses(), threading.Event()

    def collect(of: Symbol) -> None:
        if of.name == "waits":
            waiting.set()
            pauses.wait(600)
        waiting.wait()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        each_symbol(collect, [symbol("waits"), symbol("stops")], 2, threading.Event(), pauses.stop)
