"""What is owed and not stored, held against sets of open times."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert

from crypto_assets.database.archive_manifest import ArchivedMonth, record_month
from crypto_assets.database.archives import archive_candles
from crypto_assets.database.engines import open_database
from crypto_assets.database.migrations import migrate
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.intervals import Interval, parse_time, to_datetime
from crypto_assets.domain.spans import Span
from crypto_assets.quality.coverage import listed_span, owed_spans, record_coverage, verified_coverage
from crypto_assets.quality.gaps import completeness, missing_spans
from crypto_assets.quality.retention import archivable_months

TABLE = TABLES["cryptopair_5m_kdata"]
PAIRS = TABLES["crypto_pair"]
BTC = "cryptopair_binance_btcusdt"
M5 = Interval.M5
STEP = M5.milliseconds
START = parse_time("2023-03-20")
DAY = Span(START, parse_time("2023-03-21"))
AT_LEISURE = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@contextmanager
def rolled_back(database):
    """A connection whose writes nobody else ever sees."""
    with database.connect(TABLE.name) as connection:
        yield connection


def naive(time: int):
    return to_datetime(time).replace(tzinfo=None)


def store(connection, times, entity=BTC):
    rows = [
        {
            "entity_id": entity,
            "provider": "binance",
            "name": "BTC/USDT",
            "timestamp": naive(time),
            **dict.fromkeys(("open", "high", "low", "close", "volume", "volume_quote"), 1.0),
            "trade_count": 1,
        }
        for time in times
    ]
    if rows:
        connection.execute(insert(TABLE), rows)


def list_pair(connection, entity=BTC, listed=None, ended=None):
    for currency in ("btc", "usdt"):
        connection.execute(
            insert(TABLES["crypto_asset"]).prefix_with("OR IGNORE"),
            {
                "id": f"crypto_binance_{currency}",
                "entity_id": f"crypto_binance_{currency}",
                "entity_type": "crypto",
                "exchange": "binance",
                "code": currency,
                "name": currency.upper(),
                "symbol": currency.upper(),
                "timestamp": naive(START),
            },
        )
    connection.execute(
        insert(PAIRS),
        {
            "id": entity,
            "entity_id": entity,
            "entity_type": "cryptopair",
            "exchange": "binance",
            "code": entity.rsplit("_", 1)[1],
            "name": entity,
            "timestamp": naive(START),
            "base_symbol": "BTC",
            "quote_symbol": "USDT",
            "base_asset_id": "crypto_binance_btc",
            "quote_asset_id": "crypto_binance_usdt",
            "price_step": 0.01,
            "qty_step": 0.01,
            "list_date": listed and naive(listed),
            "end_date": ended and naive(ended),
        },
    )


numbers = st.integers(-20, 60)


@AT_LEISURE
@given(st.frozensets(numbers, max_size=40), numbers, st.integers(0, 60), st.integers(0, STEP - 1))
def test_missing_spans_are_the_grid_points_without_a_candle(quality_database, stored, first, length, shift):
    span = Span(START + first * STEP + shift, START + (first + length) * STEP + shift)
    with rolled_back(quality_database) as connection:
        store(connection, [START + number * STEP for number in stored])
        # Another symbol's candles fill no gap.
        store(connection, [START + number * STEP for number in range(-20, 60)], "cryptopair_binance_ethusdt")
        found = missing_spans(connection, TABLE, BTC, M5, span)
    times = [time for gap in found for time in range(gap.start, gap.end, STEP)]
    owed = range(M5.ceil(span.start), M5.ceil(span.end), STEP)
    assert times == [time for time in owed if (time - START) // STEP not in stored]
    assert all(left.end < right.start for left, right in pairwise(found))


@AT_LEISURE
@given(st.frozensets(st.integers(0, 287), max_size=30), st.frozensets(st.integers(0, 287), max_size=5))
def test_completeness_counts_owed_stored_and_missing_candles(quality_database, removed, off_grid):
    with rolled_back(quality_database) as connection:
        list_pair(connection)
        store(connection, [START + number * STEP for number in range(288) if number not in removed])
        store(connection, [START + number * STEP + 1 for number in off_grid])
        record_coverage(connection, verified_coverage(connection, TABLE, PAIRS, BTC, M5, DAY, DAY.end))
        [found] = completeness(connection, TABLE, PAIRS, M5)
    assert (found.entity_id, found.expected, found.present) == (BTC, 288, 288 - len(removed))
    assert found.missing == len(removed) == sum(M5.count(*gap) for gap in found.gaps)


def test_one_instant_written_twice_counts_once(quality_database):
    with rolled_back(quality_database) as connection:
        list_pair(connection)
        store(connection, [START + number * STEP for number in range(287)])
        connection.exec_driver_sql(
            "INSERT INTO cryptopair_5m_kdata (entity_id, provider, name, timestamp, open)"
            f" VALUES ('{BTC}', 'binance', 'BTC/USDT', '2023-03-20T10:00:00.000000', 1.0)"
        )
        record_coverage(connection, verified_coverage(connection, TABLE, PAIRS, BTC, M5, DAY, DAY.end))
        [found] = completeness(connection, TABLE, PAIRS, M5)
    assert (found.present, found.missing) == (287, 1)
    assert found.gaps == [Span(START + 287 * STEP, DAY.end)]


def owed(database, *, partitions, clock, listed=None, ended=None):
    with rolled_back(database) as connection:
        list_pair(connection, listed=listed, ended=ended)
        for partition in partitions:
            span = Span(parse_time(partition), parse_time(partition) + DAY.end - DAY.start)
            record_coverage(connection, verified_coverage(connection, TABLE, PAIRS, BTC, M5, span, clock))
        return [each.span for each in owed_spans(connection, PAIRS, M5)]


def test_nothing_collected_owes_nothing(quality_database):
    assert owed(quality_database, partitions=[], clock=DAY.end) == []


def test_owed_reaches_from_the_first_collected_partition_to_the_last(quality_database):
    late = parse_time("2023-06-01")
    assert owed(quality_database, partitions=["2023-03-25", "2023-03-20"], clock=late) == [
        Span(START, parse_time("2023-03-26"))
    ]


def test_owed_ends_with_the_last_candle_closed_when_the_exchange_was_asked(quality_database):
    clock = parse_time("2023-03-20T12:04:59")
    assert owed(quality_database, partitions=["2023-03-20"], clock=clock) == [
        Span(START, parse_time("2023-03-20T12:00"))
    ]


def test_owed_is_cut_to_the_listing(quality_database):
    listed, ended = parse_time("2023-03-20T06:02"), parse_time("2023-03-20T18:00")
    # The first candle is the one that contains the listing.
    assert owed(quality_database, partitions=["2023-03-20"], clock=DAY.end, listed=listed, ended=ended) == [
        Span(parse_time("2023-03-20T06:00"), ended)
    ]


def test_a_symbol_listed_after_what_was_collected_owes_nothing(quality_database):
    [span] = owed(quality_database, partitions=["2023-03-20"], clock=DAY.end, listed=parse_time("2023-04-01"))
    assert M5.count(*span) == 0


def test_an_entity_without_dates_is_listed_always(quality_database):
    with rolled_back(quality_database) as connection:
        span = listed_span(connection, PAIRS, "cryptopair_binance_unknown", M5)
    assert span.start == 0
    assert span.end > parse_time("2100-01-01")


def test_coverage_says_what_was_owed_stored_and_when_and_its_digest_follows_the_values(quality_database):
    coverage = TABLES["crypto_kdata_coverage"]
    with rolled_back(quality_database) as connection:
        list_pair(connection)
        digests = []
        for number in range(3):
            store(connection, [START + number * STEP])
            clock = START + timedelta(hours=1) // timedelta(milliseconds=1)
            record_coverage(connection, verified_coverage(connection, TABLE, PAIRS, BTC, M5, DAY, clock))
            row = connection.execute(coverage.select()).one()
            assert (row.partition, row.level, row.expected, row.present) == ("2023-03-20", "5m", 12, number + 1)
            assert row.verified_at == naive(clock)
            digests.append(row.digest)
        record_coverage(connection, verified_coverage(connection, TABLE, PAIRS, BTC, M5, DAY, clock))
        assert connection.execute(coverage.select()).one().digest == digests[-1]
        connection.execute(TABLE.update().where(TABLE.c.timestamp == naive(START)).values(close=2.0))
        record_coverage(connection, verified_coverage(connection, TABLE, PAIRS, BTC, M5, DAY, clock))
        digests.append(connection.execute(coverage.select()).one().digest)
    assert len(set(digests)) == 4


def archived(connection, span, rows=None):
    """Notes the candles of `span` as archived."""
    count = M5.count(*span) if rows is None else rows
    month = ArchivedMonth(BTC, "2023-03-01", "x", count, 1, naive(span.start), naive(span.end - STEP), "x")
    record_month(connection, TABLE, "binance", month)


@AT_LEISURE
@given(st.frozensets(st.integers(0, 287), max_size=30), st.integers(0, 287), st.integers(1, 288))
def test_archived_candles_are_present(quality_database, removed, first, length):
    in_archive = range(first, min(first + length, 288))
    with rolled_back(quality_database) as connection:
        list_pair(connection)
        store(connection, [START + number * STEP for number in range(288) if number not in removed])
        record_coverage(connection, verified_coverage(connection, TABLE, PAIRS, BTC, M5, DAY, DAY.end))
        archived(connection, Span(START + in_archive.start * STEP, START + in_archive.stop * STEP))
        [found] = completeness(connection, TABLE, PAIRS, M5)
        gaps = missing_spans(connection, TABLE, BTC, M5, DAY)
    lacking = sorted(removed - set(in_archive))
    assert (found.present, found.gaps) == (288 - len(lacking), gaps)
    times = [(time - START) // STEP for gap in gaps for time in range(gap.start, gap.end, STEP)]
    assert times == lacking


def test_an_archived_month_that_lacks_a_candle_is_asked_for_again(quality_database):
    with rolled_back(quality_database) as connection:
        archived(connection, DAY, rows=287)
        assert missing_spans(connection, TABLE, BTC, M5, DAY) == [DAY]


def archivable(connection, before):
    return archivable_months(connection, TABLE, PAIRS, M5, parse_time(before))


def collected(connection, first, end, *, removed=(), listed=None):
    """Stores and notes the days from `first` to `end`, the day after the last."""
    span = Span(parse_time(first), parse_time(end))
    list_pair(connection, listed=listed)
    begin = span.start if listed is None else M5.floor(listed)
    store(connection, [time for time in range(begin, span.end, STEP) if time not in removed])
    record_coverage(connection, verified_coverage(connection, TABLE, PAIRS, BTC, M5, span, span.end))


def test_months_are_archivable_when_they_are_old_and_whole(quality_database):
    with rolled_back(quality_database) as connection:
        collected(connection, "2023-02-26", "2023-04-03", removed=[parse_time("2023-03-15T10:00")])
        assert archivable(connection, "2023-02-28T23:59") == []
        assert archivable(connection, "2023-04-30") == [(BTC, "2023-02-01")]
        store(connection, [parse_time("2023-03-15T10:00")])
        assert archivable(connection, "2023-04-30") == [(BTC, "2023-02-01"), (BTC, "2023-03-01")]


def test_the_month_of_a_listing_is_whole_from_there_on(quality_database):
    with rolled_back(quality_database) as connection:
        collected(connection, "2023-03-01", "2023-04-01", listed=parse_time("2023-03-30T06:02"))
        assert archivable(connection, "2023-04-01") == [(BTC, "2023-03-01")]


def test_a_month_with_a_row_that_is_not_owed_stays(quality_database):
    with rolled_back(quality_database) as connection:
        collected(connection, "2023-03-30", "2023-04-01")
        store(connection, [parse_time("2023-03-30") + 1])
        assert archivable(connection, "2023-04-01") == []


def test_a_month_in_which_a_candle_was_stored_since_it_was_archived_is_archivable_again(quality_database):
    with rolled_back(quality_database) as connection:
        collected(connection, "2023-03-30", "2023-04-01")
        archived(connection, Span(parse_time("2023-03-30"), parse_time("2023-04-01")))
        connection.execute(TABLE.delete())
        assert archivable(connection, "2023-04-01") == []
        store(connection, [parse_time("2023-03-31")])
        assert archivable(connection, "2023-04-01") == [(BTC, "2023-03-01")]


def test_what_was_archived_is_neither_missing_nor_archivable_again(tmp_path):
    database = open_database(f"sqlite:///{tmp_path}", "testnet")
    migrate(database, ["crypto_meta", "crypto_quality", TABLE.name])
    with database.begin(TABLE.name, also=["crypto_meta", "crypto_quality"]) as connection:
        collected(connection, "2023-02-26", "2023-04-03")
    with database.connect(TABLE.name) as connection:
        months = archivable(connection, "2023-04-03")
    assert len(archive_candles(database, tmp_path / "archive", TABLE.name, months)) == 2
    with database.connect(TABLE.name) as connection:
        [found] = completeness(connection, TABLE, PAIRS, M5)
        assert (found.expected, found.missing) == (36 * 288, 0)
        assert missing_spans(connection, TABLE, BTC, M5, found.owed) == []
        assert archivable(connection, "2023-04-03") == []
    database.dispose()
