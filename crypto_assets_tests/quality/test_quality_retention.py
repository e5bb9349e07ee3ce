"""Which months may be archived."""

from __future__ import annotations

from crypto_assets.domain.intervals import parse_time
from crypto_assets.domain.spans import Span
from crypto_assets.quality.retention import archivable_months
from crypto_assets_tests.quality.stored_candles import (
    BTC,
    FIVE_MINUTES,
    M5,
    TABLE,
    archived,
    asked_in_vain,
    collected,
    list_again,
    list_pairs,
    rolled_back,
    store,
    times_of,
)


def archivable(connection, before):
    return archivable_months(connection, FIVE_MINUTES, parse_time(before))


def stored_and_collected(connection, first, end, *, removed=(), listed=None):
    """Stores and notes the days from `first` to `end`, the day after the last."""
    span = Span(parse_time(first), parse_time(end))
    list_pairs(connection, listed=listed)
    begin = span.start if listed is None else M5.floor(listed)
    store(connection, [time for time in times_of(Span(begin, span.end)) if time not in removed])
    collected(connection, span)


def test_months_are_archivable_when_they_are_old_and_whole(quality_database):
    with rolled_back(quality_database) as connection:
        stored_and_collected(connection, "2023-02-26", "2023-04-03", removed=[parse_time("2023-03-15T10:00")])
        assert archivable(connection, "2023-02-28T23:59") == []
        assert archivable(connection, "2023-04-30") == [(BTC, "2023-02-01")]
        store(connection, [parse_time("2023-03-15T10:00")])
        assert archivable(connection, "2023-04-30") == [(BTC, "2023-02-01"), (BTC, "2023-03-01")]


def test_the_month_of_a_listing_is_whole_from_there_on(quality_database):
    with rolled_back(quality_database) as connection:
        stored_and_collected(connection, "2023-03-01", "2023-04-01", listed=parse_time("2023-03-30T06:02"))
        assert archivable(connection, "2023-04-01") == [(BTC, "2023-03-01")]


def test_a_month_between_two_listings_is_whole_without_the_days_between(quality_database):
    listed = [(parse_time("2023-03-29"), parse_time("2023-03-30")), (parse_time("2023-03-31"), None)]
    with rolled_back(quality_database) as connection:
        list_pairs(connection)
        list_again(connection, *listed)
        store(connection, times_of(Span(*listed[0])))
        store(connection, times_of(Span(listed[1][0], parse_time("2023-04-01"))))
        collected(connection, Span(parse_time("2023-03-29"), parse_time("2023-04-01")))
        assert archivable(connection, "2023-04-01") == [(BTC, "2023-03-01")]
        store(connection, [parse_time("2023-03-30T12:00")])  # not owed
        assert archivable(connection, "2023-04-01") == []


def test_a_month_with_a_row_that_is_not_owed_stays(quality_database):
    with rolled_back(quality_database) as connection:
        stored_and_collected(connection, "2023-03-30", "2023-04-01")
        store(connection, [parse_time("2023-03-30") + 1])
        assert archivable(connection, "2023-04-01") == []


def test_a_month_in_which_the_exchange_has_no_candles_stays(quality_database):
    hole = Span(parse_time("2023-03-30T10:00"), parse_time("2023-03-30T11:00"))
    with rolled_back(quality_database) as connection:
        stored_and_collected(connection, "2023-03-30", "2023-04-01", removed=times_of(hole))
        asked_in_vain(connection, hole)
        assert archivable(connection, "2023-04-01") == []


def test_a_month_in_which_a_candle_was_stored_since_it_was_archived_is_archivable_again(quality_database):
    with rolled_back(quality_database) as connection:
        stored_and_collected(connection, "2023-03-30", "2023-04-01")
        archived(connection, Span(parse_time("2023-03-30"), parse_time("2023-04-01")))
        connection.execute(TABLE.delete())
        assert archivable(connection, "2023-04-01") == []
        store(connection, [parse_time("2023-03-31")])
        assert archivable(connection, "2023-04-01") == [(BTC, "2023-03-01")]
