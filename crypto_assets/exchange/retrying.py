"""How often a request is made again, and how long is waited in between.

Here belongs what is the same for every exchange. Which failure is which error belongs to `exchange.<venue>`, the
caller.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from crypto_assets.exchange.errors import RateLimited, TransientError


@dataclass(frozen=True)
class RetryPolicy:
    """How long to insist. Waits are in seconds.

    A failed request is tried `attempts` times in all, with a random wait that at most doubles each time from
    `first_wait_s` to `max_wait_s`. A wait the exchange asks for is obeyed up to `max_retry_after_s`; a longer one (a
    ban) is raised at once.
    """

    attempts: int = 5
    first_wait_s: float = 0.5
    max_wait_s: float = 20.0
    max_retry_after_s: float = 120.0


def make_retrying(policy: RetryPolicy, sleep: Callable[[float], None]) -> Any:
    """What calls a function again while it raises TransientError, or a RateLimited that the policy waits for."""
    import tenacity  # noqa: PLC0415 - brings asyncio along; only a process that asks needs it

    backoff = tenacity.wait_random_exponential(multiplier=policy.first_wait_s, max=policy.max_wait_s)

    def wait_s(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return error.retry_after_s if isinstance(error, RateLimited) else backoff(state)

    def worth_another(error: BaseException) -> bool:
        if isinstance(error, RateLimited):
            return error.retry_after_s <= policy.max_retry_after_s
        return isinstance(error, TransientError)

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(worth_another),
        wait=wait_s,
        stop=tenacity.stop_after_attempt(policy.attempts),
        sleep=sleep,
        reraise=True,
    )
