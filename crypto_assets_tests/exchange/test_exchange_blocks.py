"""Weight leased in blocks: few round trips, one budget all the same, nothing kept by who has gone."""

from __future__ import annotations

import itertools
from collections import Counter
from email.utils import formatdate

import pytest

from crypto_assets.domain.entities import MarketType
from crypto_assets.exchange.binance.weights import REQUEST_WEIGHT, quotas_of
from crypto_assets.exchange.budget.account import Lease, Ledger, Wait
from crypto_assets.exchange.budget.blocks import BLOCK_S, Blocks
from crypto_assets.exchange.budget.budget import WeightBudget
from crypto_assets.exchange.budget.store import OwnStore

LIVE = "https://api.binance.com"
START = 1_700_000_040.0  # a full minute
# BEGIN, what the session means, SELECT ... FOR UPDATE, UPDATE, COMMIT: 20 ms each.
CHANGE_S = 5 * 0.02


class FarStore(OwnStore):
    """A ledger at a server far away: each change takes its round trips, by the clock that all share."""

    def __init__(self, now: list[float]) -> None:
        super().__init__()
        self.now = now
        self.changes = 0

    def change(self, host, apply):
        self.now[0] += CHANGE_S
        self.changes += 1
        return super().change(host, apply)


class Machine:
    """Asks for candles, one request after the other, answered at once; counts by minute what the exchange counted."""

    def __init__(self, now: list[float], far: FarStore, counted: Counter[int]) -> None:
        self.now, self.counted, self.waited = now, counted, 0.0
        self.blocks = Blocks(far)
        self.budget = WeightBudget(
            quotas_of(MarketType.SPOT, LIVE),
            [OwnStore(), self.blocks],
            reserve=0.03,
            sleep=self.sleep,
            clock=lambda: now[0],
        )

    def sleep(self, seconds: float) -> None:
        self.now[0] += seconds

    def ask(self) -> None:
        leases = self.budget.lease("klines", 1000, 0)
        assert not isinstance(leases, Wait)
        minute = int(self.now[0] // 60)
        self.counted[minute] += leases[0].cost
        headers = {"Date": formatdate(self.now[0], usegmt=True), "X-MBX-USED-WEIGHT-1M": str(self.counted[minute])}
        self.budget.settle(leases, headers)


def run(machines_count: int, minutes: int = 4) -> tuple[Counter[int], FarStore]:
    now, counted = [START - 5], Counter()
    far = FarStore(now)
    machines = [Machine(now, far, counted) for _ in range(machines_count)]
    asking = itertools.cycle(machines)
    while now[0] < START + 60 * minutes:
        next(asking).ask()
    return counted, far


@pytest.mark.parametrize("machines", [1, 3])
def test_a_server_20_ms_away_lets_nine_tenths_of_the_budget_be_used(machines):
    counted, far = run(machines)
    full = [counted[int(START // 60) + minute] for minute in range(1, 4)]
    assert min(full) >= 0.9 * 6000
    assert max(counted.values()) <= 6000
    # By a request it was two; each takes the row's lock for itself.
    assert far.changes <= sum(counted.values()) / 2 / 10


def contents(store) -> Ledger:
    return store.change("spot api.binance.com", lambda ledger: Ledger.from_json(ledger.to_json()))


def test_what_is_left_is_given_back_at_the_end_and_what_was_answered_is_told():
    now, counted = [START + 10.0], Counter()
    far = FarStore(now)
    machine = Machine(now, far, counted)
    for _ in range(5):
        machine.ask()
    machine.blocks.close()
    assert [(each.leased, each.unanswered, each.observed) for each in contents(far).windows.values()] == [(10, 0, 10)]


def test_the_block_of_a_process_that_died_weighs_until_the_minute_after_is_over():
    now, counted = [START + 10.0], Counter()
    far = FarStore(now)
    Machine(now, far, counted).ask()
    held = sum(each.leased for each in contents(far).windows.values())
    assert held == 97  # a second's worth of 5,820 a minute
    other = Machine(now, far, counted)
    now[0] = START + 61
    other.ask()
    quota = REQUEST_WEIGHT[MarketType.SPOT]
    assert contents(far).used(quota, int(now[0] // 60)) >= held
    now[0] = START + 130
    other.ask()
    other.blocks.close()
    assert contents(far).used(quota, int(now[0] // 60)) == 2


def test_a_fence_of_another_machine_is_heard_when_the_block_ends():
    now, counted = [START + 10.0], Counter()
    far = FarStore(now)
    one, other = Machine(now, far, counted), Machine(now, far, counted)
    one.ask()
    other.budget.fence(30, banned=True)
    now[0] += BLOCK_S
    given = one.budget.lease("klines", 1000, 0)
    assert isinstance(given, Wait)
    assert given.banned


def test_blocks_shrink_towards_the_end_so_that_others_get_some():
    now = [START + 59.5]
    far = OwnStore()
    sizes = []
    for _ in range(200):
        blocks = Blocks(far)  # another process each time
        budget = WeightBudget(
            quotas_of(MarketType.SPOT, LIVE), [OwnStore(), blocks], reserve=0, sleep=refuse, clock=lambda: now[0]
        )
        before = sum(each.leased for each in contents(far).windows.values())
        try:
            assert isinstance(budget.lease("klines", 1000, 0)[1], Lease)
        except WouldWaitError:
            break
        sizes.append(sum(each.leased for each in contents(far).windows.values()) - before)
    assert 5998 <= sum(sizes) <= 6000
    assert sizes[0] == 100
    assert sizes[-1] <= 3
    assert sizes == sorted(sizes, reverse=True)


class WouldWaitError(Exception):
    """Instead of a sleep."""


def refuse(seconds: float) -> None:
    raise WouldWaitError
