"""How far a collection is said to be."""

from __future__ import annotations

import threading
from itertools import pairwise

from crypto_assets.collect.progress import Progress, Tally, nobody, now_and_then
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import Interval
from crypto_assets.domain.series import CandleTable

TABLE = CandleTable(MarketType.SPOT, Interval.M1)


class Seconds:
    """A clock that a test moves."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def tallied(planned):
    told, clock = [], Seconds()
    return Tally(TABLE, planned, told.append, clock), told, clock


def test_each_step_says_how_far_the_symbol_and_all_are_and_how_long_it_still_takes():
    tally, told, clock = tallied({"BTC/USDT": 3000, "ETH/USDT": 9000})
    clock.now += 2
    tally.add("BTC/USDT", 1000)
    clock.now += 1
    tally.add("ETH/USDT", 500)
    assert [step.sentence() for step in told] == [
        "BTC/USDT 1m: 33 %; all 8 %, 500 rows/s, 22 seconds left",
        "ETH/USDT 1m: 5 %; all 12 %, 500 rows/s, 21 seconds left",
    ]
    assert [step.came for step in told] == [1000, 500]


def test_a_plan_that_grows_and_a_symbol_that_ends_early_are_counted_in():
    tally, told, _ = tallied({"BTC/USDT": 100, "ETH/USDT": 100})
    tally.add("BTC/USDT", 50)
    tally.end("BTC/USDT")  # it failed, or the exchange has no more
    tally.expect("ETH/USDT", 50)
    tally.add("ETH/USDT", 75)
    assert (told[-1].all_done, told[-1].all_planned) == (125, 200)
    assert (told[-1].done, told[-1].planned) == (75, 150)


def test_nothing_planned_is_everything_done():
    step = Progress(TABLE, "BTC/USDT", 0, 0, 0, 0, 0, 0.0)
    assert step.sentence() == "BTC/USDT 1m: 100 %; all 100 %, 0 rows/s"
    nobody(step)


def test_more_than_was_planned_is_not_more_than_all():
    assert "100 %; all 100 %" in Progress(TABLE, "BTC/USDT", 5, 15, 10, 15, 10, 1.0).sentence()


def test_it_is_said_at_once_and_then_at_most_every_few_seconds():
    said, clock = [], Seconds()
    tell = now_and_then(said.append, 5.0, clock)
    for number in range(12):
        tell(Progress(TABLE, "BTC/USDT", 1, number, 100, number, 100, 1.0))
        clock.now += 1
    assert [sentence.split()[2] for sentence in said] == ["0", "5", "10"]


def test_steps_of_many_threads_are_all_counted_and_told_one_at_a_time():
    telling, told = threading.Lock(), []

    def tell(step):
        assert telling.acquire(blocking=False), "two at once"
        told.append(step)
        telling.release()

    symbols = [f"S{number}/USDT" for number in range(8)]
    tally = Tally(TABLE, dict.fromkeys(symbols, 200), tell)
    begin = threading.Barrier(len(symbols))

    def count(symbol):
        begin.wait(30)
        for _ in range(200):
            tally.add(symbol, 1)

    threads = [threading.Thread(target=count, args=(symbol,)) for symbol in symbols]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(after.all_done == before.all_done + 1 for before, after in pairwise(told))
    assert (told[-1].all_done, told[-1].all_planned) == (1600, 1600)
