"""What was collected, and what is owed of it."""

from __future__ import annotations

from datetime import timedelta

from crypto_assets.database.tables import TABLES
from crypto_assets.domain.entities import KDATA_TABLES
from crypto_assets.domain.intervals import Interval, parse_time
from crypto_assets.domain.spans import Span
from crypto_assets.quality.coverage import (
    claim_coverage,
    covered_partitions,
    listed_spans,
    owed_spans,
    unverify,
)
from crypto_assets_tests.quality.stored_candles import (
    BTC,
    DAY,
    ETH,
    FIVE_MINUTES,
    M5,
    PAIRS,
    START,
    STEP,
    TABLE,
    collected,
    list_again,
    list_pairs,
    naive,
    rolled_back,
    store,
    times_of,
)

COVERAGE = TABLES["crypto_kdata_coverage"]
ONE_DAY = DAY.end - DAY.start


def owed(database, *, partitions, clock, listed=None, ended=None, again=()):
    with rolled_back(database) as connection:
        list_pairs(connection, listed=listed, ended=ended)
        if again:
            list_again(connection, *again)
        for partition in partitions:
            collected(connection, Span(parse_time(partition), parse_time(partition) + ONE_DAY), clock)
        return [(each.entity_id, each.spans) for each in owed_spans(connection, PAIRS, M5)]


def test_nothing_collected_owes_nothing(quality_database):
    assert owed(quality_database, partitions=[], clock=DAY.end) == []


def test_owed_reaches_from_the_first_collected_partition_to_the_last(quality_database):
    late = parse_time("2023-06-01")
    assert owed(quality_database, partitions=["2023-03-25", "2023-03-20"], clock=late) == [
        (BTC, [Span(START, parse_time("2023-03-26"))])
    ]


def test_owed_ends_with_the_last_candle_closed_when_the_exchange_was_asked(quality_database):
    clock = parse_time("2023-03-20T12:04:59")
    assert owed(quality_database, partitions=["2023-03-20"], clock=clock) == [
        (BTC, [Span(START, parse_time("2023-03-20T12:00"))])
    ]


def test_asking_for_an_old_day_again_says_nothing_about_the_last(quality_database):
    with rolled_back(quality_database) as connection:
        list_pairs(connection)
        collected(connection, Span(DAY.start, DAY.end + ONE_DAY), parse_time("2023-03-21T12:00"))
        collected(connection, DAY, parse_time("2023-03-21T18:00"))
        [found] = owed_spans(connection, PAIRS, M5)
    assert found.spans == [Span(START, parse_time("2023-03-21T12:00"))]


def test_owed_is_cut_to_the_listing(quality_database):
    listed, ended = parse_time("2023-03-20T06:02"), parse_time("2023-03-20T18:00")
    # The first candle is the one that contains the listing.
    assert owed(quality_database, partitions=["2023-03-20"], clock=DAY.end, listed=listed, ended=ended) == [
        (BTC, [Span(parse_time("2023-03-20T06:00"), ended)])
    ]


def test_owed_is_cut_to_each_of_several_listings(quality_database):
    first = (parse_time("2023-03-20T06:02"), parse_time("2023-03-20T18:00"))
    again = (parse_time("2023-03-22T01:00"), None)
    # The dates of the symbol's own row are those of the whole.
    found = owed(
        quality_database,
        partitions=["2023-03-20", "2023-03-22"],
        clock=parse_time("2023-03-23"),
        listed=first[0],
        again=[first, again],
    )
    assert found == [(BTC, [Span(parse_time("2023-03-20T06:00"), first[1]), Span(again[0], parse_time("2023-03-23"))])]


def test_a_symbol_listed_after_what_was_collected_owes_nothing(quality_database):
    assert owed(quality_database, partitions=["2023-03-20"], clock=DAY.end, listed=parse_time("2023-04-01")) == [
        (BTC, [])
    ]


def test_listings_that_overlap_within_a_candle_are_one(quality_database):
    with rolled_back(quality_database) as connection:
        list_pairs(connection)
        list_again(connection, (START, START + 2 * STEP + 1), (START + 2 * STEP + 2, None))
        listed = listed_spans(connection, PAIRS, [BTC], M5)[BTC]
        daily = listed_spans(connection, PAIRS, [BTC], Interval.D1)[BTC]
    assert [span.start for span in listed] == [span.start for span in daily] == [START]


def test_an_entity_without_dates_is_listed_always(quality_database):
    with rolled_back(quality_database) as connection:
        list_pairs(connection, "ETH")
        listed = listed_spans(connection, PAIRS, [BTC, ETH], M5)
    assert sorted(listed) == [BTC, ETH]
    for [span] in listed.values():
        assert span.start == 0
        assert span.end > parse_time("2100-01-01")


def test_coverage_says_what_was_owed_stored_and_when_and_its_digest_follows_the_values(quality_database):
    clock = START + timedelta(hours=1) // timedelta(milliseconds=1)
    with rolled_back(quality_database) as connection:

        def verified():
            collected(connection, DAY, clock)
            return connection.execute(COVERAGE.select()).one()

        list_pairs(connection)
        digests = []
        for number in range(3):
            store(connection, [START + number * STEP])
            row = verified()
            assert (row.partition, row.level, row.expected, row.present) == ("2023-03-20", "5m", 12, number + 1)
            assert row.verified_at == naive(clock)
            digests.append(row.digest)
        assert verified().digest == digests[-1]
        connection.execute(TABLE.update().where(TABLE.c.timestamp == naive(START)).values(close=2.0))
        digests.append(verified().digest)
    assert len(set(digests)) == 4


def test_what_is_claimed_is_owed_before_it_is_stored_and_known_partitions_keep_what_is_known(quality_database):
    two_days = Span(DAY.start, DAY.end + ONE_DAY)
    with rolled_back(quality_database) as connection:
        list_pairs(connection)
        store(connection, times_of(DAY))
        collected(connection, DAY)
        before = connection.execute(COVERAGE.select()).one()
        claim_coverage(connection, PAIRS, BTC, M5, two_days, two_days.end)
        known, claimed = connection.execute(COVERAGE.select().order_by(COVERAGE.c.partition)).all()
        assert known == before
        assert (claimed.expected, claimed.present, claimed.digest) == (288, 0, "")
        assert [each.spans for each in owed_spans(connection, PAIRS, M5)] == [[two_days]]


def test_candles_without_coverage_and_symbols_of_other_kinds_are_no_coverage(quality_database):
    with rolled_back(quality_database) as connection:
        list_pairs(connection, "BTC", "ETH")
        store(connection, times_of(DAY), ETH)  # stored by somebody else
        collected(connection, DAY)
        perp = connection.execute(COVERAGE.select()).one()._asdict() | {"entity_id": "cryptoperp_binance_btcusdt"}
        connection.execute(COVERAGE.insert(), perp)
        assert [each.entity_id for each in owed_spans(connection, PAIRS, M5)] == [BTC]
        assert owed_spans(connection, PAIRS, Interval.M1) == []


def test_unverified_are_the_named_partitions_of_the_one_series(quality_database):
    two_days = Span(DAY.start, DAY.end + ONE_DAY)
    with rolled_back(quality_database) as connection:
        list_pairs(connection, "BTC", "ETH")
        for entity in (BTC, ETH):
            store(connection, times_of(two_days), entity)
            collected(connection, two_days, entity=entity)
        unverify(connection, BTC, M5, ["2023-03-21"])
        found = covered_partitions(connection, KDATA_TABLES[FIVE_MINUTES][0], M5)
    blank = [(entity, key) for entity, rows in found.items() for key, row in rows.items() if not row.digest]
    assert blank == [(BTC, "2023-03-21")]
