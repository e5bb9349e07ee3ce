"""Figures in words: shares that never flatter, lengths of time, labels of a time scale."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_assets.domain.durations import duration
from crypto_assets.domain.intervals import parse_time
from crypto_assets.report.charts import fresh_cell, month_kind
from crypto_assets.report.freshness import Freshness
from crypto_assets.report.months import Month
from crypto_assets.report.time_charts import round_times
from crypto_assets.report.wording import percent
from crypto_assets_tests.report.quality_rows import BTC, at

HOUR = 3_600_000


@given(st.integers(1, 10**12), st.integers(0, 10**12))
def test_only_what_is_whole_is_100_percent_and_only_nothing_is_0(whole, part):
    part = min(part, whole)
    assert (percent(part / whole) == "100 %") == (part == whole)
    assert (percent(part / whole) == "0.00 %") == (part == 0)


def test_shares_are_rounded_down():
    assert [percent(each) for each in (0.9999999, 0.9998, 0.5, 0.00001)] == [
        "99.99 %",
        "99.98 %",
        "50.00 %",
        "< 0.01 %",
    ]


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (80 * 60_000, "1 hour 20 minutes"),
        (60_000, "1 minute"),
        (12 * 24 * HOUR + 5000, "12 days 5 seconds"),
        (999, "less than a second"),
        (2000 * 24 * HOUR, "2,000 days"),
    ],
)
def test_a_length_of_time_has_two_units_at_most(milliseconds, text):
    assert duration(milliseconds) == text


@given(st.integers(parse_time("2010-01-01"), parse_time("2030-01-01")), st.integers(0, parse_time("1990-01-01")))
def test_a_time_scale_has_few_labels_all_within_and_in_order(first, length):
    scale = round_times(first, first + length)
    times = [time for time, _ in scale]
    assert 1 <= len(scale) <= 7
    assert times == sorted(set(times))
    assert all(first <= time <= first + length for time in times)


def test_a_time_scale_names_hours_days_months_or_years():
    def labels(first, last):
        return [text for _, text in round_times(parse_time(first), parse_time(last))]

    assert labels("2023-03-23T22:00", "2023-03-24T02:30") == ["22:00", "23:00", "24 Mar", "01:00", "02:00"]
    assert labels("2023-03-20", "2023-03-24") == ["20 Mar", "21 Mar", "22 Mar", "23 Mar", "24 Mar"]
    assert labels("2022-11-15", "2023-05-01") == ["Dec 2022", "2023", "Feb 2023", "Mar 2023", "Apr 2023", "May 2023"]
    assert labels("2018-06-01", "2023-05-01") == ["2019", "2020", "2021", "2022", "2023"]


@pytest.mark.parametrize(
    ("stored", "source", "kind"),
    [
        (1000, 0, "complete"),
        (900, 100, "source"),
        (995, 0, "missing-1"),
        (899, 100, "missing-1"),
        (950, 0, "missing-2"),
        (700, 0, "missing-3"),
        (500, 0, "missing-4"),
        (0, 0, "missing-4"),
        (0, 1000, "source"),
    ],
)
def test_the_colour_of_a_month_is_its_worst_news(stored, source, kind):
    assert month_kind(Month("2023-03", 1000, stored, source)) == kind


@pytest.mark.parametrize(
    ("lacking", "behind", "newest", "ended", "kind", "text"),
    [
        (0, 0, at("2023-04-02"), None, "fresh", "up to date"),
        (2, 120_000, at("2023-04-02"), None, "fresh", "2 minutes behind"),
        (3, 3 * HOUR, at("2023-04-02"), None, "late", "3 hours behind"),
        (72, 72 * HOUR, at("2023-04-02"), None, "stale", "3 days behind"),
        (0, 0, at("2023-04-02"), at("2023-04-02 08:30"), "ended", "ended 2 April 2023"),
        (0, 0, None, None, "stale", "nothing stored"),
    ],
)
def test_freshness_is_said_in_words(lacking, behind, newest, ended, kind, text):
    cell = fresh_cell(Freshness("cryptopair_1h_kdata", BTC, "BTC/USDT", newest, lacking, behind, ended))
    assert (cell.kind, cell.text) == (kind, text)
    assert cell.title.startswith("BTC/USDT: ")
