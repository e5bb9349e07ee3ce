"""What `dagster dev` shows and runs when it is asked through GraphQL, and what the `dagster` command does."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from crypto_assets_tests.live_dagster import dagster_home, environment, running_dagster
from crypto_assets_tests.sandboxed_project import Clock, running_sandbox

TABLE = "cryptopair_1m_kdata"


@pytest.fixture(scope="module")
def sandbox():
    with running_sandbox(Clock()) as running:
        yield running


def stored(database: Path, table: str) -> list[tuple]:
    file = database / "binance" / f"binance_{table}.db"
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(f"SELECT count(*), min(timestamp), max(timestamp) FROM {table}").fetchall()


def test_dagster_dev_loads_the_location_and_collects_a_range_launched_through_graphql(sandbox, tmp_path):
    with running_dagster(sandbox, tmp_path) as live:
        locations = live.ask(
            """{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus
                locationOrLoadError { __typename ... on PythonError { message } } } } } }"""
        )["workspaceOrError"]["locationEntries"]
        assert locations == [
            {
                "name": "crypto_assets.definitions",
                "loadStatus": "LOADED",
                "locationOrLoadError": {"__typename": "RepositoryLocation"},
            }
        ]
        assert live.launch("bootstrap") == "SUCCESS"
        tags = {"dagster/asset_partition_range_start": "2023-03-20", "dagster/asset_partition_range_end": "2023-03-21"}
        assert live.launch("backfill_daily_kdata", [TABLE], tags) == "SUCCESS"
        assert stored(live.database, TABLE) == [(2880, "2023-03-20 00:00:00.000000", "2023-03-21 23:59:00.000000")]
        ranges = live.ask(
            """query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
                assetPartitionStatuses { ... on TimePartitionStatuses { ranges { startKey endKey status } } } } } }""",
            key={"path": [TABLE]},
        )["assetNodeOrError"]["assetPartitionStatuses"]["ranges"]
        assert ranges == [{"startKey": "2023-03-20", "endKey": "2023-03-21", "status": "MATERIALIZED"}]
        schedules = live.ask(
            """{ schedulesOrError(repositorySelector: {repositoryName: "__repository__",
                repositoryLocationName: "crypto_assets.definitions"}) { ... on Schedules { results {
                name cronSchedule scheduleState { status } } } } }"""
        )["schedulesOrError"]["results"]
        assert {
            "name": "integrity_schedule",
            "cronSchedule": "0 */6 * * *",
            "scheduleState": {"status": "RUNNING"},
        } in (schedules)
    assert live.process.returncode == 0, live.log.read_text()[-4000:]


def test_the_dagster_command_collects_a_range_and_its_exit_code_tells_of_a_broken_table(
    sandbox, listed_project, tmp_path
):
    project = listed_project.copy(tmp_path / "database")
    home = dagster_home(tmp_path / "home")

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "dagster", *arguments],
            cwd=tmp_path,
            env=environment(sandbox, home, project.directory),
            capture_output=True,
            text=True,
            check=False,
        )

    collected = command(
        *("asset", "materialize", "-m", "crypto_assets.definitions", "--select", TABLE),
        *("--partition-range", "2023-03-20...2023-03-21"),
    )
    assert collected.returncode == 0, collected.stderr[-4000:]
    assert stored(project.directory, TABLE) == [(2880, "2023-03-20 00:00:00.000000", "2023-03-21 23:59:00.000000")]
    project.sql(TABLE, f"DELETE FROM {TABLE} WHERE timestamp = '2023-03-20 12:00:00.000000'")
    checked = command("job", "execute", "-m", "crypto_assets.definitions", "-j", "integrity")
    assert checked.returncode == 1
    assert "no_gaps" in checked.stderr
