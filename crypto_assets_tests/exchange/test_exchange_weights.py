"""What a request costs, as Binance documents it."""

from __future__ import annotations

import pytest

from crypto_assets.domain.entities import MarketType
from crypto_assets.exchange.binance.weights import FUNDING_REQUESTS, PAGE_ROWS, REQUEST_WEIGHT, cost, weight
from crypto_assets.sandbox import limits

SPOT, SWAP = MarketType.SPOT, MarketType.SWAP


@pytest.mark.parametrize(
    ("rows", "expected"), [(1, 1), (99, 1), (100, 2), (499, 2), (500, 5), (1000, 5), (1001, 10), (1500, 10)]
)
def test_futures_klines_weigh_by_rows(rows, expected):
    assert weight(SWAP, "klines", rows) == expected


@pytest.mark.parametrize("market_type", list(MarketType))
@pytest.mark.parametrize("endpoint", ["time", "exchangeInfo", "klines", "fundingInfo", "fundingRate"])
def test_the_table_agrees_with_the_sandboxs_own(market_type, endpoint):
    if market_type is SPOT and endpoint.startswith("funding"):
        return
    for rows in (1, 99, 100, 499, 500, 1000):
        assert weight(market_type, endpoint, rows) == limits.weight(market_type, endpoint, rows, has_symbol=True)


@pytest.mark.parametrize("market_type", list(MarketType))
def test_no_other_page_gives_more_rows_for_the_budget(market_type):
    rows = PAGE_ROWS[market_type]
    best = max(each / weight(market_type, "klines", each) for each in range(1, 1001))
    assert rows / weight(market_type, "klines", rows) == pytest.approx(best)


def test_funding_has_a_quota_of_its_own():
    assert cost(SWAP, "fundingInfo", 0) == (FUNDING_REQUESTS, 1)
    assert cost(SWAP, "klines", 499) == (REQUEST_WEIGHT[SWAP], 2)
    assert (FUNDING_REQUESTS.limit, FUNDING_REQUESTS.window_s) == (500, 300)


@pytest.mark.parametrize(("endpoint", "rows"), [("account", 0), ("klines", 1501)])
def test_what_has_no_known_weight_is_not_asked(endpoint, rows):
    with pytest.raises(ValueError, match="no weight is known"):
        cost(SWAP, endpoint, rows)
