"""A plan of many symbols costs statements for the table, not for each of them; what was asked is walked once."""

from __future__ import annotations

import pytest

from benchmarks.synthetic_history import NEWEST_CANDLES, entity, fill, symbol
from crypto_assets.collect.estimate import plan_table
from crypto_assets.collect.plan import Plan
from crypto_assets.database.engines import open_database
from crypto_assets.database.migrations import migrate
from crypto_assets.database.tables import CHANGES
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import DAY_MS, Interval, partition_keys
from crypto_assets.domain.series import KDATA_TABLES, CandleTable
from crypto_assets.domain.spans import Span
from crypto_assets_tests.counted_work import counted

MINUTES = "cryptopair_1m_kdata"
SYMBOLS = 500
HOUR_MS = Interval.H1.milliseconds


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    """Five days of 500 symbols, and the clock of the last collection."""
    database = open_database(f"sqlite:///{tmp_path_factory.mktemp('symbols')}", "sandbox")
    migrate(database, ["crypto_meta", "crypto_quality", MINUTES])
    yield database, fill(database, MINUTES, SYMBOLS, 5)
    database.dispose()


def planned(collected, symbols, *, only_missing=True):
    """The plan of the running day an hour later."""
    database, clock = collected
    today = clock // DAY_MS * DAY_MS
    names = [symbol(number) for number in range(symbols)]
    window = Span(today, today + DAY_MS)
    return plan_table(
        database, KDATA_TABLES[MINUTES], names, window, clock + HOUR_MS, only_missing=only_missing, has_archive=False
    )


@pytest.mark.parametrize("only_missing", [True, False])
def test_five_hundred_symbols_take_as_many_statements_as_two(collected, only_missing):
    with counted() as of_two:
        planned(collected, 2, only_missing=only_missing)
    with counted() as of_all:
        plan = planned(collected, SYMBOLS, only_missing=only_missing)
    assert len(of_all.statements) == len(of_two.statements) <= 20
    assert of_all.rows < 8 * SYMBOLS
    assert {each.new_rows for each in plan.symbols} == {60}
    assert {each.stored for each in plan.symbols} == {NEWEST_CANDLES}


def test_a_symbol_that_was_altered_costs_itself_alone(collected):
    database, _ = collected
    with counted() as before:
        planned(collected, SYMBOLS)
    with database.begin(MINUTES) as connection:
        key = {"candles": MINUTES, "entity_id": entity(3), "partition": "2015-01-05", "found": None}
        connection.execute(CHANGES.insert(), key)
    with counted() as after:
        plan = planned(collected, SYMBOLS)
    with database.begin(MINUTES) as connection:
        connection.execute(CHANGES.delete())
    assert len(after.statements) - len(before.statements) <= 8
    assert {each.rows for each in plan.symbols} == {60}


class CountedSpans(list):
    """Spans that count how often one of them is looked at."""

    looked_at = 0

    def __iter__(self):
        for each in super().__iter__():
            CountedSpans.looked_at += 1
            yield each


def test_what_was_asked_as_a_whole_is_found_in_one_walk():
    days, interval = 1000, Interval.M5
    window = Span(0, days * DAY_MS)
    asked = CountedSpans(Span(day * DAY_MS, day * DAY_MS + (DAY_MS if day % 2 else HOUR_MS)) for day in range(days))
    keys = partition_keys(interval.partition_scheme, *window)
    whole = Plan(CandleTable(MarketType.SPOT, interval), window, tuple(keys), askable=(window,), spans=())
    assert whole.completed_by(asked) == keys[1::2]
    assert CountedSpans.looked_at <= 2 * days
