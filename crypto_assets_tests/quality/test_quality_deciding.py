"""Decisions about long holes, and what becomes of the ledger with them; on every engine."""

from __future__ import annotations

import pytest
from sqlalchemy import delete, func, select, update

from crypto_assets.collect.holes import decide_by_name
from crypto_assets.database.tables import CHANGES, TABLES
from crypto_assets.domain.intervals import parse_time, partition_keys
from crypto_assets.domain.spans import Span
from crypto_assets.quality.gaps.coverage import claim_coverage, covered_partitions, owed_spans
from crypto_assets.quality.gaps.deciding import Verdict, decide, holes
from crypto_assets.quality.gaps.due import due_repairs
from crypto_assets.quality.gaps.ledger import OPEN, Gap, Policy
from crypto_assets.quality.gaps.rows import load_gaps, store_gaps
from crypto_assets.quality.verification.examination import examine, settle_ledger
from crypto_assets.quality.verification.partitions import SymbolPartitions
from crypto_assets_tests.quality.stored_candles import (
    BTC,
    DAY,
    ETH,
    FIVE_MINUTES,
    M5,
    NOW,
    PAIRS,
    TABLE,
    collected,
    list_pairs,
    store,
    times_of,
    written,
)

OLD = Span(parse_time("2018-01-01"), parse_time("2018-01-02"))
HOLE = Span(OLD.end, DAY.start)
POLICY = Policy()
ALL = {"crypto_kdata_gap", "crypto_kdata_coverage", "crypto_kdata_decision"}


@pytest.fixture
def clicked(quality_database):
    """Two pairs whose newest day and one old one were collected, as by one click on each."""
    with written(quality_database) as connection:
        list_pairs(connection, "BTC", "ETH")
        for entity in (BTC, ETH):
            for span in (DAY, OLD):
                store(connection, times_of(span), entity)
                collected(connection, span, parse_time("2023-03-22"), entity=entity)
    yield quality_database
    with written(quality_database) as connection:
        for name in (*ALL, "crypto_pair", "crypto_asset"):
            connection.execute(delete(TABLES[name]))
        connection.execute(delete(TABLE))
        connection.execute(delete(CHANGES))


def states(database, entity=BTC):
    with database.connect(FIVE_MINUTES.name) as connection:
        return [(hole.state, hole.span) for hole in holes(connection, FIVE_MINUTES, POLICY) if hole.entity_id == entity]


def gaps(database, entity=BTC):
    with database.connect(FIVE_MINUTES.name) as connection:
        return [gap.span for gap in load_gaps(connection, FIVE_MINUTES).get(entity, [])]


def say(database, verdict, **options):
    return decide(database, FIVE_MINUTES, verdict, NOW, "the test", POLICY, **options)


def repairs(database):
    with database.connect(FIVE_MINUTES.name) as connection:
        return due_repairs(connection, FIVE_MINUTES, NOW, POLICY).repairs


def test_a_long_hole_waits_and_is_neither_owed_nor_asked_for(clicked):
    assert states(clicked) == [("waiting", HOLE)]
    said = examine(clicked, FIVE_MINUTES, NOW, POLICY)
    assert [each.missing for each in said.completeness] == [0, 0]
    assert (gaps(clicked), repairs(clicked)) == ([], [])


def test_what_is_to_be_collected_is_a_gap_from_then_on_in_bounded_runs(clicked):
    assert [hole.span for hole in say(clicked, Verdict.COLLECT, symbols=["BTC/USDT"])] == [HOLE]
    assert states(clicked) == [("collect", HOLE)]
    assert states(clicked, ETH) == [("waiting", HOLE)]
    assert (gaps(clicked), gaps(clicked, ETH)) == ([HOLE], [])
    lengths = [len(partition_keys(M5.partition_scheme, *each.due[0].span)) for each in repairs(clicked)]
    assert len(lengths) == 20
    assert max(lengths) == 100


def test_what_was_to_be_collected_and_is_taken_back_is_asked_for_no_more(clicked):
    say(clicked, Verdict.COLLECT)
    assert [hole.span for hole in say(clicked, Verdict.UNDO)] == [HOLE, HOLE]
    assert states(clicked) == states(clicked, ETH) == [("waiting", HOLE)]
    assert (gaps(clicked), repairs(clicked)) == ([], [])
    with clicked.connect(FIVE_MINUTES.name) as connection:
        assert connection.scalar(select(func.count()).select_from(TABLES["crypto_kdata_decision"])) == 0


def test_what_is_left_waits_no_more_until_that_is_taken_back(clicked):
    say(clicked, Verdict.LEAVE)
    assert states(clicked) == [("leave", HOLE)]
    assert gaps(clicked) == []
    say(clicked, Verdict.UNDO)
    assert states(clicked) == [("waiting", HOLE)]


def test_a_decision_may_be_about_a_part_and_another_one_replaces_it_there(clicked):
    year = Span(parse_time("2022-01-01"), parse_time("2023-01-01"))
    half = Span(parse_time("2022-01-01"), parse_time("2022-07-01"))
    say(clicked, Verdict.COLLECT, within=year, symbols=["BTC/USDT"])
    say(clicked, Verdict.LEAVE, within=half, symbols=["BTC/USDT"])
    assert states(clicked) == [
        ("waiting", Span(HOLE.start, half.start)),
        ("leave", half),
        ("collect", Span(half.end, year.end)),
        ("waiting", Span(year.end, HOLE.end)),
    ]
    assert gaps(clicked) == [Span(half.end, year.end)]


def test_candles_that_are_there_already_are_no_gap(clicked):
    stored = Span(parse_time("2020-01-01"), parse_time("2020-01-02"))
    with written(clicked) as connection:
        store(connection, times_of(stored))
    say(clicked, Verdict.COLLECT, symbols=["BTC/USDT"])
    assert gaps(clicked) == [Span(HOLE.start, stored.start), Span(stored.end, HOLE.end)]


def test_partitions_that_an_ended_run_claimed_are_owed_no_more_and_those_it_got_stay(clicked):
    say(clicked, Verdict.COLLECT, symbols=["BTC/USDT"])
    window = Span(parse_time("2023-03-01"), HOLE.end)
    with written(clicked) as connection:
        claim_coverage(connection, FIVE_MINUTES, BTC, window, parse_time("2023-03-22"))
        got = Span(parse_time("2023-03-10"), parse_time("2023-03-11"))
        store(connection, times_of(got))
        coverage = TABLES["crypto_kdata_coverage"]
        connection.execute(coverage.update().where(coverage.c.partition == "2023-03-10").values(source="rest"))
    say(clicked, Verdict.UNDO)
    with clicked.connect(FIVE_MINUTES.name) as connection:
        kept = covered_partitions(connection, FIVE_MINUTES, BTC)[BTC]
        [owed, _] = owed_spans(connection, FIVE_MINUTES)
    assert sorted(kept) == ["2018-01-01", "2023-03-10", "2023-03-20"]
    assert owed.spans == [OLD, got, DAY]


def test_gaps_that_nobody_owes_any_more_leave_the_ledger_without_a_look_at_their_days(clicked):
    examine(clicked, FIVE_MINUTES, NOW, POLICY)
    with written(clicked) as connection:
        store_gaps(connection, FIVE_MINUTES, BTC, [], [Gap(HOLE, OPEN, 3, NOW)])  # owed by an older version
    said = examine(clicked, FIVE_MINUTES, NOW, POLICY)
    assert (said.looked_at, gaps(clicked)) == (0, [])


def test_a_gap_that_is_owed_in_part_keeps_that_part_and_its_history(clicked):
    over = Span(OLD.end - M5.milliseconds * 3, HOLE.end)
    with written(clicked) as connection:
        store_gaps(connection, FIVE_MINUTES, BTC, [], [Gap(over, OPEN, 3, NOW)])
    settle_ledger(clicked, FIVE_MINUTES, NOW, POLICY)
    with clicked.connect(FIVE_MINUTES.name) as connection:
        [gap] = load_gaps(connection, FIVE_MINUTES)[BTC]
    assert (gap.span, gap.attempts) == (Span(over.start, OLD.end), 3)


def test_a_longer_setting_owes_the_hole_and_its_days_are_found_missing(clicked):
    policy = Policy(longest_hole=POLICY.longest_hole * 1000)
    with written(clicked) as connection:
        series = SymbolPartitions(connection, FIVE_MINUTES, BTC)
        assert series.owed(policy.longest_hole).spans == [Span(OLD.start, DAY.end)]


def test_who_decided_and_where_is_kept_and_survives_a_decision_about_another_part(clicked):
    say(clicked, Verdict.LEAVE, symbols=["BTC/USDT"])
    part = Span(parse_time("2022-01-01"), parse_time("2023-01-01"))
    decide(clicked, FIVE_MINUTES, Verdict.COLLECT, NOW, "x" * 300, POLICY, symbols=["BTC/USDT"], within=part)
    c = TABLES["crypto_kdata_decision"].c
    with clicked.connect(FIVE_MINUTES.name) as connection:
        rows = connection.execute(select(c.decision, c.decided_at, c.decided_by).order_by(c.start)).all()
    assert rows == [("leave", NOW, "the test"), ("collect", NOW, "x" * 255), ("leave", NOW, "the test")]


def test_decisions_hold_on_every_engine(any_database):
    days = [OLD, DAY]
    with written(any_database) as connection:
        list_pairs(connection)
        for span in days:
            claim_coverage(connection, FIVE_MINUTES, BTC, span, parse_time("2023-03-22"))
    for verdict, state in ((Verdict.COLLECT, "collect"), (Verdict.LEAVE, "leave"), (Verdict.UNDO, "waiting")):
        say(any_database, verdict)
        assert states(any_database) == [(state, HOLE)]
    with any_database.connect(FIVE_MINUTES.name) as connection:
        [found] = owed_spans(connection, FIVE_MINUTES)
    assert found.spans == days


@pytest.mark.parametrize(
    ("written_as", "meant", "other"), [("btc/usdt", BTC, ETH), ("ethusdt", ETH, BTC)], ids=["name", "code"]
)
def test_of_two_symbols_with_one_name_the_hole_of_the_one_that_was_meant_is_decided_about(
    clicked, written_as, meant, other
):
    with written(clicked) as connection:
        for entity, exchange_id in ((BTC, "BTCUSDT"), (ETH, "ETHUSDT")):
            named = {"name": "BTC/USDT", "exchange_id": exchange_id}
            connection.execute(update(PAIRS).where(PAIRS.c.id == entity).values(named))
    decided = decide_by_name(clicked, FIVE_MINUTES.name, Verdict.LEAVE, NOW, "the test", POLICY, symbols=[written_as])
    assert {hole.entity_id for hole in decided} == {meant}
    assert states(clicked, meant) == [("leave", HOLE)]
    assert states(clicked, other) == [("waiting", HOLE)]
    decided = decide_by_name(
        clicked, FIVE_MINUTES.name, Verdict.UNDO, NOW, "the test", POLICY, symbols=[decided[0].symbol]
    )
    assert {hole.entity_id for hole in decided} == {meant}
