"""Which archive files cover a span: their names, when they can be expected, and that nothing is covered twice."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import DAY_MS, MINUTE_MS, Interval, parse_time
from crypto_assets.domain.spans import Span, merge, subtract
from crypto_assets.exchange.binance.archive_files import ArchiveFile, archive_files

SPOT, SWAP = MarketType.SPOT, MarketType.SWAP


def span(start: str, end: str) -> Span:
    return Span(parse_time(start), parse_time(end))


def periods(asked: Span, clock: str) -> list[str]:
    return [file.period for file in archive_files(SPOT, "BTCUSDT", Interval.M1, asked, parse_time(clock))]


def test_a_file_is_named_and_placed_as_binance_does():
    month = ArchiveFile(SPOT, "BTCUSDT", Interval.M1, "2023-03")
    assert month.name == "BTCUSDT-1m-2023-03.zip"
    assert month.path == "/data/spot/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2023-03.zip"
    assert month.span == span("2023-03-01", "2023-04-01")
    day = ArchiveFile(SWAP, "1000PEPEUSDT", Interval.H4, "2024-02-29")
    assert day.path == "/data/futures/um/daily/klines/1000PEPEUSDT/4h/1000PEPEUSDT-4h-2024-02-29.zip"
    assert day.span == span("2024-02-29", "2024-03-01")


def test_whole_months_come_monthly_and_the_days_left_daily():
    found = periods(span("2023-01-30T12:00", "2023-04-03T00:01"), "2024-01-01")
    assert found == ["2023-01-31", "2023-02", "2023-03", "2023-04-01", "2023-04-02"]
    assert periods(span("2023-01-30T00:01", "2023-01-30T23:59"), "2024-01-01") == []
    assert periods(span("2023-02-01", "2023-01-01"), "2024-01-01") == []


@pytest.mark.parametrize(
    ("clock", "first", "last", "count"),
    [
        ("2023-04-01T23:59", "2023-03-01", "2023-03-30", 30),
        # 2023-04-03 was the first Monday of April; all of it is allowed for the upload of March.
        ("2023-04-03T23:59", "2023-03-01", "2023-04-01", 32),
        ("2023-04-04T00:00", "2023-03", "2023-04-02", 3),
    ],
)
def test_a_file_is_expected_when_binance_has_had_time_to_publish_it(clock, first, last, count):
    found = periods(span("2023-03-01", "2023-05-01"), clock)
    assert (found[0], found[-1], len(found)) == (first, last, count)


moments = st.integers(parse_time("2019-11-01") // MINUTE_MS, parse_time("2020-05-01") // MINUTE_MS)


@settings(max_examples=200)
@given(moments, moments, st.integers(-3 * DAY_MS, 60 * DAY_MS), st.sampled_from(Interval))
def test_files_are_disjoint_lie_inside_and_leave_the_rest_exactly(one, other, since_end, interval):
    asked = Span(min(one, other) * MINUTE_MS, max(one, other) * MINUTE_MS)
    clock = asked.end + since_end
    files = archive_files(SPOT, "BTCUSDT", interval, asked, clock)
    covered = [file.span for file in files]
    assert covered == sorted(covered)
    assert all(before.end <= after.start for before, after in pairwise(covered))
    assert all(asked.start <= each.start and each.end <= asked.end for each in covered)
    assert all(each.end + DAY_MS <= clock for each in covered)
    rest = subtract([asked], covered)
    assert merge([*covered, *rest]) == merge([asked])
    assert sum(each.end - each.start for each in [*covered, *rest]) == max(0, asked.end - asked.start)
    # What is left to REST holds no whole day that has been over for two days.
    for left in rest:
        first_day = -(-left.start // DAY_MS) * DAY_MS
        assert min(left.end, clock - 2 * DAY_MS) < first_day + DAY_MS
