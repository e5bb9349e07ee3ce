"""The sensor for new and dying symbols: what it asks for tick by tick, and what its runs leave behind."""

from __future__ import annotations

from datetime import date, timedelta

import dagster as dg
import pytest

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import parse_time, to_naive
from crypto_assets.quality.gaps.ledger import our_clock
from crypto_assets.sandbox.listing import GeneratedSymbol, symbol_info
from crypto_assets_tests.sandboxed_project import (
    BTC,
    ETH,
    GENESIS,
    Clock,
    Project,
    failure_sentence,
    running_sandbox,
)

DAILY, MONTHLY = "cryptopair_5m_kdata", "cryptopair_1h_kdata"
NEW = "cryptopair_binance_newusdt"
PAIRS = ("BTC/USDT", "ETH/USDT", "NEW/USDT")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def sandbox(clock):
    """A sandbox of the test's own, to break, by the test's clock."""
    with running_sandbox(clock) as running:
        yield running


@pytest.fixture
def project(collected_project, sandbox, clock, tmp_path) -> Project:
    return at_the_exchanges_time(collected_project.copy(tmp_path / "project", url=sandbox.url, clock=clock))


def at_the_exchanges_time(project: Project) -> Project:
    project.our_clock.ahead = to_naive(project.clock.now) - our_clock()
    return project


def with_pairs(project: Project, *pairs: str) -> Project:
    return at_the_exchanges_time(project.copy(project.directory.parent / "tracked", pairs=pairs))


def later(project: Project, **by: float) -> None:
    project.our_clock.ahead += timedelta(**by)
    project.clock.now += timedelta(**by) // timedelta(milliseconds=1)


def requests(project: Project) -> list[dg.RunRequest]:
    return [each for each in project.tick("new_listing_sensor") if isinstance(each, dg.RunRequest)]


def reason(project: Project) -> str:
    (skipped,) = project.tick("new_listing_sensor")
    assert isinstance(skipped, dg.SkipReason)
    return str(skipped.skip_message)


def listing_run(project: Project) -> dg.RunRequest:
    """The run that lists the symbols anew, which is all that is asked for."""
    (request,) = requests(project)
    assert (request.job_name, request.asset_selection) == ("list_symbols", None)
    return request


def asked(found: list[dg.RunRequest]) -> dict[tuple[str, str], list[str]]:
    """The symbols that are asked for, by table and first partition."""
    return {
        (table, request.tags["dagster/asset_partition_range_start"]): op["config"]["symbols"]
        for request in found
        for table, op in request.run_config["ops"].items()
    }


def stored(project: Project, table: str, entity: str) -> tuple:
    said = f"SELECT count(*), min(timestamp), max(timestamp) FROM {table} WHERE entity_id = ?"
    return project.sql(table, said, entity)[0]


def ledger(project: Project) -> list[tuple]:
    return project.sql("crypto_quality", "SELECT level, entity_id, status FROM crypto_kdata_gap ORDER BY 1, 2")


def test_symbols_are_listed_anew_every_six_hours_and_again_after_a_failure(project):
    assert reason(project) == "The symbols are listed anew at 2023-03-22 18:00 UTC."
    later(project, hours=6)
    first = listing_run(project)
    assert listing_run(project).run_key == first.run_key  # it never became a run
    project.record(first, dg.DagsterRunStatus.FAILURE)
    again = listing_run(project)
    assert again.run_key != first.run_key
    project.record(again, dg.DagsterRunStatus.STARTED)
    assert reason(project) == "The symbols are listed anew now, or that failed a short time ago."


def test_a_listing_that_succeeded_is_due_six_hours_later(project):
    later(project, hours=6)
    assert project.carry_out(listing_run(project)).success
    assert reason(project) == "The symbols are listed anew at 2023-03-23 00:00 UTC."


def test_a_symbol_that_is_tracked_from_now_on_is_listed_and_its_history_collected(project):
    project = with_pairs(project, *PAIRS)
    assert reason(project) == ("The symbols are listed anew at 2023-03-22 13:00 UTC. No candle is known of NEW/USDT.")
    later(project, hours=1)
    assert project.carry_out(listing_run(project)).success
    histories = requests(project)
    assert asked(histories) == {(DAILY, "2023-03-20"): ["NEW/USDT"], (MONTHLY, "2023-03-01"): ["NEW/USDT"]}
    assert [each.tags["dagster/asset_partition_range_end"] for each in histories] == ["2023-03-22", "2023-03-01"]
    assert [each.run_key for each in requests(project)] == [each.run_key for each in histories]

    project.record(histories[0], dg.DagsterRunStatus.STARTED)  # busy, and so are no other requests for its table
    assert asked(requests(project)) == {(MONTHLY, "2023-03-01"): ["NEW/USDT"]}
    for run in project.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        project.instance.report_run_failed(run)
    (failed, other) = requests(project)
    assert (failed.run_key, other.run_key) != (histories[0].run_key, histories[1].run_key)

    for request in (failed, other):
        assert project.carry_out(request).success
    assert stored(project, DAILY, NEW) == (
        2 * 288 + 13 * 12,
        "2023-03-20 00:00:00.000000",
        "2023-03-22 12:55:00.000000",
    )
    assert stored(project, MONTHLY, NEW)[:2] == (5 * 24 + 13 - 8, "2023-03-17 08:00:00.000000")
    assert "2023-03-22 19:00" in reason(project)
    assert project.check(DAILY).success
    assert project.check(MONTHLY).success


def test_a_history_before_the_first_partition_of_a_later_start_is_left_and_said(project):
    tracked = project.copy(project.directory.parent / "later", pairs=PAIRS, start=date(2023, 3, 22))
    project = at_the_exchanges_time(tracked)
    later(project, hours=1)
    assert project.carry_out(listing_run(project)).success
    histories = requests(project)
    assert asked(histories) == {(DAILY, "2023-03-22"): ["NEW/USDT"], (MONTHLY, "2023-03-01"): ["NEW/USDT"]}
    for request in histories:
        assert project.carry_out(request).success
    project.sql("crypto_quality", "DELETE FROM crypto_kdata_coverage WHERE entity_id = ? AND level = '5m'", NEW)
    project = at_the_exchanges_time(project.copy(project.directory.parent / "latest", start=date(2023, 3, 23)))
    assert reason(project) == (
        "The symbols are listed anew at 2023-03-22 19:00 UTC. What is due of cryptopair_5m_kdata before 2023-03-23 is"
        " left: CRYPTO_ASSETS_START is 2023-03-23 here, so there are no partitions of it. All processes of"
        " one database need the same."
    )


def test_a_symbol_the_exchange_does_not_list_yet_is_looked_for_hourly_and_then_collected(project, sandbox):
    project = with_pairs(project, *PAIRS)
    project.sql("crypto_pair", "DELETE FROM crypto_pair WHERE id = ?", NEW)
    hidden = sandbox.faults.add("vanished_symbol:symbol=NEWUSDT,market=spot")
    for hour in (14, 15):
        later(project, hours=1)
        result = project.carry_out(listing_run(project))
        assert "'NEW/USDT'" in failure_sentence(result)
        assert reason(project) == (
            f"The symbols are listed anew at 2023-03-22 {hour}:00 UTC. No candle is known of NEW/USDT."
        )
    sandbox.faults.remove(hidden.id)
    later(project, hours=1)
    assert project.carry_out(listing_run(project)).success
    assert set(asked(requests(project))) == {(DAILY, "2023-03-20"), (MONTHLY, "2023-03-01")}


def test_a_delisted_symbol_owes_until_its_end_and_its_last_stretch_is_collected(project, sandbox):
    sandbox.faults.add("delisted_symbol:symbol=ETHUSDT,market=spot,start=2023-03-22T14:00")
    later(project, hours=6)
    assert project.carry_out(listing_run(project)).success
    stretches = requests(project)
    assert asked(stretches) == {(DAILY, "2023-03-22"): ["ETH/USDT"], (MONTHLY, "2023-03-01"): ["ETH/USDT"]}
    for request in stretches:
        assert project.carry_out(request).success
    assert stored(project, DAILY, ETH)[2] == "2023-03-22 13:55:00.000000"
    assert stored(project, MONTHLY, ETH)[2] == "2023-03-22 13:00:00.000000"
    assert requests(project) == []
    for table in (DAILY, MONTHLY):
        assert project.check(table).success


def test_a_vanished_symbol_owes_until_it_was_last_seen_and_is_asked_for_no_more(project, sandbox):
    sandbox.faults.add("vanished_symbol:symbol=ETHUSDT,market=spot")
    later(project, hours=6)
    assert project.carry_out(listing_run(project)).success
    assert requests(project) == []
    for table in (DAILY, MONTHLY):
        assert project.check(table).success


def test_the_last_hours_of_a_symbol_that_left_the_listing_are_collected(project, sandbox):
    sandbox.faults.add("delisted_symbol:symbol=ETHUSDT,market=spot,start=2023-03-22T14:00")
    sandbox.faults.add("unlisted_symbol:symbol=ETHUSDT,market=spot")
    later(project, hours=6)
    assert project.carry_out(listing_run(project)).success
    stretches = requests(project)
    assert asked(stretches) == {(DAILY, "2023-03-22"): ["ETH/USDT"], (MONTHLY, "2023-03-01"): ["ETH/USDT"]}
    for request in stretches:
        assert project.carry_out(request).success
    assert stored(project, DAILY, ETH)[2] == "2023-03-22 13:55:00.000000"
    assert requests(project) == []
    assert project.check(DAILY).success


def test_a_source_that_starts_over_is_recorded_and_leaves_no_gaps(project, clock):
    project.sql(DAILY, f"DELETE FROM {DAILY} WHERE timestamp LIKE '2023-03-20 1%'")
    project.tick()  # the other sensor's: from now on the ledger has them
    assert ledger(project) == [("5m", BTC, "open"), ("5m", ETH, "open")]
    with running_sandbox(clock, genesis=parse_time("2023-03-21T06:00")) as wiped:
        project = at_the_exchanges_time(project.copy(project.directory.parent / "wiped", url=wiped.url))
        for _ in range(2):
            later(project, hours=6)
            assert project.carry_out(listing_run(project)).success
        for request in [*requests(project), *(r for r in project.tick() if isinstance(r, dg.RunRequest))]:
            assert project.carry_out(request).success
    logged = "SELECT entity_id, timestamp FROM crypto_data_quality_log WHERE validation_type = 'reset' ORDER BY 1"
    at = "2023-03-22 18:00:30.000000"
    assert project.sql("crypto_quality", logged) == [(BTC, at), (ETH, at)]
    assert ledger(project) == []
    for table in (DAILY, MONTHLY):
        assert project.check(table).success
    assert ledger(project) == []


def renamed(clock: Clock) -> list[GeneratedSymbol]:
    """MATIC until noon of the 21st, POL from three o'clock on, of the pairs; a perpetual is listed too."""
    noon = parse_time("2023-03-21T12:00")
    matic = symbol_info("MATICUSDT", "MATIC", "USDT", 4, 1, GENESIS, ended_ms=noon)
    pol = symbol_info("POLUSDT", "POL", "USDT", 4, 1, noon + 3 * 3_600_000)
    return [GeneratedSymbol(MarketType.SPOT, info, 0.5, 9_000) for info in (matic, pol)]


def test_a_renamed_symbol_is_collected_under_its_successor_by_sensor_assets_and_refresh(clock, tmp_path):
    clock.now = parse_time("2023-03-21T13:00") + 30_000
    with running_sandbox(clock, symbols=renamed(clock)) as sandbox:
        hidden = sandbox.faults.add("vanished_symbol:symbol=POLUSDT,market=spot")
        project = at_the_exchanges_time(Project(tmp_path, sandbox.url, clock, pairs=("MATIC/USDT",), perps=()))
        assert project.run("bootstrap").success
        assert project.collect(DAILY, "2023-03-20", "2023-03-21").success
        matic, pol = (f"cryptopair_binance_{code}usdt" for code in ("matic", "pol"))
        assert stored(project, DAILY, matic)[2] == "2023-03-21 11:55:00.000000"
        sandbox.faults.remove(hidden.id)
        later(project, hours=6)
        assert project.carry_out(listing_run(project)).success
        (history,) = requests(project)
        assert asked([history]) == {(DAILY, "2023-03-21"): ["POL/USDT"]}
        assert project.carry_out(history).success
        assert stored(project, DAILY, pol) == (48, "2023-03-21 15:00:00.000000", "2023-03-21 18:55:00.000000")
        later(project, hours=1)
        assert project.collect(DAILY, "2023-03-21").success
        assert stored(project, DAILY, pol)[0] == 60
        later(project, hours=1)
        assert project.run("refresh_kdata").success
        assert stored(project, DAILY, pol)[0] == 72
        assert stored(project, DAILY, matic)[0] == 288 + 144
        assert project.check(DAILY).success


def test_a_machine_without_a_database_or_a_listing_is_told_how_to_make_one(sandbox, migrated_files, tmp_path):
    assert "bootstrap" in reason(Project(tmp_path, sandbox.url))


def test_a_database_without_any_symbol_says_so(project):
    project.sql("crypto_pair", "DELETE FROM crypto_pair")
    assert reason(project) == "No symbol is listed yet; run job bootstrap."


def test_the_exchange_is_never_asked_by_the_sensor_itself(project, sandbox):
    sandbox.requests.reset()
    later(project, hours=7)
    requests(project)
    assert list(sandbox.requests.recent()) == []
