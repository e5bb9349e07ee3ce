"""A real `dagster dev` with webserver and daemon, asked through GraphQL as its UI does.

For tests of what the daemon does by itself; what runs do is tested in this process (`sandboxed_project`).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crypto_assets.sandbox.server import RunningSandbox

DEADLINE_SECONDS = 240
INSTANCE = Path(__file__).parents[1] / "dagster.yaml"


def environment(sandbox: RunningSandbox, home: Path, database: Path, **variables: str) -> dict[str, str]:
    """The variables of a project that collects one pair from `sandbox`, or what `variables` say instead."""
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
        **variables,
    }


def dagster_home(directory: Path) -> Path:
    """A DAGSTER_HOME, the one that is there already or a new one."""
    directory.mkdir(exist_ok=True)
    # The one that is shipped: telemetry off, history below the current directory.
    shutil.copy(INSTANCE, directory)
    return directory


@dataclass
class LiveDagster:
    """A running `dagster dev` and the database it works on."""

    url: str
    process: subprocess.Popen
    database: Path
    log: Path

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """What GraphQL answers, errors apart."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(  # noqa: S310 - our own loopback
            f"{self.url}/graphql", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - likewise
            answer = json.load(response)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def wait_for(self, what: str, condition: Callable[[], Any]) -> Any:
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
        """Whether the webserver is there."""
        try:
            return self.ask("{ version }")["version"] is not None
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def launch(self, job: str, assets: Sequence[str] = (), tags: dict[str, str] | None = None) -> str:
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
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running_dagster(sandbox: RunningSandbox, directory: Path, **variables: str) -> Iterator[LiveDagster]:
    """`dagster dev` in `directory`, with the history and the database that are there from an earlier one, if any."""
    port = free_port()
    log = directory / "dagster.log"
    arguments = ["dev", "-m", "crypto_assets.definitions", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("a") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "dagster", *arguments],
            cwd=directory,
            env=environment(sandbox, dagster_home(directory / "home"), directory / "database", **variables),
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
