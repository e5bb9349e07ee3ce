"""Weight leased in advance from a ledger that machines share, so that a request need not ask a server far away.

Here belongs what this process holds of such a ledger: the block it spends from, and the answers it has not told yet.
The arithmetic belongs to `account`, which knows a block as a lease like any other: what a process that died had not
spent weighs until the minute after is over. Called by `budget`; made by `exchange.<venue>` for all threads of a
process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from crypto_assets.exchange.budget.account import Lease, Ledger, Quota, Wait
from crypto_assets.exchange.budget.store import LedgerStore

_T = TypeVar("_T")

BLOCK_S = 1.0
"""What a block is worth, by the even pace of its quota, and how long it lasts: by then fences of others are heard."""
_SHARE_OF_REST = 4  # towards the end of a quota blocks shrink, so that other machines get some of it
_SAME_WAIT_S = 0.5  # so long one thread's answer that it must wait is every thread's


@dataclass
class _Held:
    """What is held of one host's ledger."""

    blocks: dict[str, tuple[Lease, int]] = field(default_factory=dict)  # by quota: the lease, and what is left of it
    answers: list[tuple[Lease, int, float]] = field(default_factory=list)
    waits: dict[str, tuple[float, Wait]] = field(default_factory=dict)  # by quota: since when


class Blocks:
    """The ledgers of `store`, asked for blocks that last `seconds`; with 0 each request asks. For many threads."""

    def __init__(self, store: LedgerStore, seconds: float = BLOCK_S) -> None:
        self._store = store
        self._seconds = seconds
        self._lock = threading.Lock()
        self._of_host: dict[str, _Held] = {}

    def take(
        self,
        host: str,
        quota: Quota,
        amount: int,
        now: Callable[[], float],
        limit: Callable[[Ledger], int | None],
    ) -> Lease | Wait:
        """As `Ledger.take`, from the block that is held if that suffices. `now` is the exchange's time."""
        with self._lock:
            held, moment = self._of_host.setdefault(host, _Held()), now()
            block, left = held.blocks.get(quota.name, (None, 0))
            if block is not None and left >= amount and self._lasts(block, moment):
                held.blocks[quota.name] = block, left - amount
                return Lease(quota, amount, block.window, block.taken_at)
            since, waiting = held.waits.get(quota.name, (0.0, None))
            if waiting is not None and 0 <= moment - since < min(_SAME_WAIT_S, waiting.seconds):
                return Wait(waiting.seconds - (moment - since), waiting.fenced, waiting.banned)
            given = self._store.change(host, lambda ledger: self._renew(ledger, held, quota, amount, now(), limit))
            held.blocks.pop(quota.name, None)
            held.answers.clear()
            held.waits.pop(quota.name, None)
            if isinstance(given, Wait):
                if self._seconds:
                    held.waits[quota.name] = moment, given
                return given
            held.blocks[quota.name] = given, given.cost - amount
            return Lease(quota, amount, given.window, given.taken_at)

    def _lasts(self, block: Lease, now: float) -> bool:
        return int(now // block.quota.window_s) == block.window and 0 <= now - block.taken_at < self._seconds

    def _renew(
        self,
        ledger: Ledger,
        held: _Held,
        quota: Quota,
        amount: int,
        now: float,
        limit: Callable[[Ledger], int | None],
    ) -> Lease | Wait:
        self._tell(ledger, held, quota.name)
        most, size = limit(ledger), amount
        if most is not None:
            rest = most - ledger.used(quota, int(now // quota.window_s))
            size = max(amount, min(int(most * self._seconds / quota.window_s), rest // _SHARE_OF_REST))
        return ledger.take(quota, size, now, most)

    def _tell(self, ledger: Ledger, held: _Held, *names: str) -> None:
        """What was answered, and what is left of the blocks for the quotas `names`."""
        for lease, observed, exchange_s in held.answers:
            ledger.settle(lease, observed, exchange_s)
        for name in names:
            block, left = held.blocks.get(name, (None, 0))
            if block is not None and left:
                ledger.give_back(Lease(block.quota, left, block.window, block.taken_at))

    def settle(self, host: str, lease: Lease, observed: int, exchange_s: float) -> None:
        """As `Ledger.settle`, told with the next block."""
        if not self._seconds:
            self.change(host, partial(Ledger.settle, lease=lease, observed=observed, exchange_s=exchange_s))
            return
        with self._lock:
            self._of_host.setdefault(host, _Held()).answers.append((lease, observed, exchange_s))

    def change(self, host: str, apply: Callable[[Ledger], _T]) -> _T:
        """What cannot wait for the next block."""
        return self._store.change(host, apply)

    def close(self) -> None:
        """Tells what was not told yet, gives back what is left, and closes the store."""
        with self._lock:
            for host, held in self._of_host.items():
                if held.answers or any(left for _, left in held.blocks.values()):
                    self._store.change(host, partial(self._tell_all, held=held))
            self._of_host.clear()
        self._store.close()

    def _tell_all(self, ledger: Ledger, held: _Held) -> None:
        self._tell(ledger, held, *held.blocks)
