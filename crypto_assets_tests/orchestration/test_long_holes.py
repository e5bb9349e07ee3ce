"""One old partition collected: what is said of the time between, what is not asked for, and how a person decides."""

from __future__ import annotations

from datetime import date

import dagster as dg
import pytest

from crypto_assets.domain.intervals import parse_time
from crypto_assets_tests.sandboxed_project import (
    QUIET,
    Clock,
    Project,
    evaluation,
    failure_sentence,
    figures,
    red_checks,
    running_sandbox,
)

TABLE = "cryptopair_5m_kdata"
HELD = 18 * 288 * 2
"""Candles of both pairs from 2023-03-02 to 2023-03-19."""


@pytest.fixture(scope="module")
def clicked_project(tmp_path_factory):
    """Three days were collected, and then one of three weeks before. To copy from."""
    with running_sandbox(Clock(), parse_time("2023-03-01")) as sandbox:
        project = Project(tmp_path_factory.mktemp("clicked"), sandbox.url, start=date(2023, 3, 1), perps=())
        assert project.run("bootstrap").success
        assert project.collect(TABLE, "2023-03-20", "2023-03-22").success
        project.clicked = project.collect(TABLE, "2023-03-01")
        yield project


@pytest.fixture
def project(clicked_project, tmp_path):
    return clicked_project.copy(tmp_path / "project", start=date(2023, 3, 1))


def requests(project, sensor="gap_backfill_sensor"):
    return [each for each in project.tick(sensor) if isinstance(each, dg.RunRequest)]


def decide(project, decision, **config):
    ops = {"decide_about_holes": {"config": {"table": TABLE, "decision": decision, **config}}}
    return project.run("decide_holes", run_config=QUIET | {"ops": ops})


def holes_said(project):
    return evaluation(project.check(TABLE), TABLE, "no_gaps")


def test_the_run_that_opens_a_long_hole_says_so_and_what_it_would_take(clicked_project):
    shown = figures(clicked_project.clicked, TABLE)
    assert shown["not_collected"] == HELD
    assert shown["not_collected_requests"] == 12
    assert shown["collect"] == (
        f"crypto-assets gaps collect {TABLE} --start 2023-03-02 --end 2023-03-19 --symbols BTC/USDT,ETH/USDT"
    )
    (record,) = shown["holes"].records
    row = record.data
    assert (row["first"], row["last"], row["state"]) == ("2023-03-02 00:00", "2023-03-19 23:55", "waiting")


def test_the_check_passes_and_says_what_was_not_collected(project):
    checked = project.check(TABLE)
    verdict = evaluation(checked, TABLE, "no_gaps")
    assert red_checks(checked) == set()
    assert f"Not collected: {HELD:,} candles between collected partitions" in verdict.description
    assert verdict.metadata["not_collected"].value == HELD


def test_nobody_asks_for_what_waits_for_a_decision(project):
    assert requests(project) == []
    assert [each for each in requests(project, "new_listing_sensor") if each.job_name != "list_symbols"] == []


def test_what_is_to_be_collected_is_asked_for_until_that_is_taken_back(project):
    assert decide(project, "collect", symbols=["BTC/USDT"]).success
    (request,) = requests(project)
    assert request.run_config["ops"][TABLE]["config"] == {"spans": {"BTC/USDT": ["2023-03-02T00:00/2023-03-20T00:00"]}}
    project.record(request, dg.DagsterRunStatus.CANCELED)
    assert len(requests(project)) == 1
    assert decide(project, "undo").success
    assert requests(project) == []
    assert holes_said(project).metadata["not_collected"].value == HELD


def test_what_is_collected_by_decision_is_whole_in_the_end(project):
    assert decide(project, "collect").success
    for request in requests(project):
        assert project.carry_out(request).success
    verdict = holes_said(project)
    assert (verdict.passed, verdict.metadata["count"].value) == (True, 0)
    assert verdict.metadata["expected"].value == 2 * (21 * 288 + 144)
    assert "not_collected" not in verdict.metadata


def test_what_is_left_is_listed_and_waits_no_more(project):
    assert decide(project, "leave").success
    verdict = holes_said(project)
    assert "Not collected" not in verdict.description
    assert verdict.metadata["not_collected"].value == 0
    assert {record.data["state"] for record in verdict.metadata["holes"].records} == {"leave"}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"decision": "perhaps"}, "'perhaps' is no decision; there are collect, leave, undo."),
        ({"decision": "leave", "table": "crypto_pair"}, "'crypto_pair' is no candle table"),
        ({"decision": "leave", "symbols": ["NO/USDT"]}, "NO/USDT"),
        ({"decision": "leave", "start": "2023-03-09", "end": "2023-03-05"}, "is after the end"),
        ({"decision": "leave", "start": "yesterday"}, "'yesterday' is not an ISO date"),
    ],
)
def test_a_decision_about_nothing_is_one_sentence(project, config, said):
    result = decide(project, **config)
    assert not result.success
    assert said in failure_sentence(result)
    assert project.sql("crypto_quality", "SELECT count(*) FROM crypto_kdata_decision") == [(0,)]


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        ("2023-03-22", "2023-03-20", "The range starts at 2023-03-22, which is after its end 2023-03-20."),
        ("2230-01-01", "2230-01-02", "'2230-01-01' is no partition of cryptopair_5m_kdata: they go from 2023-03-01 to"),
        ("2023-02-27", "2023-03-02", "'2023-02-27' is no partition of cryptopair_5m_kdata"),
    ],
)
def test_a_range_by_tags_that_cannot_be_is_refused_before_anything_is_asked(project, first, last, said):
    before = project.rows("crypto_kdata_coverage")
    result = project.collect(TABLE, first, last)
    assert not result.success
    assert said in failure_sentence(result)
    assert project.rows("crypto_kdata_coverage") == before


def test_symbols_that_were_not_listed_in_the_range_are_named(project):
    project.sql("crypto_meta", "UPDATE crypto_pair SET list_date = '2023-03-21 00:00:00.000000' WHERE code = 'ethusdt'")
    shown = figures(project.collect(TABLE, "2023-03-20"), TABLE)
    assert shown["not_listed"] == "ETH/USDT"


@pytest.mark.parametrize(
    ("spans", "said"),
    [
        ({"BTC/USDT": ["2023-03-25T00:00/2023-03-25T01:00"]}, "is not within the run's partitions"),
        ({"ETH/USDT": ["2023-03-20T00:00/2023-03-20T01:00"]}, "spans of ETH/USDT: the run's symbols are BTC/USDT"),
    ],
)
def test_spans_in_the_config_that_would_be_passed_over_are_refused(project, spans, said):
    job = project.definitions.resolve_job_def("backfill_daily_kdata")
    chosen = job.get_subset(asset_selection=frozenset([dg.AssetKey(TABLE)]), asset_check_selection=frozenset())
    result = chosen.execute_in_process(
        instance=project.instance,
        run_config=QUIET | {"ops": {TABLE: {"config": {"symbols": ["BTC/USDT"], "spans": spans}}}},
        tags={"dagster/asset_partition_range_start": "2023-03-20", "dagster/asset_partition_range_end": "2023-03-20"},
        raise_on_error=False,
    )
    assert not result.success
    assert said in failure_sentence(result)
