"""A real `dagster dev` with webserver and daemon, asked through GraphQL as its UI does, and the `dagster` command."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from crypto_assets_tests.sandboxed_project import Clock, running_sandbox

DEADLINE_SECONDS = 120
TABLE = "cryptopair_1m_kdata"
INSTANCE = Path(__file__).parents[2] / "dagster.yaml"


@pytest.fixture(scope="module")
def sandbox():
    with running_sandbox(Clock()) as running:
        yield running


def environment(sandbox, home: Path, database: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CRYPTO_ASSETS_", "DAGSTER_"))}
    return kept | {
        "DAGSTER_HOME": str(home),
        "CRYPTO_ASSETS_ENVIRONMENT": "sandbox",
        "CRYPTO_ASSETS_DATABASE": f"sqlite:///{database}",
        "CRYPTO_ASSETS_PAIRS": "BTC/USDT",
        "CRYPTO_ASSETS_PERPS": "",
        "CRYPTO_ASSETS_START": "2023-03-20",
        "CRYPTO_ASSETS_SPOT_URL": sandbox.url,
        "CRYPTO_ASSETS_FUTURES_URL": sandbox.url,
    }


def dagster_home(directory: Path) -> Path:
    directory.mkdir()
    # The one that is shipped: telemetry off, history below the current directory.
    shutil.copy(INSTANCE, directory)
    return directory


@dataclass
class LiveDagster:
    url: str
    process: subprocess.Popen
    database: Path
    log: Path

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(  # noqa: S310 - our own loopback
            f"{self.url}/graphql", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - likewise
            answer = json.load(response)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def wait_for(self, what: str, condition) -> Any:
        """Asks until `condition` gives something. Dagster has no event to wait for: its UI polls as well."""
        pause = threading.Event()
        for _ in range(DEADLINE_SECONDS * 5):
            assert self.process.poll() is None, self.log.read_text()
            found = condition()
            if found:
                return found
            pause.wait(0.2)
        raise AssertionError(f"{what} did not happen in {DEADLINE_SECONDS} s\n{self.log.read_text()[-4000:]}")

    def answers(self) -> bool:
        try:
            return self.ask("{ version }")["version"] is not None
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def launch(self, job: str, assets: list[str] = (), tags: dict[str, str] | None = None) -> str:
        """Launches a job as the UI does and waits for its end; returns its final status."""
        selector = {
            "repositoryLocationName": "crypto_assets.definitions",
            "repositoryName": "__repository__",
            "pipelineName": job,
        }
        if assets:
            selector |= {"assetSelection": [{"path": [asset]} for asset in assets], "assetCheckSelection": []}
        launched = self.ask(
            """mutation($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params) {
                __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
                ... on RunConfigValidationInvalid { errors { message } } } }""",
            params={
                "selector": selector,
                "mode": "default",
                "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in (tags or {}).items()]},
            },
        )["launchPipelineExecution"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        run_id = launched["run"]["runId"]

        def ended() -> str | None:
            run = self.ask("query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }", id=run_id)[
                "runOrError"
            ]
            return run["status"] if run["status"] in ("SUCCESS", "FAILURE", "CANCELED") else None

        return self.wait_for(f"the end of {job}", ended)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running_dagster(sandbox, directory: Path):
    port = free_port()
    log = directory / "dagster.log"
    arguments = ["dev", "-m", "crypto_assets.definitions", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "dagster", *arguments],
            cwd=directory,
            env=environment(sandbox, dagster_home(directory / "home"), directory / "database"),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        live = LiveDagster(f"http://127.0.0.1:{port}", process, directory / "database", log)
        try:
            live.wait_for("an answer of the webserver", live.answers)
            yield live
        finally:
            # The group is this test's own session: what `dagster dev` leaves behind must not outlive the test.
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise


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
