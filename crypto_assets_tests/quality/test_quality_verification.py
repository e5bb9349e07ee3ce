"""What a series lacks, found without reading what was verified to lack nothing."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from crypto_assets.database.archive.move import archive_candles
from crypto_assets.database.tables import CHANGES
from crypto_assets.domain.intervals import DAY_MS, parse_time
from crypto_assets.domain.spans import Span, merge
from crypto_assets.quality.gaps.holdings import Holdings
from crypto_assets.quality.gaps.missing import missing_spans
from crypto_assets_tests.counted_work import counted
from crypto_assets_tests.quality.stored_candles import (
    BTC,
    FIVE_MINUTES,
    START,
    STEP,
    TABLE,
    collected,
    list_pairs,
    naive,
    rolled_back,
    store,
    times_of,
    written,
)

AT_LEISURE = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
DAYS = Span(START, START + 4 * DAY_MS)
points = st.integers(0, 4 * 288 - 1)
spans = st.lists(st.tuples(points, st.integers(1, 1152)), min_size=1, max_size=3)


def missing(connection, spans):
    """What a plan finds missing of the one symbol."""
    return Holdings(connection, FIVE_MINUTES, [BTC]).missing({BTC: spans})[BTC]


def delete(connection, numbers):
    times = [naive(START + number * STEP) for number in numbers]
    connection.execute(TABLE.delete().where(TABLE.c.timestamp.in_(times)))


@AT_LEISURE
@given(
    never=st.frozensets(points, max_size=4),
    deleted=st.frozensets(points, max_size=3),
    moved=st.frozensets(points, max_size=3),
    unnoticed=st.frozensets(points, max_size=3),
    sought=spans,
)
def test_it_is_what_a_look_at_every_candle_finds(quality_database, never, deleted, moved, unnoticed, sought):
    wanted = merge(Span(START + at * STEP, min(START + (at + length) * STEP, DAYS.end)) for at, length in sought)
    with rolled_back(quality_database) as connection:
        list_pairs(connection)
        store(connection, [time for time in times_of(DAYS) if (time - START) // STEP not in never])
        collected(connection, DAYS)
        marked = connection.execute(select(CHANGES)).all()
        delete(connection, unnoticed)
        connection.execute(CHANGES.delete())  # as where a file was replaced: nothing tells of it
        if marked:
            connection.execute(CHANGES.insert(), [row._asdict() for row in marked])
        delete(connection, deleted)
        for number in moved:  # off the grid, so that there are as many as before
            time = START + number * STEP
            connection.execute(
                TABLE.update().where(TABLE.c.timestamp == naive(time)).values(timestamp=naive(time + 1000))
            )
        expected = [gap for span in wanted for gap in missing_spans(connection, FIVE_MINUTES, BTC, span)]
        assert [time for gap in missing(connection, wanted) for time in times_of(gap)] == [
            time for gap in expected for time in times_of(gap)
        ]


def test_days_verified_to_be_whole_are_counted_and_not_read(quality_database):
    with rolled_back(quality_database) as connection:
        list_pairs(connection)
        store(connection, times_of(DAYS))
        collected(connection, DAYS)
        with counted() as work:
            assert missing(connection, [DAYS]) == []
        assert not [statement for statement in work.statements if "lag(" in statement]
        delete(connection, [300])
        with counted() as work:
            assert missing(connection, [DAYS]) == [Span(START + 300 * STEP, START + 301 * STEP)]
        reading = [statement for statement in work.statements if "lag(" in statement]
        assert len(reading) == 2, "holes and the end of one day"


def test_what_was_moved_into_files_is_not_missing(partitioned_database, tmp_path):
    month = Span(parse_time("2023-03-01"), parse_time("2023-04-01"))
    with written(partitioned_database) as connection:
        list_pairs(connection)
        store(connection, times_of(Span(month.start, month.end + DAY_MS)))
        collected(connection, Span(month.start, month.end + DAY_MS))
    assert len(archive_candles(partitioned_database, tmp_path, FIVE_MINUTES, [(BTC, "2023-03-01")])) == 1
    with partitioned_database.connect(FIVE_MINUTES.name) as connection:
        assert missing(connection, [Span(month.start, month.end + DAY_MS)]) == []
