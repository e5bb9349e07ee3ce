"""What a request costs at Binance, and what one address may spend: the figures, with their source and date.

Here belong figures only; keeping to them belongs to `exchange.budget`, which is handed them. Called by `connection` for
every request, and by `venue` for whoever says beforehand what a backfill will cost.

Read in November 2026 from https://developers.binance.com/docs:
- weights of an address, counted per interval of the clock, from zero in each:
  binance-spot-api-docs/rest-api/limits and binance-spot-api-docs/websocket-api/rate-limits;
- spot: binance-spot-api-docs/rest-api/market-data-endpoints and .../general-endpoints;
- USDT-M klines by rows: derivatives/usds-margined-futures/market-data/rest-api/Kline-Candlestick-Data;
- funding: derivatives/usds-margined-futures/market-data/rest-api/Get-Funding-Rate-History (500 requests in five minutes
  for fundingRate and fundingInfo together, no weight).

Spot's RAW_REQUESTS (300,000 in five minutes) cannot be reached: a request weighs at least 1, and 6,000 a minute are
30,000 in five.
"""

from __future__ import annotations

import re
from functools import partial
from urllib.parse import urlsplit

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.urls import is_loopback
from crypto_assets.exchange.budget.account import Quota
from crypto_assets.exchange.budget.budget import HostQuotas

# What exchangeInfo says replaces the limit once it was read.
REQUEST_WEIGHT = {
    MarketType.SPOT: Quota("weight", 60, 6000),
    MarketType.SWAP: Quota("weight", 60, 2400),
}
FUNDING_REQUESTS = Quota("funding requests", 300, 500)

_FUNDING = {(MarketType.SWAP, "fundingRate"), (MarketType.SWAP, "fundingInfo")}
_FLAT = {
    (MarketType.SPOT, "time"): 1,
    (MarketType.SPOT, "exchangeInfo"): 20,
    (MarketType.SPOT, "klines"): 2,
    (MarketType.SWAP, "time"): 1,
    (MarketType.SWAP, "exchangeInfo"): 1,
}
PAGE_ROWS = {MarketType.SPOT: 1000, MarketType.SWAP: 499}
"""The candles of a page. Spot: the most a page may have. USDT-M: up to 499 weigh 2, 1500 weigh 10."""

USED_WEIGHT_HEADER = "X-MBX-USED-WEIGHT-1M"

# Binance answers under several names that count as one.
_MIRROR = re.compile(r"api(\d|-gcp)\.binance\.com")

_SWAP_KLINES = ((99, 1), (499, 2), (1000, 5), (1500, 10))  # up to so many rows, so much


def quotas_of(market_type: MarketType, url: str) -> HostQuotas:
    """What the host at `url` allows of this market; one on loopback has no limit until it names one."""
    return HostQuotas(
        host=f"{market_type.value} {_MIRROR.sub('api.binance.com', urlsplit(url).netloc)}",
        weight=REQUEST_WEIGHT[market_type],
        used_header=USED_WEIGHT_HEADER,
        cost=partial(cost, market_type),
        is_unlimited=is_loopback(url),
    )


def cost(market_type: MarketType, endpoint: str, rows: int) -> tuple[Quota, int]:
    """The quota that a request for `rows` rows counts against, and how much. `endpoint` is a path such as `klines`.

    Raises ValueError for an endpoint that is not in the table: nothing may be asked whose weight nobody looked up.
    """
    if (market_type, endpoint) in _FUNDING:
        return FUNDING_REQUESTS, 1
    return REQUEST_WEIGHT[market_type], weight(market_type, endpoint, rows)


def weight(market_type: MarketType, endpoint: str, rows: int = 0) -> int:
    """The request weight of a request for `rows` rows; 0 for funding, which has a quota of its own.

    Raises ValueError for an endpoint that is not in the table, and for more rows than the endpoint gives.
    """
    if (market_type, endpoint) in _FUNDING:
        return 0
    if (market_type, endpoint) in _FLAT:
        return _FLAT[market_type, endpoint]
    if (market_type, endpoint) == (MarketType.SWAP, "klines"):
        for most, value in _SWAP_KLINES:
            if rows <= most:
                return value
    raise ValueError(
        f"no weight is known for {rows} rows of {endpoint} on {market_type.value}: look it up, add it here"
    )
