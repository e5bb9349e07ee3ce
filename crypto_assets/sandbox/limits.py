"""Request weights and what Binance does to who uses too much of them: 429 first, then a 418 ban.

Here belong weights and their accounting per UTC minute; the refusals' words belong to `errors`. Called by `server`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from crypto_assets.domain.entities import MarketType
from crypto_assets.sandbox.errors import banned, too_many_requests

SPOT_BUDGET = 6000
SWAP_BUDGET = 2400
_KLINE_STEPS = ((100, 1), (500, 2), (1001, 5))
_SPOT_WEIGHTS = {"ping": 1, "time": 1, "exchangeInfo": 20, "klines": 2, "uiKlines": 2}
_ALL_TICKERS_WEIGHT = {MarketType.SPOT: 4, MarketType.SWAP: 2}
_ONE_TICKER_WEIGHT = {MarketType.SPOT: 2, MarketType.SWAP: 1}
_ALL_PREMIUMS_WEIGHT = 10


def weight(market: MarketType, endpoint: str, limit: int, *, has_symbol: bool) -> int:
    """The weight of a request as Binance documents it; `limit` counts for futures klines only.

    fundingRate and fundingInfo cost none: there they share a limit of their own, 500 requests in 5 minutes.
    """
    if endpoint == "ticker/price":
        return (_ONE_TICKER_WEIGHT if has_symbol else _ALL_TICKERS_WEIGHT)[market]
    if market is MarketType.SPOT:
        return _SPOT_WEIGHTS.get(endpoint, 1)
    if endpoint == "klines":
        return next((cost for below, cost in _KLINE_STEPS if limit < below), 10)
    if endpoint == "premiumIndex":
        return 1 if has_symbol else _ALL_PREMIUMS_WEIGHT
    return 0 if endpoint in ("fundingRate", "fundingInfo") else 1


class WeightLimit:
    """The weight one address may use in a UTC minute of one market.

    Args:
        budget: weight a minute, None for no limit.
        ban_after: this many requests after the first 429 of a minute lead to a ban.
        ban_seconds: how long it lasts.
        now: seconds since 1970; the machine's time unless a test wants its own.
    """

    def __init__(
        self, budget: int | None, ban_after: int = 20, ban_seconds: int = 120, now: Callable[[], float] = time.time
    ) -> None:
        self.budget = budget
        self.used = 0
        self._minute = -1
        self._refused = 0
        self._banned_until = 0.0
        self._ban_after = ban_after
        self._ban_seconds = ban_seconds
        self._now = now

    def spend(self, cost: int) -> None:
        """Counts a request. Raises ApiError 429, or 418 for who goes on asking, both with `Retry-After`."""
        now = self._now()
        minute = int(now // 60)
        if minute != self._minute:
            self._minute, self.used, self._refused = minute, 0, 0
        self.used += cost
        if self.budget is None:
            return
        if now < self._banned_until:
            raise banned(int(self._banned_until * 1000), self._seconds_to(self._banned_until))
        if self.used <= self.budget:
            return
        self._refused += 1
        if self._refused > self._ban_after:
            self._banned_until = now + self._ban_seconds
            raise banned(int(self._banned_until * 1000), self._ban_seconds)
        raise too_many_requests(self.budget, self._seconds_to((minute + 1) * 60))

    def _seconds_to(self, moment: float) -> int:
        return max(1, int(-(-(moment - self._now()) // 1)))
