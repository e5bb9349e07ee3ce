"""A sparse venue owes an answer for each interval, and no candle where nothing traded."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import delete, select, update

from crypto_assets.collect.run import collect_table
from crypto_assets.collect.symbols import populate_markets
from crypto_assets.database.engines import open_database
from crypto_assets.database.migrations import migrate
from crypto_assets.database.tables import CHANGES, TABLES
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import DAY_MS, MINUTE_MS, Interval, to_naive
from crypto_assets.domain.series import CandleTable
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.venues import add_venue
from crypto_assets.quality.gaps.ledger import OPEN, QUIET, SOURCE, USUAL
from crypto_assets.quality.gaps.quiet import Asked, Settled
from crypto_assets.quality.gaps.rows import load_gaps
from crypto_assets.quality.verification.examination import examine
from crypto_assets_tests import sparse_exchange
from crypto_assets_tests.paper_exchange import moment
from crypto_assets_tests.sparse_exchange import SparseExchange

TABLE = CandleTable(MarketType.SPOT, Interval.M5)
ENTITY = "cryptopair_sparse_xxbtzusd"
STEP = 5 * MINUTE_MS
DAY = Span(moment("2023-03-20"), moment("2023-03-21"))
NEXT_DAY = Span(DAY.end, DAY.end + DAY_MS)
CLOCK = moment("2023-03-23T10:07:30")
NOW = to_naive(CLOCK)
UNTRADED = {DAY.start + place * STEP for place in (0, 7, 8, 30, 100, 287)}
"""The first interval of the day and the last, two neighbours, and two that stand alone."""


@pytest.fixture(autouse=True, scope="module")
def known():
    add_venue(sparse_exchange.PROVIDER, sparse_exchange.__name__)


@pytest.fixture
def database(any_database, database_url):
    """The database as the sparse provider sees it, beside the one that the project ships."""
    unpublished = sparse_exchange.VENUE.unpublished
    opened = open_database(database_url, "sandbox", sparse_exchange.PROVIDER, unpublished=unpublished)
    if opened.engine == "sqlite":
        migrate(opened)
    yield opened
    opened.dispose()


def listed(database, **options):
    exchange = SparseExchange(options.pop("clock", CLOCK), lacking=set(UNTRADED), **options)
    populate_markets(database, exchange, MarketType.SPOT, ["BTC/USD"], exchange.clock)
    return exchange


def collected(database, exchange, window=DAY, *, only_missing=True, after=timedelta(0), **options):
    """Collects, and returns the spans that the exchange was asked for."""
    exchange.asked.clear()
    run = collect_table(
        exchange,
        database,
        TABLE,
        ["BTC/USD"],
        window,
        only_missing=only_missing,
        now=lambda: NOW + after,
        **options,
    )
    assert run.failures == {}
    return list(exchange.asked)


def gaps(database, *statuses):
    with database.connect(TABLE.name) as connection:
        found = load_gaps(connection, TABLE, statuses=statuses or (OPEN, SOURCE))
    return [gap.span for gap in found.get(ENTITY, [])]


def quiet(database):
    """The rows about quiet spans: first and last open time, how many intervals, and how many answers say so."""
    c = TABLES["crypto_kdata_gap"].c
    with database.connect("crypto_quality") as connection:
        rows = connection.execute(
            select(c.start, c.end, c.missing, c.evidence).where(c.status == QUIET).order_by(c.start)
        )
        return [(row.start, row.end, row.missing, len(row.evidence["answers"])) for row in rows]


def of_coverage(database):
    c = TABLES["crypto_kdata_coverage"].c
    with database.connect("crypto_quality") as connection:
        rows = connection.execute(select(c.expected, c.present).where(c.entity_id == ENTITY).order_by(c.partition))
        return [tuple(row) for row in rows]


def stored(database):
    table = TABLES[TABLE.name]
    with database.connect(TABLE.name) as connection:
        return len(connection.execute(select(table.c.timestamp).where(table.c.entity_id == ENTITY)).all())


def without(database, time):
    table = TABLES[TABLE.name]
    with database.begin(TABLE.name) as connection:
        gone = delete(table).where(table.c.entity_id == ENTITY, table.c.timestamp == to_naive(time))
        assert connection.execute(gone).rowcount == 1


def altered(database, time, values):
    table = TABLES[TABLE.name]
    with database.begin(TABLE.name) as connection:
        changed = update(table).where(table.c.entity_id == ENTITY, table.c.timestamp == to_naive(time))
        assert connection.execute(changed.values(**values)).rowcount == 1


def sound(database):
    """What the examination of every partition says: owed, there, and how many were read in the one after it."""
    said = examine(database, TABLE, NOW, USUAL, deep=True)
    assert not any(finding.count for finding in said.findings.values())
    assert said.altered == []
    [symbol] = said.completeness
    return symbol.expected, symbol.present, examine(database, TABLE, NOW, USUAL).looked_at


def test_an_interval_without_trades_is_not_owed_once_it_was_answered(database):
    exchange = listed(database)
    collected(database, exchange)
    assert gaps(database) == []
    assert quiet(database) == [(to_naive(DAY.start), to_naive(DAY.end - STEP), 6, 1)]
    assert of_coverage(database) == [(282, 282)]
    assert sound(database) == (282, 282, 0)


def test_what_was_answered_is_not_asked_for_again(database):
    exchange = listed(database)
    collected(database, exchange)
    assert collected(database, exchange) == []
    assert quiet(database)[0][2] == 6


def test_a_day_without_any_trade_is_answered_too(database):
    exchange = listed(database)
    exchange.lacking |= set(range(*NEXT_DAY, STEP))
    collected(database, exchange, Span(DAY.start, NEXT_DAY.end))
    assert gaps(database) == []
    assert of_coverage(database) == [(282, 282), (0, 0)]
    assert sound(database) == (282, 282, 0)
    assert collected(database, exchange, Span(DAY.start, NEXT_DAY.end)) == []


def test_the_running_day_is_asked_for_only_from_where_it_was_answered(database):
    exchange = listed(database, clock=DAY.start + 40 * STEP)
    collected(database, exchange)
    assert quiet(database) == [(to_naive(DAY.start), to_naive(DAY.start + 39 * STEP), 4, 1)]
    exchange.clock = DAY.start + 120 * STEP
    [asked] = collected(database, exchange)
    # What is asked for begins twenty intervals earlier: derived columns look back so far.
    assert asked == Span(DAY.start + 20 * STEP, exchange.clock)
    assert gaps(database) == []
    assert quiet(database) == [(to_naive(DAY.start), to_naive(DAY.start + 119 * STEP), 5, 2)]
    assert of_coverage(database) == [(115, 115)]


def test_a_candle_that_somebody_deleted_comes_back(database):
    exchange = listed(database)
    collected(database, exchange)
    lost = DAY.start + 50 * STEP
    without(database, lost)
    said = examine(database, TABLE, NOW, USUAL)
    assert said.looked_at == 1
    # Which intervals had trades is not known any more, so all that lack a candle are owed an answer.
    assert Span(lost, lost + STEP) in gaps(database)
    collected(database, exchange)
    assert stored(database) == 282
    assert gaps(database) == []
    assert quiet(database)[0][2] == 6
    assert sound(database) == (282, 282, 0)


def test_a_deleted_candle_comes_back_before_anybody_looked(database):
    exchange = listed(database)
    collected(database, exchange)
    without(database, DAY.start + 50 * STEP)
    collected(database, exchange)
    assert stored(database) == 282
    assert gaps(database) == []
    assert sound(database) == (282, 282, 0)


def test_a_candle_that_went_without_a_mark_comes_back(database):
    exchange = listed(database)
    collected(database, exchange)
    without(database, DAY.start + 50 * STEP)
    with database.begin(TABLE.name) as connection:
        connection.execute(delete(CHANGES))
    collected(database, exchange)
    assert stored(database) == 282
    assert gaps(database) == []


def test_a_price_that_somebody_changed_makes_no_interval_owed(database):
    exchange = listed(database)
    collected(database, exchange)
    altered(database, DAY.start + 50 * STEP, {"close": 1.5, "low": 1.0})
    said = examine(database, TABLE, NOW, USUAL)
    assert [each.partition for each in said.altered] == ["2023-03-20"]
    assert gaps(database) == []
    collected(database, exchange)
    assert sound(database) == (282, 282, 0)


def test_a_candle_that_somebody_moved_comes_back(database):
    exchange = listed(database)
    collected(database, exchange)
    # As many candles as before, but one of them where nothing traded: only the checksum shows it.
    altered(database, DAY.start + 50 * STEP, {"timestamp": to_naive(DAY.start + 30 * STEP)})
    collected(database, exchange)
    table = TABLES[TABLE.name]
    with database.connect(TABLE.name) as connection:
        times = connection.scalars(select(table.c.timestamp).where(table.c.entity_id == ENTITY)).all()
    assert to_naive(DAY.start + 50 * STEP) in times
    assert gaps(database) == []


def test_what_was_settled_counts_no_more_where_candles_went_in_the_meantime():
    settled = (Settled("2023-03-20", (DAY,), 282),)
    asked = Asked((), (), settled, NOW)
    assert asked.untraded(Interval.M5, "2023-03-20", [DAY], 282) == [DAY]
    assert asked.untraded(Interval.M5, "2023-03-20", [DAY], 281) == []
    assert asked.untraded(Interval.M5, "2023-03-21", [DAY], 282) == []


def test_what_is_not_published_is_null_and_breaks_no_rule(database):
    exchange = listed(database)
    collected(database, exchange)
    c = TABLES[TABLE.name].c
    amounts = (c.volume, c.volume_quote, c.trade_count, c.turnover, c.vwap)
    with database.connect(TABLE.name) as connection:
        rows = connection.execute(select(*amounts).where(c.entity_id == ENTITY)).all()
    assert {tuple(row)[1:] for row in rows} == {(None, None, None, None)}
    assert all(row.volume > 0 for row in rows)
    assert sound(database) == (282, 282, 0)


def test_collecting_again_writes_nothing_where_columns_are_null(database):
    exchange = listed(database)
    collected(database, exchange)
    exchange.asked.clear()
    run = collect_table(exchange, database, TABLE, ["BTC/USD"], DAY, only_missing=False, now=lambda: NOW)
    assert (run.total.inserted, run.total.changed, run.total.unchanged) == (0, 0, 282)


@pytest.mark.parametrize("values", [{"close": 1.5, "low": 1.0}, {"volume_quote": 0.0}, {"trade_count": 0}])
def test_the_checksum_sees_what_changes_beside_a_null(database, values):
    exchange = listed(database)
    collected(database, exchange)
    altered(database, DAY.start + 50 * STEP, values)
    said = examine(database, TABLE, NOW, USUAL)
    assert [each.partition for each in said.altered] == ["2023-03-20"]


def test_a_null_is_an_error_where_the_venue_publishes_the_column(database, database_url):
    exchange = listed(database)
    collected(database, exchange)
    other = open_database(database_url, "sandbox", sparse_exchange.PROVIDER)
    said = examine(other, TABLE, NOW, USUAL, deep=True)
    other.dispose()
    assert said.findings["valid_ohlc"].count == 282


def test_a_candle_that_was_refused_is_owed(database):
    refused = DAY.start + 60 * STEP
    exchange = listed(database, refused={refused})
    collected(database, exchange)
    assert gaps(database) == [Span(refused, refused + STEP)]
    assert quiet(database)[0][2] == 6
    assert of_coverage(database) == [(282, 281)]
    assert examine(database, TABLE, NOW, USUAL).looked_at == 0
    exchange.refused.clear()
    collected(database, exchange, after=timedelta(days=1))
    assert gaps(database) == []
    assert of_coverage(database) == [(282, 282)]


def test_an_answer_with_a_row_of_no_time_settles_nothing(database):
    exchange = listed(database, strays=[["soon", "1", "2"]])
    collected(database, exchange)
    assert quiet(database) == []
    assert sum(Interval.M5.count(*span) for span in gaps(database)) == 6
    exchange.strays = []
    collected(database, exchange, after=timedelta(days=1))
    assert gaps(database) == []
    assert quiet(database)[0][2] == 6


def test_a_run_that_broke_off_leaves_what_was_not_answered_owed(database):
    exchange = listed(database, fails_at=DAY.start + 150 * STEP)
    exchange.asked.clear()
    run = collect_table(exchange, database, TABLE, ["BTC/USD"], DAY, only_missing=True, now=lambda: NOW)
    assert list(run.failures) == ["BTC/USD"]
    examine(database, TABLE, NOW, USUAL)
    assert gaps(database)[-1].end == DAY.end
    exchange.fails_at = None
    collected(database, exchange)
    assert gaps(database) == []
    assert sound(database) == (282, 282, 0)


def test_the_day_before_may_be_collected_later(database):
    exchange = listed(database)
    exchange.lacking |= {time + DAY_MS for time in UNTRADED}
    collected(database, exchange, NEXT_DAY)
    # This rewrites the first candles of the next day, whose derived columns look back at it.
    collected(database, exchange)
    assert gaps(database) == []
    assert of_coverage(database) == [(282, 282), (282, 282)]
    assert sound(database) == (564, 564, 0)
    assert collected(database, exchange, Span(DAY.start, NEXT_DAY.end)) == []


def test_a_candle_that_the_exchange_adds_later_is_stored(database):
    exchange = listed(database)
    collected(database, exchange)
    exchange.lacking.discard(DAY.start + 30 * STEP)
    collected(database, exchange, only_missing=False)
    assert stored(database) == 283
    assert quiet(database) == [(to_naive(DAY.start), to_naive(DAY.end - STEP), 5, 2)]
    assert sound(database) == (283, 283, 0)


def test_the_ledger_has_a_row_for_each_partition_however_little_trades(database):
    exchange = listed(database)
    exchange.lacking = {time for time in range(DAY.start, NEXT_DAY.end, STEP) if time // STEP % 3}
    collected(database, exchange, Span(DAY.start, NEXT_DAY.end))
    assert [row[2] for row in quiet(database)] == [192, 192]
    assert gaps(database) == []
    assert gaps(database, "repaired") == []
