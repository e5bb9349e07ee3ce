"""From the exchange's rows to derived columns, held against what one would write by hand."""

from __future__ import annotations

import math
from statistics import median

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_assets.domain.intervals import Interval, parse_time
from crypto_assets.frames.candles import (
    LOOKBACK,
    DerivedCandles,
    candle_records,
    derive,
    exceeds_median_before,
    in_order,
)
from crypto_assets_tests.paper_exchange import candle
from crypto_assets_tests.received_klines import received

START = parse_time("2023-03-20")
M1 = Interval.M1.milliseconds
DERIVED = ["change_pct", "is_high_volatility", "is_high_volume"]


def klines(count: int, missing: frozenset[int] = frozenset()) -> list[list]:
    return [candle(START + number * M1, Interval.M1) for number in range(count) if number not in missing]


# Few distinct values, so that ties and products on the edge of the factor happen; and any double at all.
few = st.sampled_from([0.0, 0.1, 0.3, 1.0, 3.0, 3.0000000000000004, 0.30000000000000004, 9.0])
doubles = st.one_of(few, st.floats(0, 1e12, allow_subnormal=False))


@settings(max_examples=300)
@given(st.lists(doubles, max_size=70))
def test_exceeding_the_median_agrees_with_a_rolling_median_to_the_last_bit(values):
    expected = [
        number >= LOOKBACK and value > 3.0 * median(values[number - LOOKBACK : number])
        for number, value in enumerate(values)
    ]
    assert exceeds_median_before(np.array(values, dtype=np.float64)).tolist() == expected


def by_hand(rows: list[list]) -> list[tuple]:
    """change_pct and both flags of each row as SCHEMA.md words them, with dictionaries and no look at neighbours."""
    by_time = {row[0]: [float(text) for text in row[1:6]] for row in rows}
    result = []
    for time, (opened, high, low, close, volume) in by_time.items():
        before = by_time.get(time - M1)
        window = [by_time.get(time - back * M1) for back in range(1, LOOKBACK + 1)]
        whole = None not in window
        result.append(
            (
                None if before is None else close / before[3] - 1,
                whole and (high - low) / opened > 3 * median((each[1] - each[2]) / each[0] for each in window),
                whole and volume > 3 * median(each[4] for each in window),
            )
        )
    return result


def as_tuples(derived: DerivedCandles) -> list[tuple]:
    return [
        (None if math.isnan(change) else change, volatile, busy)
        for change, volatile, busy in zip(*(getattr(derived, name).tolist() for name in DERIVED), strict=True)
    ]


@settings(max_examples=60)
@given(st.frozensets(st.integers(0, 119), max_size=6))
def test_derived_columns_are_what_the_data_dictionary_says(missing):
    rows = klines(120, missing)
    assert as_tuples(derive(received(rows), Interval.M1)) == by_hand(rows)


def test_both_flags_occur_in_what_is_tested_here():
    derived = derive(received(klines(120)), Interval.M1)
    assert 0 < derived.is_high_volatility.sum() < 60
    assert 0 < derived.is_high_volume.sum() < 60


@settings(max_examples=60)
@given(st.integers(1, 119), st.frozensets(st.integers(0, 119), max_size=4))
def test_derived_columns_do_not_depend_on_where_history_is_cut(cut, missing):
    whole = received(klines(120, missing))
    together = derive(whole, Interval.M1)
    first = derive(whole[:cut], Interval.M1)
    second = derive(whole[max(0, cut - LOOKBACK) :], Interval.M1)[min(cut, LOOKBACK) :]
    assert as_tuples(first) + as_tuples(second) == as_tuples(together)


def test_turnover_rate_needs_a_supply():
    candles = received(klines(3))
    assert np.isnan(derive(candles, Interval.M1).turnover_rate).all()
    rates = derive(candles, Interval.M1, circulating_supply=1000.0).turnover_rate
    assert rates.tolist() == [volume / 1000.0 for volume in candles.columns["volume"].tolist()]


@given(st.permutations(range(12)), st.lists(st.integers(0, 11), max_size=5))
def test_order_and_repetition_do_not_matter_and_the_last_delivery_wins(order, again):
    rows = klines(12)
    revised = [[*rows[number][:4], "9.99", *rows[number][5:]] for number in again]
    candles = in_order(received([*(rows[number] for number in order), *revised]))
    assert candles.times.tolist() == [row[0] for row in rows]
    expected = [9.99 if number in again else float(rows[number][4]) for number in range(12)]
    assert candles.columns["close"].tolist() == expected


def test_only_candles_after_a_time_are_taken():
    candles = in_order(received(klines(5)), after=START + 2 * M1)
    assert candles.times.tolist() == [START + 3 * M1, START + 4 * M1]


def test_decimal_text_becomes_the_nearest_double_and_nonsense_becomes_nan():
    rows = klines(4)
    rows[0][1] = "0.1000000000000000055511151231257827"
    rows[1][1], rows[2][1], rows[3][1] = None, "n/a", "99999999999.99999999"
    opens = received(rows).columns["open"].tolist()
    assert (opens[0], opens[3]) == (0.1, float("99999999999.99999999"))
    assert math.isnan(opens[1])
    assert math.isnan(opens[2])


def test_no_rows_make_no_candles_with_the_same_columns():
    empty = received([])
    assert [(name, column.dtype) for name, column in empty.columns.items()] == [
        (name, column.dtype) for name, column in received(klines(1)).columns.items()
    ]
    assert len(derive(in_order(empty), Interval.M1)) == 0


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Auckland"])
def test_records_are_stamped_with_naive_utc(zone, monkeypatch):
    import time  # noqa: PLC0415 - only here

    monkeypatch.setenv("TZ", zone)
    time.tzset()
    derived = derive(received(klines(2)), Interval.M1)
    records = candle_records(derived, entity_id="e", provider="binance", name="BTC/USDT")
    monkeypatch.undo()
    time.tzset()
    assert records["timestamp"].astype(str).tolist() == ["2023-03-20T00:00:00.000", "2023-03-20T00:01:00.000"]
    assert records["trade_count"].dtype == np.int64
    assert "open_time" not in records


@given(
    st.lists(
        st.floats(allow_nan=False, allow_infinity=False).map(repr) | st.decimals(-(10**9), 10**9, places=8).map(str)
    )
)
def test_decimal_text_becomes_the_double_that_python_makes_of_it(texts):
    candles = received([[0, text, "1", "1", "1", "1", 0, "1", 1, "0", "0", "0"] for text in texts])
    assert [value.hex() for value in candles.columns["open"].tolist()] == [float(text).hex() for text in texts]
