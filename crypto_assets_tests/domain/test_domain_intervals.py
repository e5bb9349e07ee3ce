"""The grid of each interval, and the partitions it is cut into."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_assets.domain.intervals import (
    DAY_MS,
    Interval,
    PartitionScheme,
    format_time,
    naive_utc,
    parse_time,
    partition_key,
    partition_keys,
    partition_span,
    to_datetime,
    to_milliseconds,
    to_naive,
)
from crypto_assets.domain.spans import Span

times = st.integers(0, parse_time("2100-01-01"))
near = st.integers(0, 3 * DAY_MS)
intervals = st.sampled_from(list(Interval))
schemes = st.sampled_from(list(PartitionScheme))


def test_lengths_are_those_of_their_names():
    minutes = {interval.value: interval.milliseconds // 60_000 for interval in Interval}
    assert minutes == {"1m": 1, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "4h": 240, "1d": 1440}


def test_minutes_are_cut_by_day_and_the_rest_by_month():
    daily = {interval.value for interval in Interval if interval.partition_scheme is PartitionScheme.DAILY}
    assert daily == {"1m", "5m"}


@given(intervals, times)
def test_floor_and_ceil_are_the_grid_points_around_a_time(interval, time):
    floor, ceil = interval.floor(time), interval.ceil(time)
    assert floor <= time <= ceil
    assert interval.on_grid(floor)
    assert interval.on_grid(ceil)
    assert ceil - floor == (0 if interval.on_grid(time) else interval.milliseconds)


@given(intervals, near, near)
def test_count_is_the_number_of_grid_points(interval, start, end):
    step = interval.milliseconds
    assert interval.count(start, end) == sum(start <= point < end for point in range(0, 4 * DAY_MS, step))


@given(intervals, times)
def test_a_candle_is_closed_when_its_last_millisecond_has_passed(interval, clock):
    closed = interval.closed_before(clock)
    last = closed - interval.milliseconds
    assert last + interval.milliseconds - 1 < clock or last < 0
    assert closed + interval.milliseconds - 1 >= clock


@given(schemes, times)
def test_the_partition_of_a_time_contains_it_and_is_named_by_its_first_day(scheme, time):
    key = partition_key(scheme, time)
    start, end = partition_span(scheme, key)
    assert start <= time < end
    assert key == to_datetime(start).strftime("%Y-%m-%d")
    assert partition_key(scheme, end) != key
    assert partition_key(scheme, end - 1) == key


@given(schemes, times, st.integers(0, 200 * DAY_MS))
def test_partitions_of_a_span_cover_it_without_gap_or_overlap(scheme, start, length):
    keys = partition_keys(scheme, start, start + length)
    parts = [partition_span(scheme, key) for key in keys]
    assert all(left[1] == right[0] for left, right in pairwise(parts))
    if length:
        assert parts[0][0] <= start < parts[0][1]
        assert parts[-1][0] < start + length <= parts[-1][1]
    else:
        assert keys == []


@given(intervals, st.integers(parse_time("2017-01-01"), parse_time("2040-01-01")))
def test_a_partition_holds_whole_candles(interval, time):
    start, end = partition_span(interval.partition_scheme, partition_key(interval.partition_scheme, time))
    assert interval.on_grid(start)
    assert interval.on_grid(end)
    assert 28 <= interval.count(start, end) <= 2976


def test_the_span_of_a_partition_is_a_span():
    april = partition_span(PartitionScheme.MONTHLY, "2023-04-01")
    assert april.intersect(Span(0, april.start + DAY_MS)) == Span(april.start, april.start + DAY_MS)


@given(times)
def test_a_naive_time_means_the_same_time_in_utc(time):
    assert to_naive(time).replace(tzinfo=UTC) == to_datetime(time)
    assert to_milliseconds(to_naive(time)) == time


def test_months_have_their_real_lengths():
    lengths = [partition_span(PartitionScheme.MONTHLY, f"2024-{month:02d}-01") for month in (1, 2, 4, 12)]
    assert [(end - start) // DAY_MS for start, end in lengths] == [31, 29, 30, 31]


@given(times)
def test_times_survive_every_way_of_writing_them(time):
    assert to_milliseconds(to_datetime(time)) == time
    assert parse_time(format_time(time)) == time
    assert parse_time(to_datetime(time).isoformat()) == time


def test_a_naive_time_is_utc_and_an_aware_one_is_converted():
    assert to_milliseconds(datetime(2023, 3, 20)) == 1_679_270_400_000  # noqa: DTZ001 - that is the point
    assert to_milliseconds(datetime(2023, 3, 20, 5, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))) == (
        to_milliseconds(datetime(2023, 3, 20, tzinfo=UTC))
    )
    assert parse_time("2023-03-20T01:00+01:00") == parse_time("2023-03-20")


def test_times_are_shown_no_more_precisely_than_they_are():
    assert format_time(parse_time("2023-03-24T12:40")) == "2023-03-24 12:40"
    assert format_time(parse_time("2023-03-24T12:40:05")) == "2023-03-24 12:40:05"
    assert format_time(parse_time("2023-03-24T12:40:05") + 7) == "2023-03-24 12:40:05.007"


@pytest.mark.parametrize("text", ["20230324", "2023-W12", "yesterday", "", "2023-02-30", "2023-03-24T25:00"])
def test_what_is_no_iso_time_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="is not an ISO date or time such as 2023-03-24 or"):
        parse_time(text)


def test_a_moment_of_any_zone_is_held_as_naive_utc():
    in_india = datetime(2024, 8, 1, 5, 30, 0, 1, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert naive_utc(in_india) == datetime(2024, 8, 1, 0, 0, 0, 1)  # noqa: DTZ001 - as the databases hold it
    assert naive_utc(naive_utc(in_india)) == naive_utc(in_india)
