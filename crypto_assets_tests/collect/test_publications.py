"""Which days of a file are disputed by the hours of REST, and by what is stored."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crypto_assets.collect.publications import days_that_differ, days_that_rest_disputes
from crypto_assets.domain.intervals import DAY_MS, MINUTE_MS, parse_time
from crypto_assets.domain.series import CANDLE_COLUMNS
from crypto_assets.domain.spans import Span
from crypto_assets.frames.candles import Candles

HOUR_MS = 60 * MINUTE_MS


def minutes(start: str) -> pd.DataFrame:
    """Two days of minutes that wander."""
    number = np.arange(2 * 1440)
    price = 100.0 + number % 7
    columns = {"open": price, "high": price + 2, "low": price - 2, "close": price + 1}
    columns |= {"volume": 0.1 + number % 3, "volume_quote": 10.1 + number % 5, "trade_count": 1.0 + number % 4}
    return pd.DataFrame({"open_time": parse_time(start) + number * MINUTE_MS} | columns)


def hours(candles: pd.DataFrame) -> pd.DataFrame:
    """The hours that these minutes make, as pandas makes them."""
    makes = {"open": "first", "high": "max", "low": "min", "close": "last"}
    makes |= dict.fromkeys(("volume", "volume_quote", "trade_count"), "sum")
    hour = candles["open_time"] // HOUR_MS * HOUR_MS
    return candles.groupby(hour).agg(makes).reset_index()


def candles_of(frame: pd.DataFrame) -> Candles:
    return Candles.of(frame[list(CANDLE_COLUMNS)].to_numpy(dtype=np.float64).T)


def disputed(candles: pd.DataFrame, published: pd.DataFrame) -> list[Span]:
    return days_that_rest_disputes(candles_of(candles), candles_of(published))


def day(start: str) -> list[Span]:
    return [Span(parse_time(start), parse_time(start) + DAY_MS)]


def test_what_agrees_is_not_disputed_whatever_its_order():
    candles = minutes("2021-09-28")
    assert disputed(candles[::-1], hours(candles)) == []
    assert disputed(pd.concat([candles, candles]), hours(candles)) == []


@pytest.mark.parametrize(
    ("column", "value"),
    [("high", 1000.0), ("low", 1.0), ("volume", 1e-5), ("volume_quote", 0.0), ("trade_count", 0.0), ("volume", np.nan)],
)
def test_one_minute_that_is_other_disputes_its_day(column, value):
    candles = minutes("2021-09-28")
    published = hours(candles)
    candles.loc[1440 + 605, column] = value
    assert disputed(candles, published) == day("2021-09-29")


@pytest.mark.parametrize(("start", "days"), [("2021-09-28", day("2021-09-28")), ("2020-09-28", [])])
def test_the_first_price_of_an_hour_counts_since_2021(start, days):
    candles = minutes(start)
    published = hours(candles)
    candles.loc[120, "open"] -= 0.5
    assert disputed(candles, published) == days


def test_an_hour_that_rest_has_not_is_disputed_and_one_that_the_file_has_not_is_only_lacking():
    candles = minutes("2021-09-28")
    published = hours(candles)
    assert disputed(candles, published.drop(index=30)) == day("2021-09-29")
    assert disputed(candles[candles["open_time"] >= candles["open_time"][60]], published) == []


def test_a_stored_candle_that_is_other_disputes_its_day_and_one_that_is_missing_does_not():
    candles = minutes("2021-09-28")
    stored = candles.drop(index=range(100, 200)).reset_index(drop=True)
    assert days_that_differ(candles_of(candles), candles_of(stored)) == []
    stored.loc[50, "close"] += 0.25
    assert days_that_differ(candles_of(candles), candles_of(stored)) == day("2021-09-28")
