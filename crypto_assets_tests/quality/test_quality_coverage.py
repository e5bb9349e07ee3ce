"""What was collected, and what is owed of it."""

from __future__ import annotations

from datetime import timedelta

from crypto_assets.database.tables import TABLES
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import Interval, parse_time
from crypto_assets.domain.series import CandleTable
from crypto_assets.domain.spans import Span
from crypto_assets.quality.gaps.coverage import (
    claim_coverage,
    covered_partitions,
    listed_spans,
    owed_spans,
    unverify,
)
from crypto_assets_tests.counted_work import counted
from crypto_assets_tests.quality.stored_candles import (
    BTC,
    DAY,
    ETH,
    FIVE_MINUTES,
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
        return [(each.entity_id, each.spans) for each in owed_spans(connection, FIVE_MINUTES)]


def test_nothing_collected_owes_nothing(quality_database):
    assert owed(quality_database, partitions=[], clock=DAY.end) == []


def test_owed_reaches_from_the_first_collected_partition_to_the_last(quality_database):
    late = parse_time("2023-06-01")
    assert owed(quality_database, partitions=["2023-03-25", "2023-03-20"], clock=late) == [
        (BTC, [Span(START, parse_time("2023-03-26"))])
    ]


def test_one_old_partition_owes_itself_and_the_years_between_wait_for_a_decision(quality_database):
    with rolled_back(quality_database) as connection:
        list_pairs(connection)
        collected(connection, Span(START, START + 3 * ONE_DAY), parse_time("2023-03-22T12:00"))
        old = parse_time("2018-01-01")
        collected(connection, Span(old, old + ONE_DAY), parse_time("2023-03-22T12:30"))
        [found] = owed_spans(connection, FIVE_MINUTES)
    # Each run ends at the clock of its own last partition.
    assert found.spans == [Span(old, old + ONE_DAY), Span(START, parse_time("2023-03-22T12:00"))]
    assert found.waiting == [Span(old + ONE_DAY, START)]
    assert found.left == []


def test_a_hole_as_long_as_the_setting_is_owed_and_a_longer_one_waits(quality_database):
    with rolled_back(quality_database) as connection:
        list_pairs(connection)
        for day in (0, 4):
            start = START + day * ONE_DAY
            collected(connection, Span(start, start + ONE_DAY), parse_time("2023-06-01"))
        [owed_by_itself] = owed_spans(connection, FIVE_MINUTES, longest_hole=timedelta(days=3))
        [waits] = owed_spans(connection, FIVE_MINUTES, longest_hole=timedelta(days=3) - timedelta(milliseconds=1))
    assert owed_by_itself.spans == [Span(START, START + 5 * ONE_DAY)]
    assert waits.waiting == [Span(START + ONE_DAY, START + 4 * ONE_DAY)]


def test_a_partition_asked_for_while_it_ran_ends_its_run_there_before_a_long_hole(quality_database):
    with rolled_back(quality_database) as connection:
        list_pairs(connection)
        collected(connection, DAY, parse_time("2023-03-20T06:00"))
        late = parse_time("2023-06-01")
        collected(connection, Span(late, late + ONE_DAY), late + ONE_DAY)
        [found] = owed_spans(connection, FIVE_MINUTES)
    assert found.spans == [Span(START, parse_time("2023-03-20T06:00")), Span(late, late + ONE_DAY)]
    assert found.waiting == [Span(parse_time("2023-03-20T06:00"), late)]


def test_a_partition_that_has_not_come_owes_nothing_and_opens_no_hole_beyond_the_clock(quality_database):
    clock = parse_time("2023-03-21T12:00")
    with rolled_back(quality_database) as connection:
        list_pairs(connection)
        collected(connection, DAY, clock)
        far = parse_time("2030-01-01")
        collected(connection, Span(far, far + ONE_DAY), clock)
        [found] = owed_spans(connection, FIVE_MINUTES)
    assert (found.spans, found.waiting) == ([Span(START, clock)], [])


def test_months_are_neighbours_as_days_are(quality_database):
    with rolled_back(quality_database) as connection:
        list_pairs(connection)
        for first, end in (("2022-11-01", "2023-02-01"), ("2023-05-01", "2023-06-01")):
            span = Span(parse_time(first), parse_time(end))
            claim_coverage(connection, CandleTable(MarketType.SPOT, Interval.H1), BTC, span, parse_time("2023-06-15"))
        [found] = owed_spans(connection, CandleTable(MarketType.SPOT, Interval.H1))
    assert found.waiting == [Span(parse_time("2023-02-01"), parse_time("2023-05-01"))]


def test_what_is_owed_does_not_depend_on_the_order_of_collection(quality_database):
    days = [START + number * ONE_DAY for number in (0, 1, 5, 20, 21, 40)]
    found = []
    for order in (days, days[::-1], days[3:] + days[:3]):
        with rolled_back(quality_database) as connection:
            list_pairs(connection)
            for start in order:
                collected(connection, Span(start, start + ONE_DAY), parse_time("2023-06-01"))
            found += owed_spans(connection, FIVE_MINUTES)
    assert found[0].spans == [
        Span(START, START + 6 * ONE_DAY),
        *(Span(START + first * ONE_DAY, START + end * ONE_DAY) for first, end in ((20, 22), (40, 41))),
    ]
    assert found[0] == found[1] == found[2]


def test_what_all_symbols_owe_takes_as_many_statements_as_what_one_owes(quality_database):
    def statements(bases):
        with rolled_back(quality_database) as connection:
            list_pairs(connection, *bases)
            for base in bases:
                for day in (0, 30):
                    start = START + day * ONE_DAY
                    entity = f"cryptopair_binance_{base.lower()}usdt"
                    collected(connection, Span(start, start + ONE_DAY), parse_time("2023-06-01"), entity=entity)
            with counted() as work:
                assert len(owed_spans(connection, FIVE_MINUTES)) == len(bases)
        return len(work.statements)

    assert statements(["BTC"]) == statements(["BTC", "ETH", "SOL", "XRP"])


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
        [found] = owed_spans(connection, FIVE_MINUTES)
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
        listed = listed_spans(connection, FIVE_MINUTES, [BTC])[BTC]
        daily = listed_spans(connection, CandleTable(MarketType.SPOT, Interval.D1), [BTC])[BTC]
    assert [span.start for span in listed] == [span.start for span in daily] == [START]


def test_an_entity_without_dates_is_listed_always(quality_database):
    with rolled_back(quality_database) as connection:
        list_pairs(connection, "ETH")
        listed = listed_spans(connection, FIVE_MINUTES, [BTC, ETH])
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
        claim_coverage(connection, FIVE_MINUTES, BTC, two_days, two_days.end)
        known, claimed = connection.execute(COVERAGE.select().order_by(COVERAGE.c.partition)).all()
        assert known == before
        assert (claimed.expected, claimed.present, claimed.digest) == (288, 0, "")
        assert [each.spans for each in owed_spans(connection, FIVE_MINUTES)] == [[two_days]]


def test_candles_without_coverage_and_symbols_of_other_kinds_are_no_coverage(quality_database):
    with rolled_back(quality_database) as connection:
        list_pairs(connection, "BTC", "ETH")
        store(connection, times_of(DAY), ETH)  # stored by somebody else
        collected(connection, DAY)
        perp = connection.execute(COVERAGE.select()).one()._asdict() | {"entity_id": "cryptoperp_binance_btcusdt"}
        connection.execute(COVERAGE.insert(), perp)
        assert [each.entity_id for each in owed_spans(connection, FIVE_MINUTES)] == [BTC]
        assert owed_spans(connection, CandleTable(MarketType.SPOT, Interval.M1)) == []


def test_unverified_are_the_named_partitions_of_the_one_series(quality_database):
    two_days = Span(DAY.start, DAY.end + ONE_DAY)
    with rolled_back(quality_database) as connection:
        list_pairs(connection, "BTC", "ETH")
        for entity in (BTC, ETH):
            store(connection, times_of(two_days), entity)
            collected(connection, two_days, entity=entity)
        unverify(connection, FIVE_MINUTES, BTC, ["2023-03-21"])
        found = covered_partitions(connection, FIVE_MINUTES)
    blank = [(entity, key) for entity, rows in found.items() for key, row in rows.items() if not row.digest]
    assert blank == [(BTC, "2023-03-21")]
