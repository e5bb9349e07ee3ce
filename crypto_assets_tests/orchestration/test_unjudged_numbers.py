"""A number that fits nowhere, and an exchange that contradicts itself: kept out with the reason, and nothing else."""

from __future__ import annotations

import json

import pytest

from crypto_assets.domain.intervals import Interval
from crypto_assets_tests.orchestration.test_collection import (
    DAYS,
    INTERVAL,
    collect,
    contents,
    fresh_database,
    paper_exchange,
    prepare,
    reference,
)
from crypto_assets_tests.paper_exchange import candle

STEP = INTERVAL.milliseconds
AT = DAYS[0].start + 30 * STEP
VOLUME, QUOTE, TRADES = 5, 7, 8
STRAY = ["open_time: a whole number inside the window that was asked for"]


def damaging(exchange, damage):
    """The exchange's pages as `damage` makes them, where they hold the candle of AT."""
    pages = exchange.row_pages

    def damaged(*asked):
        for page in pages(*asked):
            yield damage(list(map(list, page))) if any(row[0] == AT for row in page) else page

    exchange.row_pages = damaged


def logged(database):
    """The first number of each refused row, and why it was refused."""
    with database.connect("crypto_data_quality_log") as connection:
        rows = connection.exec_driver_sql(
            "SELECT validation_result, issues_detected FROM crypto_data_quality_log ORDER BY id"
        ).all()
    return [(json.loads(result)["row"], json.loads(issues)) for result, issues in rows]


@pytest.mark.parametrize(
    ("time", "kept"),
    [
        (10**30, str(10**30)),
        (-(10**12), -(10**12)),
        (float(AT), float(AT)),
        (float("nan"), "nan"),
        (str(AT), str(AT)),
        (None, None),
        (True, True),
        ("a\0b\ud800" * 1000, ("a\\0b\\ud800" * 1000)),
    ],
)
def test_a_row_of_an_absurd_time_is_logged_and_all_others_are_stored(migrated_files, time, kept):
    with fresh_database(migrated_files) as database:
        exchange = paper_exchange()
        prepare(database, exchange)
        damaging(exchange, lambda page: [*page, [time, *page[5][1:]]])
        whole = type(DAYS[0])(DAYS[0].start, DAYS[-1].end)
        run = collect(database, exchange, whole)
        assert (run.failures, run.total.rejected) == ({}, 1)
        assert contents(database) == reference(migrated_files)
        [(row, reasons)] = logged(database)
        assert str(row[0])[:500] == str(kept)[:500]
        assert reasons == STRAY


@pytest.mark.parametrize(
    ("position", "value", "reason"),
    [
        (TRADES, 10**30, "trades are a whole number below 2^31"),
        (TRADES, 2**31, "trades are a whole number below 2^31"),
        (TRADES, 3.5, "trades are a whole number below 2^31"),
        (TRADES, 10**400, "trade_count: not negative"),
        (TRADES, True, "trade_count: not_nullable"),
        (VOLUME, "1e308", "numbers are between 1e-100 and 1e100"),
        (VOLUME, "1e-308", "numbers are between 1e-100 and 1e100"),
        (VOLUME, "1e999", "volume: not negative"),
        (VOLUME, "1_000", "volume: not_nullable"),
        (QUOTE, "Infinity", "volume_quote: not negative"),
    ],
)
def test_a_number_that_fits_no_column_costs_its_row_alone(migrated_files, position, value, reason):
    with fresh_database(migrated_files) as database:
        exchange = paper_exchange()
        prepare(database, exchange)

        def damage(page):
            for row in page:
                if row[0] == AT:
                    row[position] = value
            return page

        damaging(exchange, damage)
        run = collect(database, exchange, DAYS[0])
        assert (run.failures, run.total.rejected) == ({}, 1)
        assert len(contents(database)) == 287
        assert [(row[0], reasons) for row, reasons in logged(database)] == [(AT, [reason])]


def test_an_answer_that_contradicts_itself_leaves_both_versions(migrated_files):
    with fresh_database(migrated_files) as database:
        exchange = paper_exchange()
        prepare(database, exchange)
        other = candle(AT, Interval.M5, seed=1)
        damaging(exchange, lambda page: [other, *page])
        run = collect(database, exchange, DAYS[0])
        assert run.total.rejected == 1
        assert len(contents(database)) == 288
        assert contents(database)[30].close == float(candle(AT, Interval.M5)[4]), "the last one is stored"
        assert logged(database) == [(other, ["open_time: comes again in the same answer with other numbers"])]


def test_a_row_that_comes_twice_alike_is_no_contradiction(migrated_files):
    with fresh_database(migrated_files) as database:
        exchange = paper_exchange()
        prepare(database, exchange)
        damaging(exchange, lambda page: [*page, *page])
        assert collect(database, exchange, DAYS[0]).total.rejected == 0
        assert logged(database) == []
