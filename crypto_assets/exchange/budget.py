"""The exchange's request weight: how much of a minute's budget is used, and the wait when it runs out.

Here belongs what the exchange's own counter says. The pace between two requests belongs to ccxt's throttle, the wait
after a 429 to `connection`, which calls this. The counter is kept by the exchange per IP address, so it also sees what
other processes on the same address have used; ccxt's throttle cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from crypto_assets.exchange.faults import header_time

MINUTE_S = 60.0
USED_WEIGHT_HEADER = "X-MBX-USED-WEIGHT-1M"
# Waiting at 90 % leaves room for the other processes of this address to see the counter, too.
FULL_AT = 0.9


class WeightBudget:
    """A minute's request weight at one host, as the exchange counts it."""

    def __init__(self, limit: int, *, sleep: Callable[[float], None], clock: Callable[[], float]) -> None:
        self.limit = limit
        self._sleep = sleep
        self._clock = clock
        self._resume_at = 0.0

    def wait(self) -> None:
        """Sleep until the next minute of the exchange if the last answer said that the budget is nearly used."""
        wait_s = self._resume_at - self._clock() if self._resume_at else 0.0
        self._resume_at = 0.0
        if wait_s > 0:
            self._sleep(wait_s)

    def observe(self, headers: Mapping[str, str] | None) -> None:
        """Note the used weight of an answer. Source: `X-MBX-USED-WEIGHT-1M`, on every answer, per IP address."""
        used = headers.get(USED_WEIGHT_HEADER) if headers else None
        if headers is None or used is None or not used.isdigit() or int(used) <= FULL_AT * self.limit:
            return
        server_s = header_time(headers)
        # Weight is counted per clock minute of the exchange; without its clock a whole minute is enough.
        rest_s = MINUTE_S - server_s % MINUTE_S if server_s is not None else MINUTE_S
        self._resume_at = self._clock() + rest_s
