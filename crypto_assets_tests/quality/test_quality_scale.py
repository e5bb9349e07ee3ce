"""Looking at 500 symbols x 3,000 days costs by what changed: counted in statements and rows, not in time."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import update

from benchmarks.synthetic_history import entity, fill, symbol
from crypto_assets.database.engines import open_database
from crypto_assets.database.migrations import migrate
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import Interval, to_naive
from crypto_assets.domain.series import CandleTable
from crypto_assets.quality.gaps.due import due_repairs
from crypto_assets.quality.gaps.ledger import USUAL
from crypto_assets.quality.gaps.uncollected import uncollected_histories
from crypto_assets.quality.scores import record_scores
from crypto_assets.quality.verification.examination import examine, settle_ledger, settle_marks
from crypto_assets_tests.counted_work import counted

MINUTES = CandleTable(MarketType.SPOT, Interval.M1)
SYMBOLS, DAYS = 500, 3000
A_FEW = 10  # rows for each symbol
COVERAGE = TABLES["crypto_kdata_coverage"]


@contextmanager
def filled(directory, symbols, days):
    """Minutes of so many symbols and days, as coverage has them, and the moment of the last collection."""
    database = open_database(f"sqlite:///{directory}", "sandbox")
    migrate(database, ["crypto_meta", "crypto_quality", MINUTES.name])
    clock = fill(database, MINUTES.name, symbols, days)
    yield database, to_naive(clock)
    database.dispose()


@pytest.fixture(scope="module")
def years(tmp_path_factory):
    with filled(tmp_path_factory.mktemp("years"), SYMBOLS, DAYS) as found:
        yield found


@pytest.fixture
def months(tmp_path):
    """A smaller one, to be changed."""
    with filled(tmp_path, 20, 1600) as found:
        yield found


def test_an_unchanged_check_brings_no_row_of_a_partition_into_python(years):
    database, now = years
    with counted() as work:
        said = examine(database, MINUTES, now, USUAL)
    assert (said.looked_at, len(said.completeness)) == (0, SYMBOLS)
    assert said.rows == SYMBOLS * ((DAYS - 1) * 1440 + 10)
    assert work.rows < SYMBOLS * A_FEW
    assert len(work.statements) < 20


def test_partitions_that_are_not_whole_are_found_among_all_others(months):
    database, now = months
    with database.begin("crypto_quality") as connection:
        for partition, values in (("2016-02-29", {"digest": ""}), ("2019-05-06", {"present": 1439})):
            where = (COVERAGE.c.entity_id == entity(7), COVERAGE.c.level == "1m", COVERAGE.c.partition == partition)
            connection.execute(update(COVERAGE).where(*where).values(**values))
    with counted() as work:
        said = examine(database, MINUTES, now, USUAL)
    assert said.looked_at == 2
    # Nothing is stored of these days: that is now known, and written down.
    assert said.completeness[7].missing == 2 * 1440
    assert work.rows < 20 * A_FEW
    with counted() as work:
        again = examine(database, MINUTES, now + timedelta(hours=6), USUAL)
    # The one that is other than it was verified is looked at until it is not.
    assert (again.looked_at, again.completeness[7].missing) == (1, 2 * 1440)
    assert work.rows < 20 * A_FEW


def test_what_ticks_read_does_not_grow_with_partitions(years):
    database, now = years
    tracked = [symbol(number) for number in range(SYMBOLS)]
    with counted() as work:
        assert settle_marks(database, MINUTES, now, USUAL, 64) == 0
        settle_ledger(database, MINUTES, now, USUAL)
        with database.connect(MINUTES.name) as connection:
            assert due_repairs(connection, MINUTES, now, USUAL).repairs == []
            assert uncollected_histories(connection, MINUTES, tracked, USUAL.longest_hole) == []
    assert len(work.statements) < 20
    assert work.rows < SYMBOLS * A_FEW


def test_scores_take_no_statement_for_a_symbol(years):
    database, now = years
    said = examine(database, MINUTES, now, USUAL)
    with counted() as work:
        record_scores(database, said, now, deep=False)
    # One statement writes the scores of all currencies: it is counted once.
    assert len(work.statements) < 25
    assert work.rows < SYMBOLS * A_FEW
