"""What is owed and not stored, held against sets of open times."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crypto_assets.database.archive.move import archive_candles
from crypto_assets.database.engines import open_database
from crypto_assets.database.migrations import migrate
from crypto_assets.domain.intervals import parse_time
from crypto_assets.domain.spans import Span, merge
from crypto_assets.quality.gaps.ledger import SOURCE
from crypto_assets.quality.gaps.missing import completeness, count_as_written, missing_spans
from crypto_assets.quality.retention import archivable_months
from crypto_assets_tests.quality.stored_candles import (
    BTC,
    DAY,
    ETH,
    FIVE_MINUTES,
    M5,
    START,
    STEP,
    archived,
    asked_in_vain,
    collected,
    list_pairs,
    rolled_back,
    store,
    times_of,
    written,
)

AT_LEISURE = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
numbers = st.integers(-20, 60)


def missing_times(connection, span=DAY):
    return [time for gap in missing_spans(connection, FIVE_MINUTES, BTC, span) for time in times_of(gap)]


@AT_LEISURE
@given(st.frozensets(numbers, max_size=40), numbers, st.integers(0, 60), st.integers(0, STEP - 1))
def test_missing_spans_are_the_grid_points_without_a_candle(quality_database, stored, first, length, shift):
    span = Span(START + first * STEP + shift, START + (first + length) * STEP + shift)
    with rolled_back(quality_database) as connection:
        store(connection, [START + number * STEP for number in stored])
        # Another symbol's candles fill no gap.
        store(connection, [START + number * STEP for number in range(-20, 60)], ETH)
        found = missing_spans(connection, FIVE_MINUTES, BTC, span)
        times = missing_times(connection, span)
    owed = range(M5.ceil(span.start), M5.ceil(span.end), STEP)
    assert times == [time for time in owed if (time - START) // STEP not in stored]
    assert all(left.end < right.start for left, right in pairwise(found))


@AT_LEISURE
@given(st.frozensets(st.integers(0, 287), max_size=30), st.frozensets(st.integers(0, 287), max_size=5))
def test_completeness_counts_owed_stored_and_missing_candles(quality_database, removed, off_grid):
    with rolled_back(quality_database) as connection:
        list_pairs(connection)
        store(connection, [START + number * STEP for number in range(288) if number not in removed])
        store(connection, [START + number * STEP + 1 for number in off_grid])
        collected(connection, DAY)
        [found] = completeness(connection, FIVE_MINUTES)
        assert merge(gap.span for gap in found.gaps) == missing_spans(connection, FIVE_MINUTES, BTC, DAY)
    assert (found.entity_id, found.expected, found.present) == (BTC, 288, 288 - len(removed))
    assert found.missing == len(removed) == sum(M5.count(*gap.span) for gap in found.gaps)
    assert (found.absent, found.source) == (0, [])


def test_what_the_exchange_has_none_of_lowers_no_percentage(quality_database):
    hole = Span(START + 10 * STEP, START + 30 * STEP)
    with rolled_back(quality_database) as connection:
        list_pairs(connection)
        store(connection, [time for time in times_of(DAY) if not hole.start <= time < hole.end and time != START])
        collected(connection, DAY)
        asked_in_vain(connection, hole)
        [found] = completeness(connection, FIVE_MINUTES)
    assert [(gap.span, gap.status) for gap in found.source] == [(hole, SOURCE)]
    assert [gap.span for gap in found.gaps] == [Span(START, START + STEP)]
    assert (found.expected, found.present, found.missing, found.absent) == (288, 267, 1, 20)
    assert found.percent == 100 * 267 / 268


def test_nothing_existing_is_complete(quality_database):
    with rolled_back(quality_database) as connection:
        list_pairs(connection, listed=parse_time("2023-04-01"))
        collected(connection, DAY)
        [found] = completeness(connection, FIVE_MINUTES)
    assert (found.expected, found.owed, found.percent) == (0, [], 100.0)


def test_one_instant_written_twice_counts_once(quality_database):
    with rolled_back(quality_database) as connection:
        list_pairs(connection)
        store(connection, [START + number * STEP for number in range(287)])
        connection.exec_driver_sql(
            "INSERT INTO cryptopair_5m_kdata (entity_id, provider, name, timestamp, open)"
            f" VALUES ('{BTC}', 'binance', 'BTC/USDT', '2023-03-20T10:00:00.000000', 1.0)"
        )
        collected(connection, DAY)
        [found] = completeness(connection, FIVE_MINUTES)
        assert count_as_written(connection, FIVE_MINUTES, BTC, DAY) == 287
    assert (found.present, found.missing) == (287, 1)
    assert [gap.span for gap in found.gaps] == [Span(START + 287 * STEP, DAY.end)]


@AT_LEISURE
@given(st.frozensets(st.integers(0, 287), max_size=30), st.integers(0, 287), st.integers(1, 288))
def test_archived_candles_are_present(quality_database, removed, first, length):
    in_archive = range(first, min(first + length, 288))
    with rolled_back(quality_database) as connection:
        list_pairs(connection)
        store(connection, [START + number * STEP for number in range(288) if number not in removed])
        archived(connection, Span(START + in_archive.start * STEP, START + in_archive.stop * STEP))
        collected(connection, DAY)
        [found] = completeness(connection, FIVE_MINUTES)
        times = missing_times(connection)
    lacking = sorted(removed - set(in_archive))
    assert [(time - START) // STEP for time in times] == lacking
    assert [time for gap in found.gaps for time in times_of(gap.span)] == times
    assert found.present == 288 - len(lacking)


def test_an_archived_month_that_lacks_a_candle_is_asked_for_again(quality_database):
    with rolled_back(quality_database) as connection:
        archived(connection, DAY, rows=287)
        assert missing_spans(connection, FIVE_MINUTES, BTC, DAY) == [DAY]


def test_what_was_archived_is_neither_missing_nor_archivable_again(tmp_path):
    database = open_database(f"sqlite:///{tmp_path}", "testnet")
    migrate(database, ["crypto_meta", "crypto_quality", FIVE_MINUTES.name])
    days = Span(parse_time("2023-02-26"), parse_time("2023-04-03"))
    with written(database) as connection:
        list_pairs(connection)
        store(connection, times_of(days))
        collected(connection, days)
    with database.connect(FIVE_MINUTES.name) as connection:
        months = archivable_months(connection, FIVE_MINUTES, days.end)
    assert len(archive_candles(database, tmp_path / "archive", FIVE_MINUTES, months)) == 2
    with database.connect(FIVE_MINUTES.name) as connection:
        [found] = completeness(connection, FIVE_MINUTES)
        assert (found.expected, found.missing) == (36 * 288, 0)
        assert [missing_spans(connection, FIVE_MINUTES, BTC, each) for each in found.owed] == [[]]
        assert archivable_months(connection, FIVE_MINUTES, days.end) == []
    database.dispose()
