"""The exchange's limits, kept by all processes of this machine together: a lease before each request, then its answer.

Here belong waiting for a lease and reading an answer's headers. The arithmetic belongs to `ledger`, keeping it to
`ledger_store`, the figures to `weights`. Called by `connection`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from crypto_assets.domain.entities import MarketType
from crypto_assets.exchange.faults import header_time
from crypto_assets.exchange.ledger import Lease, Ledger, Wait
from crypto_assets.exchange.ledger_store import LedgerStore
from crypto_assets.exchange.weights import REQUEST_WEIGHT, Quota, cost

USED_WEIGHT_HEADER = "X-MBX-USED-WEIGHT-1M"
LOOPBACK = {"127.0.0.1", "localhost", "::1"}

# Binance answers under several names that count as one.
_MIRROR = re.compile(r"api(\d|-gcp)\.binance\.com")

# Whoever waits for the pace looks again no sooner: fifty waiting threads shall not keep the ledger busy. The head start
# of a tenth of a minute makes up for it.
LOOK_AGAIN_S = 0.5


class WeightBudget:
    """What one market's host may still be asked by this address. For any number of threads.

    Args:
        market_type: spot and futures are limited apart.
        url: the host; one on loopback has no limit until it names one.
        store: shared by all who shall spend from one budget.
        reserve: the share of each quota that is left for others, at least 0 and below 1.
        sleep: takes seconds.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        market_type: MarketType,
        url: str,
        store: LedgerStore,
        *,
        reserve: float,
        sleep: Callable[[float], None],
        clock: Callable[[], float],
    ) -> None:
        address = urlsplit(url)
        self._host = f"{market_type.value} {_MIRROR.sub('api.binance.com', address.netloc)}"
        self._market_type = market_type
        self._is_unlimited = address.hostname in LOOPBACK
        self._store = store
        self._share = 1 - reserve
        self._sleep = sleep
        self._clock = clock

    def lease(self, endpoint: str, rows: int, patience_s: float) -> Lease | Wait:
        """The right to ask `endpoint` for `rows` rows, waited for; or the fence that lasts longer than `patience_s`.

        Raises ValueError for an endpoint without a known weight.
        """
        quota, amount = cost(self._market_type, endpoint, rows)
        while True:
            given = self._store.change(self._host, lambda ledger: self._take(ledger, quota, amount))
            if isinstance(given, Lease) or (given.fenced and given.seconds > patience_s):
                return given
            self._sleep(max(given.seconds, LOOK_AGAIN_S))

    def _take(self, ledger: Ledger, quota: Quota, amount: int) -> Lease | Wait:
        limit = ledger.limits.get(quota.name, None if self._is_unlimited else quota.limit)
        return ledger.take(quota, amount, self._clock(), None if limit is None else max(1, round(limit * self._share)))

    def settle(self, lease: Lease, headers: Mapping[str, str] | None) -> None:
        """Note the headers of the answer to the leased request; None when there was no answer."""
        date_s = header_time(headers) if headers else None
        if headers is None or date_s is None:
            return
        used = headers.get(USED_WEIGHT_HEADER, "") if lease.quota is REQUEST_WEIGHT[self._market_type] else ""
        observed = int(used) if used.isascii() and used.isdigit() else 0
        answered_at = self._clock()

        def note(ledger: Ledger) -> None:
            ledger.learn_clock(date_s, lease.taken_at, answered_at)
            ledger.settle(lease, observed, date_s)

        self._store.change(self._host, note)

    def fence(self, seconds: float, *, banned: bool) -> bool:
        """Let no process of this machine ask for so long; whether it is the first to hear of it."""
        until = self._clock() + seconds
        return self._store.change(self._host, lambda ledger: ledger.fence(until, banned=banned))

    def set_limit(self, limit: int) -> None:
        """The exchange's own word on the weight of a minute, before the reserve."""
        name = REQUEST_WEIGHT[self._market_type].name
        self._store.change(self._host, lambda ledger: ledger.limits.update({name: limit}))
