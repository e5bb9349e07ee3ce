"""The exchange's limits, kept by all who share an address together: a lease before each request, then its answer.

Here belong asking the stores in turn, waiting for a lease and reading an answer's headers. The arithmetic belongs to
`account`, keeping it to `store`; the figures are the venue's, which hands them in. Called by `exchange.<venue>`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from crypto_assets.exchange.budget.account import Lease, Ledger, Quota, Wait
from crypto_assets.exchange.budget.blocks import Blocks
from crypto_assets.exchange.budget.store import LedgerStore
from crypto_assets.exchange.headers import header_time

# A larger figure is nonsense, and no ledger could keep it.
_WEIGHT = re.compile(r"[0-9]{1,9}")

# Whoever waits for the pace looks again no sooner: fifty waiting threads shall not keep the ledger busy. The head start
# of a tenth of a minute makes up for it.
LOOK_AGAIN_S = 0.5


@dataclass(frozen=True)
class HostQuotas:
    """What one host allows an address, as its venue says.

    `host` names it in the ledgers. `weight` is the quota of which an answer states in `used_header` how much is spent,
    and whose limit the exchange may name itself. `cost` says for an endpoint and a number of rows which quota a request
    counts against, and how much; it raises ValueError for an endpoint without a known weight. A host that
    `is_unlimited` has no limit until it names one.
    """

    host: str
    weight: Quota
    used_header: str
    cost: Callable[[str, int], tuple[Quota, int]]
    is_unlimited: bool = False


class WeightBudget:
    """What one market's host may still be asked by this address. For any number of threads.

    A request needs a lease from each store, the nearest first: who has to wait there costs the others nothing. Ledgers
    beyond the first are shared with machines whose clocks differ from this one's, so they keep the exchange's time, to
    which the first ledger's `clock` leads.

    Args:
        quotas: what the host allows.
        stores: this machine's first, then what other machines spend from, too, in blocks or request by request.
        address: a name for the address the requests leave by; each has a budget of its own.
        reserve: the share of each quota that is left for others, at least 0 and below 1.
        sleep: takes seconds.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        quotas: HostQuotas,
        stores: Sequence[LedgerStore | Blocks],
        *,
        address: str = "",
        reserve: float,
        sleep: Callable[[float], None],
        clock: Callable[[], float],
    ) -> None:
        self._host = f"{quotas.host} from {address}" if address else quotas.host
        self._quotas = quotas
        self._own, *wider = stores
        self._wider = [each if isinstance(each, Blocks) else Blocks(each, 0) for each in wider]
        self._share = 1 - reserve
        self._sleep = sleep
        self._clock = clock

    def lease(self, endpoint: str, rows: int, patience_s: float) -> tuple[Lease, ...] | Wait:
        """The right to ask `endpoint` for `rows` rows, waited for; or the fence that lasts longer than `patience_s`.

        The right is a lease of each store, for `settle`. Raises ValueError for an endpoint without a known weight.
        """
        quota, amount = self._quotas.cost(endpoint, rows)
        while True:
            given = self._take(quota, amount)
            if not isinstance(given, Wait) or (given.fenced and given.seconds > patience_s):
                return given
            self._sleep(max(given.seconds, LOOK_AGAIN_S))

    def _take(self, quota: Quota, amount: int) -> tuple[Lease, ...] | Wait:
        own, clock = self._own.change(self._host, lambda ledger: (self._book(ledger, quota, amount), ledger.clock))
        if isinstance(own, Wait):
            return own
        # Their time is the earliest that the exchange's clock may show: like our own booking, never too late a minute.
        ahead_s = clock[0] if clock else 0.0
        leases = [own]
        for blocks in self._wider:
            given = blocks.take(
                self._host, quota, amount, lambda: self._clock() + ahead_s, partial(self._limit, quota=quota)
            )
            if isinstance(given, Wait):
                for giver, lease in zip((self._own, *self._wider), leases, strict=False):
                    giver.change(self._host, partial(Ledger.give_back, lease=lease))
                return given
            leases.append(given)
        return tuple(leases)

    def _book(self, ledger: Ledger, quota: Quota, amount: int) -> Lease | Wait:
        # The time is read here, where nobody else has the ledger: until then there may have been a wait.
        return ledger.take(quota, amount, self._clock(), self._limit(ledger, quota))

    def _limit(self, ledger: Ledger, quota: Quota) -> int | None:
        limit = ledger.limits.get(quota.name, None if self._quotas.is_unlimited else quota.limit)
        return None if limit is None else max(1, round(limit * self._share))

    def settle(self, leases: tuple[Lease, ...], headers: Mapping[str, str] | None) -> None:
        """Note the headers of the answer to the leased request; None when there was no answer."""
        date_s = header_time(headers) if headers else None
        if headers is None or date_s is None:
            return
        own, *wider = leases
        used = headers.get(self._quotas.used_header, "") if own.quota is self._quotas.weight else ""
        observed = int(used) if _WEIGHT.fullmatch(used) else 0
        answered_at = self._clock()

        def note(ledger: Ledger) -> None:
            ledger.learn_clock(date_s, own.taken_at, answered_at)
            ledger.settle(own, observed, date_s)

        self._own.change(self._host, note)
        for blocks, lease in zip(self._wider, wider, strict=True):
            blocks.settle(self._host, lease, observed, date_s)

    def fence(self, seconds: float, *, banned: bool) -> bool:
        """Let nobody who shares a store ask for so long; whether this machine has not heard of it before."""
        until = self._clock() + seconds
        is_news, clock = self._own.change(self._host, lambda ledger: (ledger.fence(until, banned=banned), ledger.clock))
        # The latest that the exchange's clock may show then: no other machine asks too early.
        wider_until = until + (clock[1] if clock else 0.0)
        for store in self._wider:
            store.change(self._host, lambda ledger: ledger.fence(wider_until, banned=banned))
        return is_news

    def set_limit(self, limit: int) -> None:
        """The exchange's own word on the weight of a minute, before the reserve."""
        name = self._quotas.weight.name
        for store in (self._own, *self._wider):
            store.change(self._host, lambda ledger: ledger.limits.update({name: limit}))
