"""What the report counts, on every engine: from rows as the integrity runs write them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from crypto_assets.database.engines import open_database
from crypto_assets.database.errors import EnvironmentMismatch
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.series import CandleTable
from crypto_assets.report.figures import MAX_GAPS, quality_figures
from crypto_assets.report.months import MAX_MONTHS, MAX_SYMBOLS, Month, shown_months
from crypto_assets_tests.report.quality_rows import (
    BTC,
    BTC_PERP,
    ETH,
    NOW,
    at,
    coverage,
    gap,
    result,
    store,
    store_example,
)


@pytest.fixture
def example(any_database):
    store_example(any_database)
    return quality_figures(any_database, NOW)


def months_of(figures, table, entity):
    rows = next(each for each in figures.tables if each.table == table).symbols
    return {month.month: month for row in rows if row.entity_id == entity for month in row.months}


def test_the_example_is_counted_wholly(example):
    assert [each.table for each in example.tables] == [
        "cryptopair_1m_kdata",
        "cryptopair_1h_kdata",
        "cryptoperp_1d_kdata",
    ]
    totals = example.totals
    assert (totals.owed, totals.stored, totals.source, totals.missing) == (5875, 5761, 81, 33)
    assert (totals.open_gaps, totals.source_gaps, totals.repaired_gaps) == (2, 2, 1)
    assert (totals.tables, totals.symbols) == (3, 3)
    assert totals.completeness == 5761 / 5794
    assert (example.environment, example.made_at) == ("sandbox", NOW)

    # What the source lacks does not make a month incomplete; what is missing does.
    halted = months_of(example, "cryptopair_1m_kdata", BTC)["2023-03"]
    assert halted == Month("2023-03", owed=2880, stored=2800, source=80)
    assert (halted.completeness, halted.missing) == (1.0, 0)
    lacking = months_of(example, "cryptopair_1h_kdata", ETH)["2023-03"]
    assert (lacking.completeness, lacking.missing) == (714 / 744, 30)
    found = {(each.table, each.entity_id): (each.lacking, each.behind_ms) for each in example.freshness}
    assert found == {
        ("cryptopair_1m_kdata", BTC): (0, 0),
        ("cryptopair_1h_kdata", BTC): (0, 0),
        ("cryptopair_1h_kdata", ETH): (3, 10_830_000),
        ("cryptoperp_1d_kdata", BTC_PERP): (0, 0),
    }
    assert [each.newest for each in example.freshness if each.entity_id == BTC_PERP] == [None]


def test_gaps_scores_and_resets_are_told_newest_first_and_repaired_gaps_last(example):
    shown = [(each.status, each.entity_id, each.level) for each in example.gaps]
    assert shown == [
        ("open", ETH, "1h"),
        ("source", BTC, "1h"),
        ("source", BTC, "1m"),
        ("open", ETH, "1h"),
        ("repaired", BTC_PERP, "1d"),
    ]
    assert (example.gaps[0].name, example.gaps[0].start) == ("ETH/USDT", at("2023-04-02 09:00"))
    assert [(each.at, each.lowest, each.results) for each in example.scores] == [
        (at("2023-04-02 00:00"), 0.5, 2),
        (at("2023-04-02 06:00"), 0.96, 2),
    ]
    assert [each.mean for each in example.scores] == pytest.approx([0.75, 0.98])
    # Of the last run alone.
    (low,) = example.low_scores
    assert (low.name, low.level, low.score, low.issues) == ("ETH/USDT", "1h", 0.96, ("33 owed candles are missing",))
    (reset,) = example.resets
    assert (reset.entity_id, reset.at, reset.now) == (ETH, at("2023-03-30 06:00"), "2023-03-30T00:00:00")


@pytest.mark.parametrize(("since_close", "lacking"), [(14, 2), (15, 3)])
def test_a_candle_is_not_late_before_it_is_final(any_database, since_close, lacking):
    store_example(any_database)
    now = NOW.replace(minute=0, second=since_close)  # of the example's three hours the last has just closed
    figures = quality_figures(any_database, now, timedelta(seconds=15))
    (eth,) = (each for each in figures.freshness if each.entity_id == ETH)
    assert eth.lacking == lacking


def test_a_symbol_that_left_is_judged_by_its_end(any_database):
    store_example(any_database)
    pair = TABLES["crypto_pair"]
    with any_database.begin(pair.name) as connection:
        connection.execute(pair.update().where(pair.c.id == ETH).values(end_date=at("2023-04-02 08:30")))
    figures = quality_figures(any_database, NOW)
    (eth,) = (each for each in figures.freshness if each.entity_id == ETH)
    assert (eth.lacking, eth.ended) == (0, at("2023-04-02 08:30"))


def test_a_gap_over_two_months_belongs_to_both_by_the_grid(any_database):
    store(
        any_database,
        "crypto_kdata_coverage",
        coverage(BTC, "4h", "2023-03-01", 186, 184),
        coverage(BTC, "4h", "2023-04-01", 9, 6),
    )
    store(any_database, "crypto_kdata_gap", gap(BTC, "4h", "2023-03-31 16:00", 5, "source"))
    months = months_of(quality_figures(any_database, NOW), "cryptopair_4h_kdata", BTC)
    assert {key: (month.source, month.missing) for key, month in months.items()} == {
        "2023-03": (2, 0),
        "2023-04": (3, 0),
    }


def test_days_skipped_between_collected_ones_are_owed_by_the_ledger_alone(any_database):
    store(
        any_database,
        "crypto_kdata_coverage",
        coverage(BTC, "5m", "2023-03-01", 288, 288),
        coverage(BTC, "5m", "2023-03-03", 288, 288),
    )
    store(any_database, "crypto_kdata_gap", gap(BTC, "5m", "2023-03-02", 288, "open"))
    (march,) = months_of(quality_figures(any_database, NOW), "cryptopair_5m_kdata", BTC).values()
    assert (march.owed, march.stored, march.missing) == (864, 576, 288)


def test_a_long_log_is_shown_by_day(any_database):
    rows = [result(BTC, "1m", f"2023-03-{day:02d} {hour:02d}:00", 1.0) for day in range(1, 21) for hour in (0, 6)]
    store(any_database, "crypto_data_quality_log", *rows)
    found = quality_figures(any_database, NOW).scores
    assert [each.at.day for each in found] == list(range(1, 21))
    assert {each.results for each in found} == {2}


def test_no_more_gaps_are_read_than_shown(any_database):
    one_by_one = [
        gap(BTC, "1m", str(at("2023-01-01") + timedelta(minutes=2 * each)), 1, "open") for each in range(MAX_GAPS + 3)
    ]
    store(any_database, "crypto_kdata_gap", *one_by_one)
    figures = quality_figures(any_database, NOW)
    assert len(figures.gaps) == MAX_GAPS
    assert min(each.start for each in figures.gaps) == one_by_one[3]["start"]
    assert figures.totals.open_gaps == MAX_GAPS + 3


def test_a_migrated_database_without_rows_has_no_figures(any_database):
    figures = quality_figures(any_database, NOW)
    assert (figures.totals.owed, figures.tables, figures.freshness, figures.scores) == (0, (), (), ())


def test_neither_has_one_that_was_never_migrated(empty_url):
    database = open_database(empty_url, "sandbox")
    figures = quality_figures(database, NOW)
    database.dispose()
    assert (figures.totals.owed, figures.tables) == (0, ())


def test_the_database_of_another_environment_is_refused(any_database, database_url):
    other = open_database(database_url, "live")
    with pytest.raises(EnvironmentMismatch):
        quality_figures(other, NOW)
    other.dispose()


def test_of_too_many_symbols_and_months_the_needy_and_the_new_are_kept():
    keys = [f"{year}-{month:02d}" for year in range(2010, 2023) for month in range(1, 13)]
    entities = {f"e{number:03d}": [Month(keys[-1], 10, 10, 0)] for number in range(MAX_SYMBOLS + 1)}
    entities["needy"] = [Month(key, 10, 9, 0) for key in keys]
    table = shown_months(CandleTable.named("cryptopair_1d_kdata"), entities, {"needy": "A"})
    assert table.symbols[0].name == "A"
    assert len(table.symbols[0].months) == MAX_MONTHS
    assert table.symbols[0].months[-1].month == "2022-12"
    assert len(table.symbols) == MAX_SYMBOLS
    assert (table.symbols_left_out, table.months_left_out) == (2, len(keys) - MAX_MONTHS)
