"""Which rows are fit to store, and what is said of the others."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandera.errors import SchemaErrors

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import Interval, parse_time
from crypto_assets.frames.candles import Candles
from crypto_assets.frames.contracts import (
    asset_contract,
    candle_contract,
    judge,
    judge_candles,
    market_contract,
)
from crypto_assets.frames.entities import asset_frame, market_frame
from crypto_assets_tests.paper_exchange import market
from crypto_assets_tests.received_klines import received

START = parse_time("2023-03-20")
CLOCK = parse_time("2023-03-22")
OPEN_TIME, OPEN, HIGH, LOW, CLOSE, VOLUME, QUOTE, TRADES = 0, 1, 2, 3, 4, 5, 7, 8


def kline(number: int = 0) -> list:
    time = START + number * 60_000
    return [time, "10.0", "12.0", "9.0", "11.0", "5.0", time + 59_999, "52.5", 3, "0.0", "0.0", "0"]


def broken(**changes):
    """What three candles break, the middle one changed at the positions named."""
    rows = [kline(0), kline(1), kline(2)]
    for position, value in changes.items():
        rows[1][globals()[position]] = value
    candles = received(rows)
    reasons = judge_candles(candles, Interval.M1)
    assert reasons == judge(pd.DataFrame(candles.columns), candle_contract(Interval.M1)).reasons
    return reasons


def test_good_candles_are_all_kept():
    assert broken() == {}


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({"CLOSE": None}, ["close: not_nullable"]),
        ({"OPEN": "0"}, ["open: positive", "low is the lowest"]),
        ({"LOW": "-9.0"}, ["low: positive"]),
        ({"HIGH": "inf"}, ["high: positive"]),
        ({"HIGH": "10.5"}, ["high is the highest"]),
        ({"LOW": "10.5"}, ["low is the lowest"]),
        ({"VOLUME": "-1"}, ["volume: not negative"]),
        ({"QUOTE": "nan"}, ["volume_quote: not_nullable"]),
        ({"TRADES": -1}, ["trade_count: not negative"]),
        ({"TRADES": None}, ["trade_count: not_nullable"]),
        ({"OPEN_TIME": START + 60_789}, ["open_time: on the 1m grid"]),
    ],
)
def test_a_candle_that_cannot_be_true_is_kept_out_alone_with_every_reason(changes, reasons):
    assert {position: sorted(rules) for position, rules in broken(**changes).items()} == {1: sorted(reasons)}


# What is at the edge of a rule, on either side of it, and what is no number.
EDGES = [0.0, -0.0, -1.0, 5e-324, 1e-101, 1e-100, 0.5, 1.0, 3.0, 2.0**31 - 1, 2.0**31, 1e100, 1e101]
VALUES = st.sampled_from([*EDGES, math.inf, -math.inf, math.nan])
ODD = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7), VALUES), max_size=3)


@settings(max_examples=150, deadline=None)
@given(ODD)
def test_the_rules_that_are_asked_first_let_pass_what_the_contract_lets_pass_and_nothing_else(odd):
    table = received([kline(number) for number in range(6)]).table.copy()
    for row, column, value in odd:
        table[column, row] = value if column else START + 1
    candles = Candles.of(table)
    expected = judge(pd.DataFrame(candles.columns), candle_contract(Interval.M1)).reasons
    assert judge_candles(candles, Interval.M1) == expected


def test_a_minute_without_trade_is_a_good_candle():
    quiet = {"OPEN": "10", "HIGH": "10", "LOW": "10", "CLOSE": "10", "VOLUME": "0", "QUOTE": "0", "TRADES": 0}
    assert broken(**quiet) == {}


def test_each_interval_has_its_own_grid():
    hourly = judge_candles(received([kline(0), kline(30), kline(60)]), Interval.H1)
    assert hourly == {1: ["open_time: on the 1h grid"]}


def test_a_frame_of_ours_that_lacks_a_column_is_our_mistake_and_raises():
    with pytest.raises(SchemaErrors):
        judge(pd.DataFrame(received([kline()]).columns).drop(columns="close"), candle_contract(Interval.M1))


def test_a_market_without_a_positive_step_is_kept_out():
    markets = [market("BTC/USDT"), market("ETH/USDT", price_step=0.0), market("SOL/USDT", qty_step=float("nan"))]
    frame = market_frame(MarketType.SPOT, markets, [(None, None)] * 3, CLOCK)
    judged = judge(frame, market_contract(MarketType.SPOT))
    assert judged.kept["name"].tolist() == ["BTC/USDT"]
    assert judged.reasons == {1: ["price_step: positive"], 2: ["qty_step: not_nullable"]}


def test_currencies_of_all_markets_are_listed_once_and_stablecoins_are_marked():
    frame = asset_frame([market("BTC/USDT"), market("ETH/BTC"), market("BTC/USDC:USDC")], CLOCK)
    assert frame["id"].tolist() == [f"crypto_binance_{name}" for name in ("btc", "eth", "usdc", "usdt")]
    assert frame["is_stablecoin"].tolist() == [False, False, True, True]
    assert frame["timestamp"].tolist() == [pd.Timestamp("2023-03-22")] * 4
    assert judge(frame, asset_contract()).reasons == {}


def test_a_perpetual_refers_to_what_it_is_about_and_what_it_settles_in():
    row = market_frame(MarketType.SWAP, [market("1000PEPE/USDT:USDT")], [(None, None)], CLOCK).iloc[0]
    assert (row["id"], row["code"]) == ("cryptoperp_binance_1000pepeusdt", "1000pepeusdt")
    assert (row["underlying_asset_id"], row["settlement_asset_id"]) == (
        "crypto_binance_1000pepe",
        "crypto_binance_usdt",
    )
    assert row["unit_multiplier"] == 1000


def test_listing_dates_stay_dates_even_where_none_is_known():
    frame = market_frame(MarketType.SPOT, [market()], [(None, None)], CLOCK)
    assert str(frame["list_date"].dtype) == "datetime64[us]"
    assert frame["end_date"].isna().all()
    assert market_frame(MarketType.SPOT, [], [], CLOCK).empty
