"""What an examination finds, at which cost, whatever somebody did to the rows behind our back; on every engine."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import DBAPIError

from crypto_assets.database.archive.move import archive_candles, restore_candles
from crypto_assets.database.engines import open_database
from crypto_assets.database.errors import DatabaseError
from crypto_assets.database.tables import CHANGES, TABLES
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import Interval, parse_time, partition_key
from crypto_assets.domain.series import CandleTable
from crypto_assets.domain.spans import Span, merge
from crypto_assets.quality.gaps.coverage import claim_coverage, unverify
from crypto_assets.quality.gaps.ledger import Policy
from crypto_assets.quality.verification.examination import examine, settle_marks
from crypto_assets.quality.verification.marks import clear_marks, marks, note_found
from crypto_assets.quality.verification.partitions import PARTITIONS_PER_TRANSACTION, SymbolPartitions
from crypto_assets_tests.quality.stored_candles import (
    BTC,
    DAY,
    ETH,
    FIVE_MINUTES,
    NOW,
    collected,
    list_again,
    list_pairs,
    naive,
    store,
    times_of,
    written,
)

DAILY = CandleTable(MarketType.SPOT, Interval.D1)
CANDLES = TABLES[DAILY.name]
D1 = Interval.D1
MONTHS = Span(parse_time("2023-02-01"), parse_time("2023-05-01"))
LEDGERS = ("crypto_kdata_gap", "crypto_kdata_coverage")
POLICY = Policy()
A_FEW = settings(
    max_examples=5,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking against a database takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def verified(database):
    """Three months of days of two symbols, and nothing else."""
    with written(database, DAILY) as connection:
        for name in (*LEDGERS, "crypto_kdata_archive", "crypto_listing"):
            connection.execute(TABLES[name].delete())
        connection.execute(CANDLES.delete())
        list_pairs(connection, "BTC", "ETH")
        for entity in (BTC, ETH):
            store(connection, times_of(MONTHS, D1), entity, DAILY)
            collected(connection, MONTHS, entity=entity, table=DAILY)
        connection.execute(CHANGES.delete())


def state(database, table=DAILY):
    """All that an examination may write."""
    with database.connect(table.name) as connection:
        ledgers = [
            connection.execute(select(TABLES[name]).order_by(*TABLES[name].primary_key.columns)).all()
            for name in LEDGERS
        ]
        return ledgers, marks(connection, table)


def day(number):
    return parse_time("2023-02-01") + number * D1.milliseconds


def row_of(entity, number, shift=0):
    return CANDLES.c.entity_id == entity, CANDLES.c.timestamp == naive(day(number) + shift)


CHANGED = {
    "sound": {"volume": 2.0},
    "null": {"open": None},
    "unsound": {"high": 0.5},
    "the same": {"volume": 1.0},
}
entities = st.sampled_from([BTC, BTC, ETH])
days = st.integers(-35, 123)
statements = st.one_of(
    st.tuples(st.just("delete"), entities, days, st.none()),
    st.tuples(st.just("insert"), entities, days, st.sampled_from([0, 1000])),
    st.tuples(st.just("update"), entities, days, st.sampled_from(sorted(CHANGED))),
    st.tuples(st.just("move"), entities, days, days),
)


def apply(connection, statement):
    """Does what a statement says, unless a row is in its way; the partitions it touches."""
    kind, entity, number, value = statement

    def is_there(*place):
        return connection.scalar(select(CANDLES.c.open).where(*row_of(entity, *place)).limit(1)) is not None or (
            connection.execute(select(CANDLES.c.entity_id).where(*row_of(entity, *place))).first() is not None
        )

    places = [number] if kind != "move" else [number, value]
    if kind == "insert":
        if is_there(number, value):
            return set()
        store(connection, [day(number) + value], entity, DAILY, volume=3.0)
        # Somebody's insertion alone is marked by nothing (docs/decisions/0014): what he changes afterwards is.
        connection.execute(update(CANDLES).where(*row_of(entity, number, value)).values(volume=1.0))
    elif not is_there(number) or (kind == "move" and is_there(value)):
        return set()
    elif kind == "delete":
        connection.execute(delete(CANDLES).where(*row_of(entity, number)))
    elif kind == "update":
        connection.execute(update(CANDLES).where(*row_of(entity, number)).values(**CHANGED[value]))
    else:
        connection.execute(update(CANDLES).where(*row_of(entity, number)).values(timestamp=naive(day(value))))
    return {(entity, partition_key(D1.partition_scheme, day(each))) for each in places}


def disturbed(database, done):
    """The partitions that statements touch, each in a transaction of its own."""
    touched = set()
    for statement in done:
        with database.begin(DAILY.name) as connection:
            touched |= apply(connection, statement)
    return touched


@A_FEW
@given(st.lists(statements, max_size=10))
def test_the_six_hourly_run_finds_what_a_deep_one_finds_at_the_cost_of_what_changed(any_database, done):
    verified(any_database)
    touched = disturbed(any_database, done)
    said = examine(any_database, DAILY, NOW, POLICY)
    assert said.looked_at == len(touched)
    found = state(any_database)
    assert examine(any_database, DAILY, NOW, POLICY) == replace(said, looked_at=len(found[1]))
    assert state(any_database) == found

    verified(any_database)
    disturbed(any_database, done)
    with any_database.begin(DAILY.name) as connection:
        connection.execute(CHANGES.delete())  # as if there were no triggers
    deep = examine(any_database, DAILY, NOW, POLICY, deep=True)
    assert replace(deep, looked_at=0) == replace(said, looked_at=0)
    assert state(any_database) == found

    owed = set(times_of(MONTHS, D1))
    with any_database.connect(DAILY.name) as connection:
        rows = connection.execute(select(CANDLES.c.entity_id, CANDLES.c.timestamp)).all()
    for series in said.completeness:
        there = {row.timestamp for row in rows if row.entity_id == series.entity_id}
        lacking = {time for time in owed if naive(time) not in there}
        assert {time for gap in series.gaps for time in times_of(gap.span, D1)} == lacking
        assert (series.expected, series.missing) == (len(owed), len(lacking))


def test_nothing_changed_looks_at_nothing(any_database):
    verified(any_database)
    said = examine(any_database, DAILY, NOW, POLICY)
    assert (said.looked_at, said.rows, said.altered, said.offending) == (0, 178, [], {})
    assert all(finding.passed and finding.rows == 178 for finding in said.findings.values())


def test_a_deep_run_looks_at_everything_and_changes_nothing(any_database):
    verified(any_database)
    before = state(any_database)
    assert examine(any_database, DAILY, NOW, POLICY, deep=True).looked_at == 6
    assert state(any_database) == before


def test_a_row_changed_without_triggers_is_found_by_the_deep_run_alone(any_database):
    verified(any_database)
    disturbed(any_database, [("update", BTC, 40, "sound"), ("update", ETH, 3, "unsound")])
    with any_database.begin(DAILY.name) as connection:
        connection.execute(CHANGES.delete())
    assert examine(any_database, DAILY, NOW, POLICY).looked_at == 0
    said = examine(any_database, DAILY, NOW, POLICY, deep=True)
    assert [(each.entity_id, each.partition) for each in said.altered] == [(BTC, "2023-03-01")]
    assert (said.findings["valid_ohlc"].count, said.offending) == (1, {BTC: 1, ETH: 1})
    # Found once, it is known from then on.
    assert replace(examine(any_database, DAILY, NOW, POLICY), looked_at=0) == replace(said, looked_at=0)


def test_a_row_deleted_with_the_triggers_is_found_by_the_next_run(any_database):
    verified(any_database)
    disturbed(any_database, [("delete", BTC, 40, None)])
    said = examine(any_database, DAILY, NOW, POLICY)
    [btc, eth] = said.completeness
    assert [gap.span for gap in btc.gaps] == [Span(day(40), day(41))]
    assert (btc.missing, eth.missing, said.rows, said.altered) == (1, 0, 177, [])


def test_a_row_that_comes_back_as_it_was_leaves_nothing_behind(any_database):
    verified(any_database)
    before = state(any_database)
    disturbed(any_database, [("update", BTC, 40, "sound")])
    assert len(examine(any_database, DAILY, NOW, POLICY).altered) == 1
    disturbed(any_database, [("update", BTC, 40, "the same")])
    assert examine(any_database, DAILY, NOW, POLICY).altered == []
    assert state(any_database) == before


def test_what_we_were_changing_ourselves_is_verified_not_suspected(any_database):
    verified(any_database)
    with written(any_database, DAILY) as connection:
        connection.execute(update(CANDLES).where(*row_of(BTC, 40)).values(volume=2.0))
        unverify(connection, DAILY, BTC, ["2023-03-01"])
        connection.execute(CHANGES.delete())  # a killed run leaves a blank checksum, with a mark or without
    said = examine(any_database, DAILY, NOW, POLICY)
    assert (said.looked_at, said.altered) == (1, [])
    assert examine(any_database, DAILY, NOW, POLICY).looked_at == 0
    assert examine(any_database, DAILY, NOW, POLICY, deep=True).altered == []


def test_marks_are_settled_newest_first_and_once(any_database):
    verified(any_database)
    disturbed(any_database, [("delete", BTC, number, None) for number in (3, 40, 70)])
    assert settle_marks(any_database, DAILY, NOW, POLICY, 2) == 3
    _, left = state(any_database)
    assert [(mark.partition, mark.found is None) for mark in left] == [
        ("2023-02-01", True),
        ("2023-03-01", False),
        ("2023-04-01", False),
    ]
    assert settle_marks(any_database, DAILY, NOW, POLICY, 2) == 1
    assert settle_marks(any_database, DAILY, NOW, POLICY, 2) == 0
    assert [series.missing for series in examine(any_database, DAILY, NOW, POLICY).completeness] == [3, 0]


def test_gaps_found_at_different_times_that_touch_become_one(any_database):
    verified(any_database)
    for month in ((28, 59), (0, 28)):
        disturbed(any_database, [("delete", BTC, number, None) for number in range(*month)])
        said = examine(any_database, DAILY, NOW, POLICY)
    assert [gap.span for gap in said.completeness[0].gaps] == [Span(day(0), day(59))]


def test_a_gap_longer_than_what_is_looked_at_in_one_transaction_is_one_gap(any_database):
    span = Span(DAY.start, DAY.start + 2 * PARTITIONS_PER_TRANSACTION * (DAY.end - DAY.start))
    with written(any_database) as connection:
        list_pairs(connection)
        claim_coverage(connection, CandleTable(MarketType.SPOT, Interval.M5), BTC, span, span.end)
    [series] = examine(any_database, FIVE_MINUTES, NOW, POLICY).completeness
    assert [gap.span for gap in series.gaps] == [span]


def test_a_candle_whose_time_is_written_otherwise_is_missing_and_offends_nothing_else(tmp_path, migrated_directory):
    shutil.copytree(migrated_directory, tmp_path / "data")
    database = open_database(f"sqlite:///{tmp_path}/data", "sandbox")
    verified(database)
    with database.begin(DAILY.name) as connection:
        changed = f"UPDATE {DAILY.name} SET timestamp = replace(timestamp, ' ', 'T') WHERE timestamp LIKE '2023-03-05%'"
        assert connection.exec_driver_sql(changed).rowcount == 2
    said = examine(database, DAILY, NOW, POLICY)
    assert ([each.missing for each in said.completeness], said.altered, said.offending) == ([1, 1], [], {})
    database.dispose()


def test_every_repair_of_a_gap_that_opens_again_is_remembered(any_database):
    verified(any_database)
    for number in (40, 41, 40):
        disturbed(any_database, [("delete", BTC, number, None)])
        examine(any_database, DAILY, NOW, POLICY)
        disturbed(any_database, [("insert", BTC, 40, 0)])
        examine(any_database, DAILY, NOW.replace(minute=number % 3 + len(state(any_database)[0][0])), POLICY)
    gaps, _ = state(any_database)[0]
    assert sorted((f"{row.start:%m-%d}", row.status) for row in gaps) == [
        ("03-13", "repaired"),
        ("03-13", "repaired"),
        ("03-14", "open"),
    ]


def test_listings_of_several_spans_owe_nothing_between_them(any_database):
    verified(any_database)
    with written(any_database, DAILY) as connection:
        connection.execute(delete(CANDLES).where(CANDLES.c.timestamp >= naive(day(30)), CANDLES.c.entity_id == BTC))
        list_again(connection, (day(0), day(40)), (day(60), day(80)))
    said = examine(any_database, DAILY, NOW, POLICY)
    btc = said.completeness[0]
    assert btc.owed == [Span(day(0), day(40)), Span(day(60), day(80))]
    assert merge(gap.span for gap in btc.gaps) == [Span(day(30), day(40)), Span(day(60), day(80))]
    assert (btc.expected, btc.missing, btc.present) == (60, 30, 30)
    # A listing that turns out shorter takes its gaps with it.
    with written(any_database, DAILY) as connection:
        connection.execute(delete(TABLES["crypto_listing"]))
        list_again(connection, (day(0), day(35)), (day(60), day(70)))
    btc = examine(any_database, DAILY, NOW, POLICY).completeness[0]
    assert merge(gap.span for gap in btc.gaps) == [Span(day(30), day(35)), Span(day(60), day(70))]


def test_coverage_without_candles_is_a_gap_and_candles_without_coverage_owe_nothing(any_database):
    verified(any_database)
    with written(any_database, DAILY) as connection:
        connection.execute(delete(CANDLES).where(CANDLES.c.entity_id == BTC))
        connection.execute(
            delete(TABLES["crypto_kdata_coverage"]).where(TABLES["crypto_kdata_coverage"].c.entity_id == ETH)
        )
        connection.execute(CHANGES.delete())
        # As of a run that was killed when it had claimed what it asked for.
        connection.execute(update(TABLES["crypto_kdata_coverage"]).values(present=0, digest=""))
    for deep in (False, True):
        [btc] = examine(any_database, DAILY, NOW, POLICY, deep=deep).completeness
        assert [gap.span for gap in btc.gaps] == [MONTHS]


def test_an_unsound_row_where_nothing_was_collected_is_found(any_database):
    verified(any_database)
    disturbed(any_database, [("insert", BTC, -5, 0), ("update", BTC, -5, "unsound"), ("insert", ETH, 100, 1000)])
    found = [examine(any_database, DAILY, NOW, POLICY)]
    with any_database.begin(DAILY.name) as connection:
        connection.execute(CHANGES.delete())
    found.append(examine(any_database, DAILY, NOW, POLICY, deep=True))
    for said in found:
        assert {name: finding.count for name, finding in said.findings.items() if finding.count} == {
            "valid_ohlc": 1,
            "on_grid": 1,
        }


class TestArchivedMonths:
    """March of one symbol is in a file."""

    @pytest.fixture
    def archive(self, any_database, tmp_path):
        verified(any_database)
        assert len(archive_candles(any_database, tmp_path, DAILY, [(BTC, "2023-03-01")])) == 1
        return tmp_path

    def test_what_is_in_a_file_is_present_and_verified(self, any_database, archive):
        for deep in (False, True, False):
            said = examine(any_database, DAILY, NOW, POLICY, deep=deep)
            assert (said.altered, said.rows, said.completeness[0].missing) == ([], 178, 0)
        assert said.looked_at == 0
        assert restore_candles(any_database, archive, DAILY).restored == 31
        assert examine(any_database, DAILY, NOW, POLICY).altered == []

    @pytest.mark.usefixtures("archive")
    def test_rows_that_somebody_puts_before_a_file_are_found(self, any_database):
        disturbed(any_database, [("insert", BTC, 40, 0)])
        assert [each.partition for each in examine(any_database, DAILY, NOW, POLICY).altered] == ["2023-03-01"]
        disturbed(any_database, [("update", BTC, 40, "unsound")])
        said = examine(any_database, DAILY, NOW, POLICY)
        assert (said.altered, said.findings["valid_ohlc"].count) == ([], 1)
        disturbed(any_database, [("delete", BTC, 40, None)])
        said = examine(any_database, DAILY, NOW, POLICY)
        assert (said.altered, said.offending, state(any_database)[1]) == ([], {}, [])

    def test_one_that_cannot_be_verified_is_looked_at_when_it_is_restored(self, any_database, archive):
        with written(any_database, DAILY) as connection:
            unverify(connection, DAILY, BTC, ["2023-03-01"])
        examine(any_database, DAILY, NOW, POLICY)
        assert examine(any_database, DAILY, NOW, POLICY).looked_at == 0
        restore_candles(any_database, archive, DAILY)
        said = examine(any_database, DAILY, NOW, POLICY)
        assert (said.looked_at, said.altered) == (1, [])

    @pytest.mark.usefixtures("archive")
    def test_neighbours_are_the_nearest_candles_wherever_they_are(self, any_database):
        with any_database.connect(DAILY.name) as connection:
            series = SymbolPartitions(connection, DAILY, BTC)
            assert series.neighbours(Span(day(60), day(61))) == (
                naive(day(58)) + (naive(day(1)) - naive(day(0))),
                naive(day(61)),
            )
            assert series.neighbours(Span(day(59), day(60))) == (naive(day(58)), naive(day(60)))
            assert series.neighbours(Span(day(27), day(28))) == (naive(day(26)), naive(day(28)))
            assert series.neighbours(Span(day(0), day(1))) == (None, naive(day(1)))
            assert series.neighbours(Span(day(88), day(89))) == (naive(day(87)), None)


NO_TIMES = ["garbage", "2023-03-2", "9999-12-31 00:00:00.000000", "%_", ""]


@pytest.mark.parametrize(
    ("table", "text"),
    [*((table, text) for text in NO_TIMES for table in (FIVE_MINUTES, DAILY)), (FIVE_MINUTES, "2023-02-30 00:00:00")],
)
def test_a_time_that_is_none_is_named_and_stops_nothing(tmp_path, migrated_directory, text, table):
    shutil.copytree(migrated_directory, tmp_path / "data")
    database = open_database(f"sqlite:///{tmp_path}/data", "sandbox")
    span = DAY if table == FIVE_MINUTES else Span(parse_time("2023-03-01"), parse_time("2023-04-01"))
    interval = Interval.M5 if table == FIVE_MINUTES else D1
    with written(database, table) as connection:
        list_pairs(connection)
        store(connection, times_of(span, interval), table=table)
        collected(connection, span, table=table)
        columns = "entity_id, provider, name, open, high, low, close, volume, volume_quote, trade_count"
        connection.exec_driver_sql(
            f"INSERT INTO {table.name} (timestamp, {columns}) SELECT ?, {columns} FROM {table.name} LIMIT 1",
            ("a row too many",),
        )
        # Only what is changed or deleted is marked (docs/decisions/0014).
        connection.exec_driver_sql(f"UPDATE {table.name} SET timestamp = ? WHERE timestamp = 'a row too many'", (text,))
        connection.execute(CHANGES.delete().where(CHANGES.c.partition.like("a row%")))
    assert settle_marks(database, table, NOW, POLICY, 10) == 1
    for deep in (False, True, False):
        said = examine(database, table, NOW, POLICY, deep=deep)
        assert said.findings["on_grid"].count == 1
        assert (said.completeness[0].missing, said.altered) == (0, [])
    with database.begin(table.name) as connection:
        connection.execute(CHANGES.delete())
    assert examine(database, table, NOW, POLICY, deep=True).findings["on_grid"].count == 1
    with database.begin(table.name) as connection:
        connection.exec_driver_sql(f"DELETE FROM {table.name} WHERE timestamp = ?", (text,))
    assert examine(database, table, NOW, POLICY).offending == {}
    assert state(database, table)[1] == []
    database.dispose()


def test_values_no_exchange_sends_stop_nothing(any_database):
    verified(any_database)
    for number, values in enumerate(
        [{"trade_count": 2**31 - 1}, {"volume": 1e308}, {"close": -1e308, "change_pct": 1e300}, {"volume_quote": 1e18}]
    ):
        with any_database.begin(DAILY.name) as connection:
            connection.execute(update(CANDLES).where(*row_of(BTC, number)).values(**values))
    said = examine(any_database, DAILY, NOW, POLICY)
    assert (said.looked_at, said.findings["valid_ohlc"].count) == (1, 1)


def test_a_mark_waits_for_the_change_that_it_stands_for(any_database):
    """Or it would be cleared before the change can be seen, and nothing would tell of it afterwards."""
    verified(any_database)
    disturbed(any_database, [("update", BTC, 40, "sound")])
    with any_database.connect(DAILY.name) as somebody, any_database.connect(DAILY.name) as another:
        somebody.execute(update(CANDLES).where(*row_of(BTC, 41)).values(volume=3.0))
        if any_database.engine == "sqlite":
            another.exec_driver_sql("PRAGMA busy_timeout = 0")
        clearing = delete(CHANGES) if any_database.engine == "sqlite" else select(CHANGES).with_for_update(nowait=True)
        with pytest.raises((DBAPIError, DatabaseError)):
            another.execute(clearing)
        another.invalidate()  # nobody else is to meet its settings


def test_a_mark_set_while_a_partition_was_looked_at_is_kept(any_database):
    verified(any_database)
    with any_database.begin(DAILY.name) as connection:
        clear_marks(connection, DAILY, BTC, ["2023-03-01"])
        connection.execute(insert(CHANGES), {"candles": DAILY.name, "entity_id": BTC, "partition": "2023-03-01"})
        note_found(connection, DAILY, BTC, [("2023-03-01", "digest"), ("2023-04-01", "digest")])
        assert [mark.found for mark in marks(connection, DAILY)] == [None, "digest"]


def test_what_a_corrected_listing_owes_no_more_is_looked_at_once(any_database):
    verified(any_database)
    pairs = TABLES["crypto_pair"]
    with any_database.begin("crypto_pair") as connection:
        of_btc = pairs.c.id == BTC
        connection.execute(update(pairs).where(of_btc).values(list_date=naive(parse_time("2023-03-01"))))
    first = examine(any_database, DAILY, NOW, POLICY)
    assert (first.looked_at, first.altered) == (1, [])
    assert first.rows == 2 * D1.count(*MONTHS) - 28
    again = examine(any_database, DAILY, NOW, POLICY)
    assert (again.looked_at, again.rows) == (0, first.rows)
