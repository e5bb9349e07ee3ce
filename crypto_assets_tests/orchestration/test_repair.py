"""The sensor that repairs: what it asks for tick by tick, and what its runs leave behind."""

from __future__ import annotations

from datetime import date, timedelta

import dagster as dg
import pytest

from crypto_assets.orchestration.sensors.gap_backfill import REPAIRS_PER_TICK
from crypto_assets.orchestration.sensors.run_requests import REQUEST, next_try
from crypto_assets_tests.sandboxed_project import BTC, ETH, Project, evaluation

TABLE = "cryptopair_5m_kdata"
NOON = "2023-03-21 12:00:00.000000"
HOUR_LOST = (
    f"DELETE FROM {TABLE} WHERE entity_id = '{BTC}' AND timestamp >= '{NOON}' AND timestamp < '2023-03-21 13:00'"
)
HIDDEN = "hidden_span:symbol=BTCUSDT,interval=5m,start=2023-03-21T12:00,end=2023-03-21T13:00"


@pytest.fixture
def project(collected_project, sandbox, tmp_path) -> Project:
    copied = collected_project.copy(tmp_path / "project", url=sandbox.url)
    sandbox.requests.reset()
    return copied


def requests(project: Project) -> list[dg.RunRequest]:
    return [each for each in project.tick() if isinstance(each, dg.RunRequest)]


def reason(project: Project) -> str:
    (skipped,) = project.tick()
    assert isinstance(skipped, dg.SkipReason)
    return str(skipped.skip_message)


def ledger(project: Project) -> list[tuple]:
    columns = "level, entity_id, start, end, missing, status, attempts"
    rows = project.sql(
        "crypto_quality", f"SELECT {columns.replace('end', chr(34) + 'end' + chr(34))} FROM crypto_kdata_gap"
    )
    return sorted(rows)


def later(project: Project, **by: float) -> None:
    project.our_clock.ahead += timedelta(**by)


def test_nothing_missing_asks_for_nothing(project):
    assert reason(project) == "Nothing is missing that the exchange may have."


def test_deleted_candles_are_asked_for_exactly_and_come_back_equal(project, collected_project, sandbox):
    project.sql(TABLE, HOUR_LOST)
    (request,) = requests(project)
    assert request.job_name == "backfill_daily_kdata"
    assert list(request.asset_selection) == [dg.AssetKey(TABLE)]
    assert request.run_config["ops"][TABLE]["config"] == {"spans": {"BTC/USDT": ["2023-03-21T12:00/2023-03-21T13:00"]}}
    assert request.tags["dagster/asset_partition_range_start"] == "2023-03-21"
    assert request.tags["dagster/asset_partition_range_end"] == "2023-03-21"
    assert request.tags["dagster/max_runtime"] == "3600"
    assert project.carry_out(request).success
    assert project.rows(TABLE) == collected_project.rows(TABLE)
    assert ledger(project) == [("5m", BTC, NOON, "2023-03-21 12:55:00.000000", 12, "repaired", 0)]
    assert reason(project) == "Nothing is missing that the exchange may have."


def test_one_missing_candle_costs_one_request(project, sandbox):
    project.sql(TABLE, f"DELETE FROM {TABLE} WHERE entity_id = '{ETH}' AND timestamp = '{NOON}'")
    (request,) = requests(project)
    assert project.carry_out(request).success
    asked = [each.path for each in sandbox.requests.recent()]
    assert sorted(asked) == ["/api/v3/klines", "/api/v3/time"]


def test_an_altered_candle_is_asked_for_with_its_whole_partition(project, collected_project):
    project.sql(TABLE, f"UPDATE {TABLE} SET close = close + 0.01, high = high + 0.01 WHERE timestamp = '{NOON}'")
    (request,) = requests(project)
    day = ["2023-03-21T00:00/2023-03-22T00:00"]
    assert request.run_config["ops"][TABLE]["config"]["spans"] == {"BTC/USDT": day, "ETH/USDT": day}
    checked = project.check(TABLE)
    assert not evaluation(checked, TABLE, "unaltered").passed
    assert project.carry_out(request).success
    assert project.rows(TABLE) == collected_project.rows(TABLE)
    assert project.check(TABLE).success
    assert requests(project) == []


def test_a_candle_altered_beside_a_deleted_one_is_healed_with_it(project, collected_project):
    project.sql(TABLE, HOUR_LOST)
    project.sql(TABLE, f"UPDATE {TABLE} SET volume = volume + 1 WHERE timestamp = '2023-03-21 18:00:00.000000'")
    for request in requests(project):
        assert project.carry_out(request).success
    for request in requests(project):
        assert project.carry_out(request).success
    assert project.rows(TABLE) == collected_project.rows(TABLE)
    assert project.check(TABLE).success


def test_neighbouring_days_of_both_symbols_are_one_run_and_distant_ones_are_not(project):
    project.sql(TABLE, f"DELETE FROM {TABLE} WHERE entity_id = '{BTC}' AND timestamp LIKE '2023-03-20%'")
    project.sql(TABLE, f"DELETE FROM {TABLE} WHERE entity_id = '{ETH}' AND timestamp LIKE '2023-03-21 0%'")
    project.sql("cryptopair_1h_kdata", f"DELETE FROM cryptopair_1h_kdata WHERE timestamp = '{NOON}'")
    asked = {
        str(request.asset_selection[0].path[0]): request.run_config["ops"][request.asset_selection[0].path[0]]["config"]
        for request in requests(project)
    }
    assert asked == {
        TABLE: {
            "spans": {
                "BTC/USDT": ["2023-03-20T00:00/2023-03-21T00:00"],
                "ETH/USDT": ["2023-03-21T00:00/2023-03-21T10:00"],
            }
        },
        "cryptopair_1h_kdata": {
            "spans": {symbol: ["2023-03-21T12:00/2023-03-21T13:00"] for symbol in ("BTC/USDT", "ETH/USDT")}
        },
    }


def test_what_lies_before_the_first_partition_of_a_later_start_is_left_and_said(project):
    project.sql(TABLE, f"DELETE FROM {TABLE} WHERE entity_id = '{BTC}' AND timestamp < '2023-03-21 01:00'")
    project = project.copy(project.directory.parent / "later", start=date(2023, 3, 21))
    (request,) = requests(project)
    assert request.run_config["ops"][TABLE]["config"] == {"spans": {"BTC/USDT": ["2023-03-21T00:00/2023-03-21T01:00"]}}
    assert request.tags["dagster/asset_partition_range_start"] == "2023-03-21"
    assert project.carry_out(request).success
    assert reason(project) == (
        "Nothing is due. What is due of cryptopair_5m_kdata before 2023-03-21 is left: CRYPTO_ASSETS_START is"
        " 2023-03-21 here, so there are no partitions of it. All processes of one database need the same."
    )


def test_a_repair_that_is_under_way_is_not_asked_for_again_nor_is_anything_of_its_table(project):
    project.sql(TABLE, HOUR_LOST)
    (request,) = requests(project)
    for status in (dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED):
        busy = project.copy(project.directory.parent / status.value)
        busy.record(request, status)
        busy.sql(TABLE, f"DELETE FROM {TABLE} WHERE timestamp = '2023-03-20 06:00:00.000000'")
        assert "being collected" in reason(busy)


def test_a_run_of_a_user_over_a_table_keeps_its_repairs_waiting_but_not_those_of_others(project):
    project.sql(TABLE, HOUR_LOST)
    project.sql("cryptopair_1h_kdata", f"DELETE FROM cryptopair_1h_kdata WHERE timestamp = '{NOON}'")
    job = project.definitions.resolve_job_def("backfill_daily_kdata")
    project.instance.create_run_for_job(job, asset_selection=frozenset([dg.AssetKey(TABLE)]))
    assert [request.asset_selection for request in requests(project)] == [[dg.AssetKey("cryptopair_1h_kdata")]]


def test_a_failed_repair_is_asked_for_on_the_next_tick_then_after_growing_waits(project):
    project.sql(TABLE, HOUR_LOST)
    keys = []
    for wait in (0, 0, 1, 2, 4):
        if wait:
            assert "failed a short time ago" in reason(project)
        later(project, minutes=wait)
        (request,) = requests(project)
        keys.append(request.run_key)
        project.record(request, dg.DagsterRunStatus.FAILURE)
    assert len(set(keys)) == 5
    assert "failed a short time ago" in reason(project)


def test_a_request_that_failed_often_has_a_new_key_each_time(project):
    instance, keys = project.instance, []
    for number in range(60):
        run_key = next_try(instance, "digest", project.our_clock.now())
        keys.append(run_key)
        failed = dg.DagsterRunStatus.FAILURE
        run = dg.DagsterRun(job_name="backfill_daily_kdata", status=failed, tags={REQUEST: "digest"})
        instance.add_run(run)
        assert next_try(instance, "digest", project.our_clock.now()) not in (None, run_key), number
    assert len(set(keys)) == 60


def test_a_repair_is_not_judged_for_what_it_was_not_asked_to_repair(project, sandbox):
    sandbox.faults.add(HIDDEN)
    project.sql(TABLE, HOUR_LOST)
    (request,) = requests(project)
    assert project.carry_out(request).success
    assert [row[-2:] for row in ledger(project)] == [("open", 1)]
    project.sql(TABLE, f"DELETE FROM {TABLE} WHERE entity_id = '{ETH}' AND timestamp LIKE '2023-03-20 0%'")
    (request,) = requests(project)
    result = project.carry_out(request)
    assert result.success
    assert result.get_asset_check_evaluations() == []
    assert [row[-2:] for row in ledger(project)] == [("open", 1), ("repaired", 0)]
    assert not project.check(TABLE).success, "what is missing elsewhere is told by job integrity"


def test_a_request_that_never_became_a_run_is_made_again_under_the_same_key(project):
    project.sql(TABLE, HOUR_LOST)
    assert [request.run_key for request in requests(project)] == [request.run_key for request in requests(project)]


def test_a_run_that_was_killed_long_ago_keeps_nobody_waiting(project):
    project.sql(TABLE, HOUR_LOST)
    (request,) = requests(project)
    project.record(request, dg.DagsterRunStatus.STARTED)
    assert "being collected" in reason(project)
    later(project, hours=7)
    (again,) = requests(project)
    assert again.run_key != request.run_key
    assert project.carry_out(again).success
    assert [row[-2] for row in ledger(project)] == ["repaired"]


def test_an_exchange_that_does_not_answer_leaves_the_gap_due(project, sandbox):
    project.sql(TABLE, HOUR_LOST)
    sandbox.faults.add("status_5xx:path=klines")
    (request,) = requests(project)
    assert not project.carry_out(request).success
    assert [row[-2:] for row in ledger(project)] == [("open", 0)]
    sandbox.faults.clear()
    (again,) = requests(project)
    assert again.run_key != request.run_key
    assert project.carry_out(again).success
    assert [row[-2] for row in ledger(project)] == ["repaired"]


def test_a_hidden_span_is_asked_for_at_growing_intervals_and_repaired_once_it_is_back(
    project, collected_project, sandbox
):
    project.sql(TABLE, HOUR_LOST)
    sandbox.faults.add(HIDDEN)
    for attempts, hours in ((1, 0), (2, 1)):
        later(project, hours=hours)
        (request,) = requests(project)
        assert project.carry_out(request).success
        assert [row[-2:] for row in ledger(project)] == [("open", attempts)]
        assert "asked again at" in reason(project)
    later(project, hours=1)
    assert "asked again at" in reason(project)  # the second wait is twice the first
    sandbox.faults.clear()
    later(project, hours=1)
    (request,) = requests(project)
    assert project.carry_out(request).success
    assert project.rows(TABLE) == collected_project.rows(TABLE)
    assert project.check(TABLE).success


def test_a_span_that_stays_away_becomes_the_sources_and_is_asked_for_daily_then_weekly(project, sandbox):
    project.sql(TABLE, HOUR_LOST)
    sandbox.faults.add(HIDDEN)
    for hours in (0, 1, 2):
        later(project, hours=hours)
        (request,) = requests(project)
        assert project.carry_out(request).success
    assert [row[-2:] for row in ledger(project)] == [("source", 3)]
    checked = project.check(TABLE)
    assert checked.success
    shown = evaluation(checked, TABLE, "no_gaps").metadata
    assert (shown["source_gaps"].value, shown["source_candles"].value) == (1, 12)
    percents = {row.data["entity_id"]: row.data["percent"] for row in shown["completeness"].records}
    assert percents == {BTC: 100.0, ETH: 100.0}
    assert requests(project) == []
    days = []
    for day in range(1, 22):
        later(project, days=1)
        for request in requests(project):
            assert project.carry_out(request).success
            days.append(day)
    assert days[:7] == [1, 2, 3, 4, 5, 6, 7]
    assert days[7:] == [14, 21]


def test_a_confirmed_gap_that_the_exchange_fills_later_is_repaired(project, collected_project, sandbox):
    project.sql(TABLE, HOUR_LOST)
    sandbox.faults.add(HIDDEN)
    for hours in (0, 1, 2):
        later(project, hours=hours)
        (request,) = requests(project)
        project.carry_out(request)
    sandbox.faults.clear()
    later(project, days=1)
    (request,) = requests(project)
    assert project.carry_out(request).success
    assert project.rows(TABLE) == collected_project.rows(TABLE)
    assert [row[-2] for row in ledger(project)] == ["repaired"]


def test_a_tick_asks_for_a_bounded_number_and_the_newest_first(project):
    for table in ("cryptopair_15m_kdata", "cryptopair_30m_kdata", "cryptopair_4h_kdata", "cryptopair_1d_kdata"):
        assert project.collect(table, "2023-03-01").success
        project.sql(table, f"DELETE FROM {table} WHERE timestamp LIKE '2023-03-18%'")
    project.sql("cryptopair_1h_kdata", "DELETE FROM cryptopair_1h_kdata WHERE timestamp LIKE '2023-03-19%'")
    project.sql(TABLE, HOUR_LOST)
    asked = requests(project)
    assert len(asked) == REPAIRS_PER_TICK < 6
    assert [str(each.asset_selection[0].path[0]) for each in asked][:2] == [TABLE, "cryptopair_1h_kdata"]


def test_a_machine_without_a_database_is_told_how_to_make_one(sandbox, tmp_path):
    assert "bootstrap" in reason(Project(tmp_path, sandbox.url))
