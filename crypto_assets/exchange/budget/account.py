"""What one host was asked in the current minute: pure arithmetic, without a clock, a file or a lock of its own.

Here belong when a request may be sent and what an answer says about it. Where a ledger is kept, and that nobody else
has it meanwhile, belongs to `exchange.budget.store`; waiting belongs to `budget`, the caller. Times are seconds since
1970 on one clock, which the caller chooses, unless they are called the exchange's: a machine's own, with `clock`
leading from it to the exchange's, or for a ledger that machines share the exchange's itself, without `clock`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import orjson

# Named by it, the ledgers of versions that disagree about what `to_json` gives never meet.
FORMAT = 1

# How far the spending of an interval may run ahead of an even pace, as a share of the quota: a few requests are never
# held up, a backfill is spread over the first nine tenths of a minute, and the last tenth makes up for slow seconds.
HEAD_START = 0.1

# Fences that end this close to each other are the same: a 429 is answered to every request that was under way.
_SAME_FENCE_S = 1.5


@dataclass(frozen=True)
class Quota:
    """So much may be spent in each interval of `window_s` seconds of the exchange's clock, by all of an address."""

    name: str
    window_s: int
    limit: int


@dataclass
class Window:
    """One quota in one interval of the exchange's clock."""

    leased: int = 0  # by all who share the ledger
    unanswered: int = 0  # the part of it of which no answer tells that it was counted in this interval
    observed: int = 0  # the highest figure of the exchange, which counts other programs, too


@dataclass(frozen=True)
class Lease:
    """The right to send one request now. `window` is the first interval in which the exchange may count it."""

    quota: Quota
    cost: int
    window: int
    taken_at: float


@dataclass(frozen=True)
class Wait:
    """Nothing may be sent for `seconds`: `fenced` when the exchange said so, `banned` when by a ban."""

    seconds: float
    fenced: bool = False
    banned: bool = False


@dataclass
class Ledger:
    """The shared account of one host.

    The exchange's clock less the ledger's lies between the two figures of `clock`. A request is booked in the earliest
    interval in which it can arrive; while nothing proves that it was counted there, it weighs on the next one, too. So
    the end of a minute needs no guard, and neither a slow request, a lost answer nor a killed process makes the sum of
    a minute too small.
    """

    limits: dict[str, int] = field(default_factory=dict)  # by a quota's name, as the exchange itself says
    fenced_until: float = 0.0
    banned: bool = False
    clock: tuple[float, float] | None = None
    windows: dict[tuple[str, int], Window] = field(default_factory=dict)

    def take(self, quota: Quota, cost: int, now: float, limit: int | None) -> Lease | Wait:
        """A lease for `cost`, booked, or how long to wait before asking again. `limit` None counts without limiting."""
        if now < self.fenced_until:
            return Wait(self.fenced_until - now, fenced=True, banned=self.banned)
        index, elapsed_s = divmod(now + (self.clock[0] if self.clock else 0.0), quota.window_s)
        index = int(index)
        self._forget(quota, index)
        window = self.windows.setdefault((quota.name, index), Window())
        if limit is not None:
            used = self.used(quota, index)
            # A request that weighs more than the whole limit would wait for ever: it may have an interval to itself.
            if used + min(cost, limit) > limit:
                return Wait(quota.window_s - elapsed_s)
            # What is used so far decides, not what this one adds: heavy requests are not starved by light ones.
            ahead = used / limit - HEAD_START - elapsed_s / quota.window_s
            if ahead > 0:
                return Wait(ahead * quota.window_s)
        window.leased += cost
        window.unanswered += cost
        return Lease(quota, cost, index, now)

    def used(self, quota: Quota, index: int) -> int:
        """The most that the exchange can have counted in interval `index`, what is on its way included."""
        window = self.windows.get((quota.name, index), Window())
        before = self.windows.get((quota.name, index - 1), Window())
        return max(window.leased, window.observed + window.unanswered) + before.unanswered

    def settle(self, lease: Lease, observed: int, exchange_s: float) -> None:
        """Note an answer given at `exchange_s` of the exchange's clock, which says that `observed` were used so far.

        One given in a later interval proves nothing about the leased one, and its figure may belong to either.
        """
        window = self.windows.get((lease.quota.name, lease.window))
        if window is not None and int(exchange_s // lease.quota.window_s) == lease.window:
            window.unanswered -= lease.cost
            window.observed = max(window.observed, observed)

    def give_back(self, lease: Lease) -> None:
        """Undo the booking of a lease whose request was not sent."""
        window = self.windows.get((lease.quota.name, lease.window))
        if window is not None:
            window.leased -= lease.cost
            window.unanswered -= lease.cost

    def learn_clock(self, date_s: float, asked_at: float, answered_at: float) -> None:
        """Narrow the difference of the clocks: between the two times the exchange's was in the second `date_s`."""
        low, high = date_s - answered_at, date_s + 1 - asked_at
        if self.clock and max(low, self.clock[0]) <= min(high, self.clock[1]):
            low, high = max(low, self.clock[0]), min(high, self.clock[1])
        # Otherwise it is the first answer, or one of the clocks was set meanwhile.
        self.clock = low, high

    def fence(self, until: float, *, banned: bool) -> bool:
        """Let nobody ask before `until`. Whether this is new: false when another request has heard the same."""
        new = until > self.fenced_until + _SAME_FENCE_S or (banned and not self.banned)
        self.banned = banned or (self.banned and not new)
        self.fenced_until = max(until, self.fenced_until)
        return new

    def _forget(self, quota: Quota, index: int) -> None:
        stale = [key for key in self.windows if key[0] == quota.name and abs(key[1] - index) > 1]
        for key in stale:
            del self.windows[key]

    def to_json(self) -> bytes:
        """Everything, for a store."""
        windows = [[*key, each.leased, each.unanswered, each.observed] for key, each in self.windows.items()]
        fence = [self.fenced_until, self.banned]
        return orjson.dumps({"limits": self.limits, "fence": fence, "clock": self.clock, "windows": windows})

    @classmethod
    def from_json(cls, text: bytes | str) -> Ledger:
        """What `to_json` gave. Raises ValueError for anything else."""
        try:
            stored = orjson.loads(text)
            windows = {(str(name), int(index)): Window(*figures) for name, index, *figures in stored["windows"]}
            (until, banned), clock = stored["fence"], stored["clock"]
            return cls(dict(stored["limits"]), float(until), banned, clock and (clock[0], clock[1]), windows)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a ledger: {error}") from error
