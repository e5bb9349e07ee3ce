"""The request budget: never more than the limit in a minute of the exchange, fences for everybody, no deadlock."""

from __future__ import annotations

import contextlib
import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_assets.domain.entities import MarketType
from crypto_assets.exchange.budget import LOOK_AGAIN_S, WeightBudget
from crypto_assets.exchange.ledger import Lease, Ledger, Wait
from crypto_assets.exchange.ledger_store import OwnStore
from crypto_assets.exchange.weights import FUNDING_REQUESTS, Quota

START = 1_700_000_000.0


@dataclass
class Asker:
    """One thread of some process: requests of one weight after the other, each answered, lost or never sent."""

    cost: int
    requests: int
    up_s: float
    down_s: float
    loses: int  # every so many requests the answer is lost, 0 for never


@dataclass
class Exchange:
    """Counts weight by minute of its own clock, `ahead_s` before ours, as Binance does."""

    quota: Quota
    ahead_s: float
    counted: Counter[int] = field(default_factory=Counter)

    def arrive(self, now: float, cost: int) -> int:
        minute = int((now + self.ahead_s) // self.quota.window_s)
        self.counted[minute] += cost
        return self.counted[minute]


@dataclass
class Simulation:
    """Events in order of time, without threads: leases, arrivals, answers."""

    exchange: Exchange
    limit: int
    until: float = float("inf")
    ledger: Ledger = field(default_factory=Ledger)
    events: list[tuple[Any, ...]] = field(default_factory=list)

    def run(self, askers: list[Asker], others: list[tuple[float, int]]) -> None:
        # From an earlier answer.
        self.ledger.learn_clock(float((START + self.exchange.ahead_s) // 1), START, START)
        for asker in askers:
            self.at(START, self.ask, asker, asker.requests)
        for delay, cost in others:
            self.at(START + delay, self.exchange.arrive, cost)
        for _ in range(200_000):
            if not self.events:
                return
            now, _, action, arguments = heapq.heappop(self.events)
            action(now, *arguments)
        raise AssertionError("the askers wait for ever")

    def at(self, time: float, action: Callable[..., Any], *arguments: Any) -> None:
        heapq.heappush(self.events, (time, next(_numbers), action, arguments))

    def ask(self, now: float, asker: Asker, left: int) -> None:
        given = self.ledger.take(self.exchange.quota, asker.cost, now, self.limit)
        if now >= self.until:
            return
        if isinstance(given, Wait):
            self.at(now + max(given.seconds, LOOK_AGAIN_S), self.ask, asker, left)
        else:
            self.at(now + asker.up_s, self.arrive, asker, left, given)

    def arrive(self, now: float, asker: Asker, left: int, lease: Lease) -> None:
        self.at(now + asker.down_s, self.answered, asker, left, lease, self.exchange.arrive(now, asker.cost), now)

    def answered(self, now: float, asker: Asker, left: int, lease: Lease, observed: int, arrived_at: float) -> None:
        if not asker.loses or left % asker.loses:
            date = float((arrived_at + self.exchange.ahead_s + asker.down_s / 2) // 1)
            self.ledger.learn_clock(date, lease.taken_at, now)
            self.ledger.settle(lease, observed, date)
        if left > 1:
            self.at(now, self.ask, asker, left - 1)


_numbers = itertools.count()

ASKERS = st.lists(
    st.builds(
        Asker,
        cost=st.integers(1, 20),
        requests=st.integers(1, 40),
        up_s=st.floats(0.001, 15),
        down_s=st.floats(0.001, 15),
        loses=st.integers(0, 4),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=150, deadline=None)
@given(
    askers=ASKERS,
    limit=st.integers(20, 200),
    ahead_s=st.floats(-100, 100),
    window_s=st.sampled_from([60, 300]),
    others=st.lists(st.tuples(st.floats(0, 600), st.integers(1, 10)), max_size=5),
)
def test_no_interleaving_spends_more_than_the_limit_and_all_are_served(askers, limit, ahead_s, window_s, others):
    exchange = Exchange(Quota("weight", window_s, limit), ahead_s)
    reserve = sum(cost for _, cost in others)
    Simulation(exchange, limit).run(askers, others)
    # What others spend in a minute may come after everything of ours: it is what the reserve is for.
    assert max(exchange.counted.values()) <= limit + reserve
    assert sum(exchange.counted.values()) == reserve + sum(asker.cost * asker.requests for asker in askers)


@pytest.mark.parametrize("ahead_s", [-31.4, 0.0, 0.7])
@pytest.mark.parametrize(("threads", "latency_s"), [(8, 0.1), (24, 0.1), (24, 0.5)])
def test_a_backfill_uses_the_budget(ahead_s, threads, latency_s):
    exchange = Exchange(Quota("weight", 60, 2400), ahead_s)
    simulation = Simulation(exchange, 2400, until=START + 210)
    simulation.run([Asker(2, 10_000, latency_s / 2, latency_s / 2, 0)] * threads, [])
    full = sorted(exchange.counted)[1:-1]
    assert full
    assert min(exchange.counted[minute] for minute in full) >= 0.97 * 2400


def test_spending_keeps_a_tenth_ahead_of_an_even_pace():
    ledger, quota = Ledger(), Quota("weight", 60, 1000)
    minute = START // 60 * 60
    spent = {}
    for second in range(60):
        while isinstance(ledger.take(quota, 2, minute + second, 1000), Lease):
            pass
        spent[second] = ledger.used(quota, int(minute // 60))
    assert (spent[0], spent[30], spent[54], spent[59]) == (102, 602, 1000, 1000)


def test_a_request_on_its_way_over_the_end_of_a_minute_weighs_on_both():
    ledger, quota = Ledger(), Quota("weight", 60, 100)
    minute = START // 60 * 60
    lease = ledger.take(quota, 20, minute + 59.9, 100)
    assert ledger.used(quota, lease.window) == ledger.used(quota, lease.window + 1) == 20
    ledger.settle(lease, 20, minute + 60)  # answered in the next minute: nobody knows which one counted it
    assert ledger.used(quota, lease.window + 1) == 20
    ledger.settle(lease, 20, minute + 59)
    assert ledger.used(quota, lease.window + 1) == 0
    assert ledger.used(quota, lease.window) == 20


def test_what_others_have_used_and_what_is_on_its_way_add_up():
    ledger, quota = Ledger(), Quota("weight", 60, 100)
    first, second = (ledger.take(quota, 2, START, 100) for _ in range(2))
    ledger.settle(first, 52, START)
    assert ledger.used(quota, first.window) == 54
    ledger.settle(second, 54, START)
    assert ledger.used(quota, first.window) == 54


def test_a_figure_of_the_exchange_below_what_was_leased_is_not_believed():
    ledger, quota = Ledger(), Quota("weight", 60, 100)
    lease = ledger.take(quota, 20, START, 100)
    ledger.settle(lease, 2, START)
    assert ledger.used(quota, lease.window) == 20


def test_a_request_heavier_than_the_limit_has_a_minute_to_itself():
    ledger, quota = Ledger(), Quota("weight", 60, 10)
    assert isinstance(ledger.take(quota, 20, START, 10), Lease)
    assert isinstance(ledger.take(quota, 20, START, 10), Wait)


def test_the_funding_quota_is_counted_apart_over_five_minutes():
    ledger = Ledger()
    now = START // 300 * 300 + 299  # at the end, when the pace allows everything
    given_ = [ledger.take(FUNDING_REQUESTS, 1, now, 500) for _ in range(501)]
    assert [isinstance(each, Lease) for each in given_] == [True] * 500 + [False]
    assert given_[-1].seconds == pytest.approx(1)
    assert isinstance(ledger.take(Quota("weight", 60, 100), 2, now, 100), Lease)


@settings(deadline=None)
@given(ahead_s=st.floats(-1e6, 1e6), trips=st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5), st.floats(0, 50))))
def test_the_exchanges_clock_is_never_misjudged(ahead_s, trips):
    ledger, now = Ledger(), START
    for up_s, down_s, pause_s in trips:
        asked_at, now = now, now + up_s + down_s
        ledger.learn_clock(float((asked_at + up_s + ahead_s) // 1), asked_at, now)
        now += pause_s
        assert ledger.clock[0] - 1e-6 <= ahead_s <= ledger.clock[1] + 1e-6


def test_a_clock_that_was_set_is_learnt_anew():
    ledger = Ledger()
    ledger.learn_clock(START + 5, START, START)
    ledger.learn_clock(START + 100, START + 10, START + 10)
    assert ledger.clock == (90, 91)


def test_a_fence_is_news_once_and_a_ban_after_it_again():
    ledger = Ledger()
    assert ledger.fence(START + 30, banned=False)
    assert not ledger.fence(START + 30.5, banned=False)
    assert ledger.fence(START + 30, banned=True)
    assert not ledger.fence(START + 20, banned=False)
    assert ledger.take(FUNDING_REQUESTS, 1, START, None) == Wait(30.5, fenced=True, banned=True)
    assert isinstance(ledger.take(FUNDING_REQUESTS, 1, START + 30.5, None), Lease)
    assert ledger.fence(START + 90, banned=False)
    assert not ledger.banned


@given(st.builds(Ledger, limits=st.dictionaries(st.text(), st.integers(1, 2**40)), fenced_until=st.floats(0, 1e10)))
def test_a_ledger_comes_back_from_its_text(ledger):
    ledger.take(FUNDING_REQUESTS, 3, START + 1e11, 500)
    assert Ledger.from_json(ledger.to_json()) == ledger
    ledger.learn_clock(START, START, START)
    assert Ledger.from_json(ledger.to_json()) == ledger


class WouldWaitError(Exception):
    """Instead of a sleep."""


def refuse_to_wait(seconds: float) -> None:
    raise WouldWaitError


def budget_at_a_minutes_end(url, store, reserve=0.0):
    return WeightBudget(
        MarketType.SPOT, url, store, reserve=reserve, sleep=refuse_to_wait, clock=lambda: START // 60 * 60 + 59
    )


def spend_at_once(budget) -> int:
    """The weight leased before the first wait."""
    leased = 0
    with contextlib.suppress(WouldWaitError):
        while True:
            leased += budget.lease("klines", 1000, 0).cost
    return leased


@pytest.mark.parametrize(("reserve", "expected"), [(0.0, 6000), (0.03, 5820), (0.5, 3000)])
def test_the_reserve_is_left_for_others(reserve, expected):
    assert spend_at_once(budget_at_a_minutes_end("https://api.binance.com", OwnStore(), reserve)) == expected


def test_hosts_have_budgets_of_their_own_and_mirrors_share_one():
    store = OwnStore()
    assert spend_at_once(budget_at_a_minutes_end("https://api.binance.com", store)) == 6000
    assert spend_at_once(budget_at_a_minutes_end("https://api3.binance.com", store)) == 0
    assert spend_at_once(budget_at_a_minutes_end("https://testnet.binance.vision", store)) == 6000
