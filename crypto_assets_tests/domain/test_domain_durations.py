from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_assets.domain.durations import counted, duration
from crypto_assets.domain.intervals import DAY_MS, MINUTE_MS

LENGTHS = {"day": DAY_MS, "hour": 60 * MINUTE_MS, "minute": MINUTE_MS, "second": 1000}


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 candles"), (1, "1 candle"), (2, "2 candles"), (1200, "1,200 candles")]
)
def test_numbers_are_told_with_their_noun(number, text):
    assert counted(number, "candle") == text


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (80 * MINUTE_MS, "1 hour 20 minutes"),
        (12 * DAY_MS, "12 days"),
        (DAY_MS + MINUTE_MS, "1 day 1 minute"),
        (DAY_MS + 3_600_000 + MINUTE_MS, "1 day 1 hour"),
        (1000, "1 second"),
        (999, "less than a second"),
        (0, "less than a second"),
        (timedelta(days=1, seconds=5), "1 day 5 seconds"),
        (1500 * DAY_MS, "1,500 days"),
    ],
)
def test_a_length_of_time_is_told_in_its_largest_units(length, text):
    assert duration(length) == text


def test_as_many_units_are_told_as_are_asked_for():
    length = timedelta(days=2, hours=3, minutes=4, seconds=5)
    assert duration(length, units=1) == "2 days"
    assert duration(length, units=4) == "2 days 3 hours 4 minutes 5 seconds"


@given(length=st.integers(1000, 10**12))
def test_all_units_together_are_the_length(length):
    words = duration(length, units=4).replace(",", "").split()
    told = sum(
        int(number) * LENGTHS[noun.removesuffix("s")] for number, noun in zip(words[::2], words[1::2], strict=True)
    )
    assert told == length - length % 1000
