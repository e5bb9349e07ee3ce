"""The request budget: never more than the limit in a minute of the exchange, fences for everybody, no deadlock."""

from __future__ import annotations

import contextlib
import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_assets.domain.entities import MarketType
from crypto_assets.exchange.binance.weights import FUNDING_REQUESTS, quotas_of
from crypto_assets.exchange.budget.account import Lease, Ledger, Quota, Wait
from crypto_assets.exchange.budget.budget import LOOK_AGAIN_S, WeightBudget
from crypto_assets.exchange.budget.store import OwnStore

START = 1_700_000_000.0
MINUTES_END = START // 60 * 60 + 59
LIVE = "https://api.binance.com"


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


@settings(max_examples=150)
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


def budget_at_a_minutes_end(url, *stores, reserve=0.0, **options):
    return WeightBudget(
        quotas_of(MarketType.SPOT, url),
        stores,
        reserve=reserve,
        sleep=refuse_to_wait,
        clock=lambda: MINUTES_END,
        **options,
    )


def spend_at_once(budget) -> int:
    """The weight leased before the first wait."""
    leased = 0
    with contextlib.suppress(WouldWaitError):
        while True:
            leased += budget.lease("klines", 1000, 0)[0].cost
    return leased


@pytest.mark.parametrize(("reserve", "expected"), [(0.0, 6000), (0.03, 5820), (0.5, 3000)])
def test_the_reserve_is_left_for_others(reserve, expected):
    assert spend_at_once(budget_at_a_minutes_end("https://api.binance.com", OwnStore(), reserve=reserve)) == expected


def test_hosts_have_budgets_of_their_own_and_mirrors_share_one():
    store = OwnStore()
    assert spend_at_once(budget_at_a_minutes_end("https://api.binance.com", store)) == 6000
    assert spend_at_once(budget_at_a_minutes_end("https://api3.binance.com", store)) == 0
    assert spend_at_once(budget_at_a_minutes_end("https://testnet.binance.vision", store)) == 6000


def contents(store, host="spot api.binance.com") -> Ledger:
    return store.change(host, lambda ledger: Ledger.from_json(ledger.to_json()))


def test_a_name_for_the_outgoing_address_is_a_budget_of_its_own():
    store = OwnStore()
    assert spend_at_once(budget_at_a_minutes_end(LIVE, store)) == 6000
    assert spend_at_once(budget_at_a_minutes_end(LIVE, store, address="a")) == 6000
    assert spend_at_once(budget_at_a_minutes_end(LIVE, store, address="a")) == 0
    assert spend_at_once(budget_at_a_minutes_end(LIVE, store, address="b")) == 6000


def test_machines_with_stores_of_their_own_and_one_in_common_spend_one_budget():
    common, one, other = OwnStore(), OwnStore(), OwnStore()
    first = budget_at_a_minutes_end(LIVE, one, common)
    leases = [first.lease("klines", 1000, 0) for _ in range(1000)]
    assert [len(each) for each in leases] == [2] * 1000
    assert spend_at_once(budget_at_a_minutes_end(LIVE, other, common)) == 4000
    with pytest.raises(WouldWaitError):
        first.lease("klines", 1000, 0)


def test_a_lease_that_the_wider_store_refuses_is_given_back_to_the_own_one():
    common, one, other = OwnStore(), OwnStore(), OwnStore()
    assert spend_at_once(budget_at_a_minutes_end(LIVE, one, common)) == 6000
    assert spend_at_once(budget_at_a_minutes_end(LIVE, other, common)) == 0
    assert [(each.leased, each.unanswered) for each in contents(other).windows.values()] == [(0, 0)]


def test_who_has_to_wait_on_its_own_machine_does_not_ask_the_wider_store():
    class Untouched(OwnStore):
        def change(self, host, apply):  # noqa: ARG002
            raise AssertionError(host)

    own = OwnStore()
    assert spend_at_once(budget_at_a_minutes_end(LIVE, own)) == 6000
    assert spend_at_once(budget_at_a_minutes_end(LIVE, own, Untouched())) == 0


def test_an_answer_settles_the_leases_of_all_stores_and_a_limit_reaches_all():
    own, common = OwnStore(), OwnStore()
    budget = budget_at_a_minutes_end(LIVE, own, common)
    budget.set_limit(100)
    leases = budget.lease("klines", 1000, 0)
    headers = {"Date": "Tue, 14 Nov 2023 22:13:59 GMT", "X-MBX-USED-WEIGHT-1M": "60"}
    budget.settle(leases, headers)
    for store in (own, common):
        ledger = contents(store)
        assert ledger.limits == {leases[0].quota.name: 100}
        assert [(each.leased, each.unanswered, each.observed) for each in ledger.windows.values()] == [(2, 0, 60)]
    assert contents(common).clock is None, "each machine has another clock"
    assert contents(own).clock is not None


@dataclass
class Machine:
    """A machine whose clock is `off_s` from the exchange's, with a store of its own beside the common one."""

    exchange_now: list[float]
    off_s: float
    common: OwnStore

    def __post_init__(self) -> None:
        self.budget = WeightBudget(
            quotas_of(MarketType.SPOT, LIVE),
            [OwnStore(), self.common],
            reserve=0,
            sleep=refuse_to_wait,
            clock=lambda: self.exchange_now[0] + self.off_s,
        )

    def ask(self, patience_s: float = 0) -> Wait | None:
        """One request, answered at once; or the fence."""
        given = self.budget.lease("klines", 1000, patience_s)
        if isinstance(given, Wait):
            return given
        self.budget.settle(given, {"Date": formatdate(self.exchange_now[0], usegmt=True)})
        return None


def learnt(now: float, *offs: float) -> tuple[list[float], list[Machine]]:
    """The exchange's time, and machines that have had answers just before and just after a full second of it."""
    time, common = [now - 2.001], OwnStore()
    machines = [Machine(time, off, common) for off in offs]
    for each in machines:
        each.ask()
    time[0] = now - 2
    for each in machines:
        each.ask()
    return time, machines


@pytest.mark.parametrize("offs", [(0, 25), (-70, 0), (-3600, 7200)])
def test_machines_whose_clocks_differ_spend_one_budget_minute_by_minute(offs):
    time, machines = learnt(MINUTES_END - 240, *offs)
    for minute in range(3):
        time[0] = MINUTES_END + 60 * minute
        spent = 0
        with contextlib.suppress(WouldWaitError):
            for each in itertools.cycle(machines):
                each.ask()
                spent += 2
        assert spent == 6000


@pytest.mark.parametrize("offs", [(0, 25), (-70, 0), (-3600, 7200), (7200, -3600)])
def test_a_fence_holds_for_machines_whose_clocks_differ_exactly_as_long(offs):
    time, (one, other) = learnt(START, *offs)
    time[0] = START
    assert one.budget.fence(30, banned=False)
    for later in (0, 15, 29.9):
        time[0] = START + later
        assert other.ask() is not None
        assert other.ask().fenced
    time[0] = START + 30.1
    assert other.ask() is None


@given(
    st.lists(st.tuples(st.integers(1, 40), st.floats(0, 90), st.booleans()), max_size=30),
    st.integers(1, 40),
    st.floats(0, 90),
)
def test_a_lease_given_back_leaves_no_trace(spent, cost, at):
    quota, ledger = Quota("weight", 60, 100), Ledger()
    for amount, when, answered in sorted(spent, key=lambda each: each[1]):
        lease = ledger.take(quota, amount, START + when, None)
        if answered:
            ledger.settle(lease, amount, START + when)
    ledger.take(quota, 1, START + max([at, *(when for _, when, _ in spent)]), None)
    before = Ledger.from_json(ledger.to_json())
    lease = ledger.take(quota, cost, START + max([at, *(when for _, when, _ in spent)]), None)
    assert ledger != before
    ledger.give_back(lease)
    assert ledger == before


def test_a_lease_given_back_after_its_minute_was_forgotten_changes_nothing():
    quota, ledger = Quota("weight", 60, 100), Ledger()
    lease = ledger.take(quota, 5, START, 100)
    ledger.take(quota, 5, START + 600, 100)
    before = Ledger.from_json(ledger.to_json())
    ledger.give_back(lease)
    assert ledger == before
