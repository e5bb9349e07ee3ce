"""Replaced files of the archive are noticed by their checksum and loaded again, and nothing else is."""

from __future__ import annotations

from datetime import date, timedelta

import dagster as dg
import pytest

from crypto_assets.database.engines import open_database
from crypto_assets.domain.intervals import parse_time
from crypto_assets.orchestration.jobs.archive_refresh import archive_schedule, compare_checksums
from crypto_assets.orchestration.resources import ArchiveResource, DatabaseResource
from crypto_assets.quality.gaps.ledger import our_clock
from crypto_assets_tests.sandboxed_project import (
    Clock,
    Project,
    failure_sentence,
    figures,
    impatient_archive,
    running_sandbox,
)

TABLE = "cryptoperp_15m_kdata"
BTC = "cryptoperp_binance_btcusdt"
REVISED = "revised:symbol=BTCUSDT,interval=15m,start=2023-02-19T12:00,end=2023-02-19T12:45"


@pytest.fixture(scope="module")
def running():
    clock = Clock(parse_time("2023-03-08T12:00") + 30_000)
    with running_sandbox(clock, genesis=parse_time("2022-12-28")) as made:
        yield made


@pytest.fixture
def sandbox(running):
    running.faults.clear()
    running.requests.reset()
    yield running
    running.faults.clear()


@pytest.fixture(scope="module")
def collected_months(running, tmp_path_factory) -> Project:
    """Two months of two perpetuals from the archive: the last whose files can be expected. To copy from."""
    perps = ("BTC/USDT:USDT", "ETH/USDT:USDT")
    directory, start = tmp_path_factory.mktemp("months"), date(2023, 1, 1)
    made = Project(directory, running.url, archive_url=running.url, pairs=(), perps=perps, start=start)
    assert made.run("bootstrap").success
    collected = made.collect(TABLE, "2023-01-01", "2023-02-01")
    assert figures(collected, TABLE)["rows_from_archive"] == 2 * (31 + 28) * 96
    return made


@pytest.fixture
def project(collected_months, sandbox, tmp_path) -> Project:
    return collected_months.copy(tmp_path / "p", archive_url=sandbox.url, start=date(2023, 1, 1))


def refresh(project: Project) -> dict:
    result = project.run("refresh_archive_files")
    assert result.success, failure_sentence(result)
    (metadata,) = [event.step_output_data.metadata for event in result.all_events if event.is_successful_output]
    return {name: value.value for name, value in metadata.items()}


def asked(sandbox) -> list[str]:
    return sorted(path.rpartition("/")[2] for path in sandbox.requests.by_path if path.startswith("/data/"))


def checksums(project: Project) -> dict:
    return dict(project.sql("crypto_quality", "SELECT period, sha256 FROM crypto_source_file WHERE entity_id = ?", BTC))


def test_while_no_file_was_replaced_only_checksums_are_asked_for(project, sandbox):
    assert refresh(project) == {
        "files_compared": 4,
        "files_replaced": 0,
        "files_without_checksum": 0,
        "replaced": "",
        "without_checksum": "",
    }
    assert len(asked(sandbox)) == 4
    assert all(name.endswith(".CHECKSUM") for name in asked(sandbox))
    assert set(sandbox.requests.by_path) == {path for path in sandbox.requests.by_path if path.startswith("/data/")}


def test_a_replaced_file_replaces_what_came_from_it_and_all_that_derives_from_it(project, sandbox):
    before, known = project.rows(TABLE), checksums(project)
    sandbox.faults.add(REVISED)
    shown = refresh(project)
    assert (shown["files_replaced"], shown["replaced"]) == (1, "BTCUSDT-15m-2023-02.zip")
    after = project.rows(TABLE)
    revised = {row[0] for row in set(after) - set(before)}
    assert revised == {BTC}
    assert 3 <= len(set(after) - set(before)) <= 23
    changed = {period for period, sha256 in checksums(project).items() if known[period] != sha256}
    assert changed == {"2023-02"}
    # What a fresh database would hold.
    fresh = project.copy(project.directory.parent / "fresh", archive_url=sandbox.url, start=date(2023, 1, 1))
    fresh.sql(TABLE, f"DELETE FROM {TABLE}")
    assert fresh.collect(TABLE, "2023-01-01", "2023-02-01").success
    assert fresh.rows(TABLE) == after
    assert refresh(project)["files_replaced"] == 0
    partitions = project.instance.get_materialized_partitions(dg.AssetKey(TABLE))
    assert partitions == {"2023-02-01"}


def test_a_replaced_file_that_cannot_be_trusted_leaves_the_month_to_rest_and_is_forgotten(project, sandbox):
    before = project.rows(TABLE)
    sandbox.faults.add("checksum_mismatch:symbol=BTCUSDT")
    assert refresh(project)["files_replaced"] == 2
    assert project.rows(TABLE) == before
    assert checksums(project) == {}
    of_btc = "SELECT DISTINCT source FROM crypto_kdata_coverage WHERE entity_id = ? AND level = '15m'"
    assert project.sql("crypto_quality", of_btc, BTC) == [("rest",)]
    assert refresh(project)["files_compared"] == 2


def test_a_file_whose_checksum_vanished_or_says_nothing_is_only_told(project, sandbox):
    before, known = project.rows(TABLE), checksums(project)
    sandbox.faults.add("archive_missing:symbol=BTCUSDT,start=2023-01-01,end=2023-02-01")
    sandbox.faults.add("html_body:path=/ETHUSDT-15m-2023-02,times=1")
    shown = refresh(project)
    assert (shown["files_compared"], shown["files_replaced"], shown["files_without_checksum"]) == (4, 0, 2)
    assert (project.rows(TABLE), checksums(project)) == (before, known)


def test_an_archive_that_does_not_answer_fails_the_run_with_one_sentence(project, sandbox):
    sandbox.faults.add("status_5xx:path=/data/")
    result = project.run("refresh_archive_files")
    assert not result.success
    assert "failed with HTTP 503; try again later" in failure_sentence(result)
    assert failure_sentence(result).count("\n") == 0


def test_a_bounded_number_of_files_is_compared_and_each_in_its_turn(project, sandbox):
    database, archive = open_database(f"sqlite:///{project.directory}", "sandbox"), impatient_archive(sandbox.url)
    now = our_clock()
    # In our time all of them are old.
    first, second, third = (compare_checksums(database, archive, now + timedelta(hours=n), 2) for n in range(3))
    assert [each.compared for each in (first, second, third)] == [2, 2, 2]
    assert len(asked(sandbox)) == 4
    recent = now.replace(year=2023, month=3, day=8)
    assert compare_checksums(database, archive, recent, 500).compared == 4
    archive.close()
    database.dispose()


def test_the_schedule_says_why_there_is_nothing_to_compare(project, tmp_path):
    def tick(environment: str, directory) -> str:
        database = DatabaseResource(url=f"sqlite:///{directory}", environment="sandbox")
        archive = ArchiveResource(environment=environment)
        said = archive_schedule(dg.build_schedule_context(resources={"database": database, "archive": archive}))
        return str(said.skip_message) if isinstance(said, dg.SkipReason) else "run"

    assert tick("testnet", project.directory) == "No archive is asked in this environment."
    assert "run job bootstrap" in tick("live", tmp_path / "nothing")
    assert tick("live", project.directory) == "run"
