"""Histories that some tracked symbols have and others lack."""

from __future__ import annotations

import sys

from crypto_assets.database.tables import TABLES
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import Interval, PartitionScheme, parse_time, partition_keys
from crypto_assets.domain.series import CandleTable
from crypto_assets.domain.spans import Span
from crypto_assets.quality.gaps.uncollected import PARTITIONS_PER_RUN, Uncollected, uncollected_histories
from crypto_assets_tests.quality.stored_candles import (
    BTC,
    ETH,
    FIVE_MINUTES,
    SOL,
    collected,
    list_again,
    list_pairs,
    naive,
    rolled_back,
)

TRACKED = ["BTC/USDT", "ETH/USDT", "SOL/USDT"]


def days(first, end):
    return Span(parse_time(first), parse_time(end))


def lacking(database, collected_days, *, listings=None, tracked=TRACKED):
    with rolled_back(database) as connection:
        list_pairs(connection, "BTC", "ETH", "SOL", listed=parse_time("2017-08-17"))
        for entity, spans in (listings or {}).items():
            list_again(connection, *spans, entity=entity)
        for entity, span in collected_days:
            collected(connection, span, entity=entity)
        found = uncollected_histories(connection, FIVE_MINUTES, tracked)
    assert all(each.candle_table == FIVE_MINUTES for each in found)
    return [(each.symbols, each.partitions) for each in found]


def test_a_table_that_nobody_collected_lacks_nothing(quality_database):
    assert lacking(quality_database, []) == []


def test_what_is_collected_alike_lacks_nothing(quality_database):
    week = days("2023-03-01", "2023-03-08")
    assert lacking(quality_database, [(entity, week) for entity in (BTC, ETH, SOL)]) == []


def test_a_symbol_without_history_lacks_what_the_others_reach(quality_database):
    found = lacking(
        quality_database,
        [(BTC, days("2023-03-01", "2023-03-05")), (ETH, days("2023-03-03", "2023-03-08"))],
    )
    assert found == [
        (("BTC/USDT",), ("2023-03-05", "2023-03-07")),
        (("SOL/USDT",), ("2023-03-01", "2023-03-07")),
        (("ETH/USDT",), ("2023-03-01", "2023-03-02")),
    ]


def test_what_lies_between_is_a_gap_and_no_uncollected_history(quality_database):
    whole = days("2023-03-01", "2023-03-08")
    with_hole = [(BTC, days("2023-03-01", "2023-03-02")), (BTC, days("2023-03-07", "2023-03-08"))]
    assert lacking(quality_database, [*with_hole, (ETH, whole), (SOL, whole)]) == []


def test_a_new_symbol_lacks_what_was_collected_and_nothing_of_the_years_in_between(quality_database):
    clicked = [(BTC, days("2018-01-01", "2018-01-02")), (BTC, days("2023-03-01", "2023-03-05"))]
    found = lacking(quality_database, [*clicked, (SOL, days("2023-03-01", "2023-03-05"))])
    assert found == [
        (("ETH/USDT",), ("2023-03-01", "2023-03-04")),
        (("ETH/USDT", "SOL/USDT"), ("2018-01-01", "2018-01-01")),
    ]


def test_a_long_hole_of_its_own_waits_for_a_decision_though_others_collected_it(quality_database):
    whole = days("2023-03-01", "2023-03-30")
    with_hole = [(BTC, days("2023-03-01", "2023-03-02")), (BTC, days("2023-03-29", "2023-03-30"))]
    assert lacking(quality_database, [*with_hole, (ETH, whole), (SOL, whole)]) == []


def test_symbols_that_lack_the_same_are_asked_for_together(quality_database):
    found = lacking(quality_database, [(BTC, days("2023-03-01", "2023-03-03"))])
    assert found == [(("ETH/USDT", "SOL/USDT"), ("2023-03-01", "2023-03-02"))]


def test_nobody_lacks_what_was_before_or_between_listings(quality_database):
    listings = {
        ETH: [
            (parse_time("2023-03-02T12:00"), parse_time("2023-03-03T12:00")),
            (parse_time("2023-03-06T12:00"), None),
        ],
        SOL: [(parse_time("2023-05-01"), None)],
    }
    found = lacking(quality_database, [(BTC, days("2023-03-01", "2023-03-08"))], listings=listings)
    assert found == [(("ETH/USDT",), ("2023-03-06", "2023-03-07")), (("ETH/USDT",), ("2023-03-02", "2023-03-03"))]


def test_a_long_history_is_cut_into_runs_newest_first(quality_database):
    span = Span(parse_time("2023-01-01"), parse_time("2023-01-01") + 86_400_000 * (PARTITIONS_PER_RUN + 20))
    found = lacking(quality_database, [(BTC, span)], tracked=["BTC/USDT", "ETH/USDT"])
    assert found == [(("ETH/USDT",), ("2023-04-11", "2023-04-30")), (("ETH/USDT",), ("2023-01-01", "2023-04-10"))]


def test_untracked_symbols_neither_reach_nor_lack(quality_database):
    collected_days = [(BTC, days("2023-03-01", "2023-03-03")), (ETH, days("2023-02-01", "2023-03-03"))]
    assert lacking(quality_database, collected_days, tracked=["BTC/USDT"]) == []
    assert lacking(quality_database, collected_days, tracked=["UNKNOWN/USDT"]) == []


def test_uncollected_histories_are_told_apart_by_all_that_they_are():
    one = Uncollected(FIVE_MINUTES, ("BTC/USDT",), ("2023-03-01", "2023-03-02"))
    others = [
        Uncollected(CandleTable(MarketType.SPOT, Interval.M1), one.symbols, one.partitions),
        Uncollected(one.candle_table, ("ETH/USDT",), one.partitions),
        Uncollected(one.candle_table, one.symbols, ("2023-03-01", "2023-03-03")),
    ]
    assert len({each.digest for each in (one, *others)}) == 4
    assert one.digest == Uncollected(one.candle_table, one.symbols, one.partitions).digest


def long_coverage(connection, symbols: int, count: int) -> list[str]:
    """So many symbols, each collected for so many days; their names. One more has no history at all."""
    bases = [f"COIN{number}" for number in range(symbols)]
    list_pairs(connection, *bases, "NEW", listed=parse_time("2010-01-01"))
    first = parse_time("2012-01-01")
    keys = partition_keys(PartitionScheme.DAILY, first, first + count * 86_400_000)
    row = {"provider": "binance", "level": "5m", "expected": 288, "present": 288, "digest": "x"}
    row["verified_at"] = naive(first + count * 86_400_000)
    for base in bases:
        own = row | {"entity_id": f"cryptopair_binance_{base.lower()}usdt"}
        connection.execute(TABLES["crypto_kdata_coverage"].insert(), [own | {"partition": key} for key in keys])
    return [f"{base}/USDT" for base in (*bases, "NEW")]


def work_of(database, symbols: int, count: int) -> tuple[int, int, int]:
    """What is found at that size, the thousands of steps that SQLite made for it, and the calls in Python."""
    steps, calls = [], []
    with rolled_back(database) as connection:
        tracked = long_coverage(connection, symbols, count)
        raw = connection.connection.driver_connection
        raw.set_progress_handler(lambda: steps.append(1), 1000)
        sys.setprofile(lambda _, event, __: calls.append(1) if event in ("call", "c_call") else None)
        try:
            found = uncollected_histories(connection, FIVE_MINUTES, tracked)
        finally:
            sys.setprofile(None)
            raw.set_progress_handler(None, 0)
    return len(found), len(steps), len(calls)


def test_the_work_grows_with_symbols_and_days_and_not_with_their_product(quality_database):
    few, many, long = 2, 20, 2000
    work_of(quality_database, few, 10)  # whatever is done once in a process
    found, steps, calls = work_of(quality_database, many, long)
    assert found == long // PARTITIONS_PER_RUN
    assert steps < 20  # a look at each of the forty thousand rows takes 160 and more
    assert calls < work_of(quality_database, few, long)[2] + 150 * many


def test_a_market_of_new_symbols_is_found_without_going_through_their_days(quality_database):
    with rolled_back(quality_database) as connection:
        tracked = long_coverage(connection, 1, 2000)
        list_pairs(connection, *(f"LATE{number}" for number in range(200)), listed=parse_time("2010-01-01"))
        tracked += [f"LATE{number}/USDT" for number in range(200)]
        calls = []
        sys.setprofile(lambda _, event, __: calls.append(1) if event in ("call", "c_call") else None)
        try:
            found = uncollected_histories(connection, FIVE_MINUTES, tracked)
        finally:
            sys.setprofile(None)
    assert [len(each.symbols) for each in found] == [201] * (2000 // PARTITIONS_PER_RUN)
    assert len(calls) < 200_000  # of four hundred thousand partitions
