"""`crypto-assets dev`, and where the demo and it keep Dagster's history."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from contextlib import chdir
from datetime import date
from pathlib import Path

import click
import dagster as dg
import pytest
import yaml

from crypto_assets.cli.dev import GENESIS, dev_command
from crypto_assets.cli.history_home import SHIPPED, prepare_home
from crypto_assets.cli.summary import Summary, print_summary
from crypto_assets.domain.environments import Environment
from crypto_assets.domain.intervals import parse_time
from crypto_assets.sandbox.generated import GENESIS_MS
from crypto_assets.settings import Settings
from crypto_assets_tests.live_dagster import INSTANCE

COMMAND = str(Path(sys.executable).with_name("crypto-assets"))


def dev(directory: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CRYPTO_ASSETS_", "DAGSTER_"))}
    return subprocess.run(
        [COMMAND, "dev", *arguments],
        cwd=directory,
        env={**kept, "CRYPTO_ASSETS_ENVIRONMENT": "sandbox", **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_sandbox_runs_on_the_port_that_is_asked_for_and_ends_with_dagster(tmp_path):
    # Dagster ends at once over an option that it does not know.
    done = dev(tmp_path, "--port", "0", "--sandbox-port", "0", "--no-such-option")
    assert done.returncode == 2
    assert "No such option" in done.stderr
    assert "superseded" not in done.stderr
    port = int(re.fullmatch(r"The sandbox listens on http://127\.0\.0\.1:(\d+)\n", done.stdout)[1])
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    assert (tmp_path / "dagster.yaml").read_text() == SHIPPED.read_text()


def test_a_port_that_is_taken_is_one_sentence_with_the_ways_out(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = dev(tmp_path, "--port", "0", "--sandbox-port", port)
    assert done.returncode == 2
    assert re.fullmatch(rf"Error: the sandbox did not start: .*\(port {port}\); --sandbox-port .*\n", done.stderr)


def test_a_ui_port_that_is_taken_is_refused_before_a_daemon_runs_beside_the_first(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = dev(tmp_path, "--port", port, "--no-such-option", CRYPTO_ASSETS_SPOT_URL="http://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"Error: Port {port} of 127.0.0.1 cannot be listened on: Address already in use; if that is this project's UI,"
        " its daemon runs, too, else --port takes another.\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_sandbox_that_runs_elsewhere_is_used(tmp_path):
    done = dev(tmp_path, "--port", "0", "--no-such-option", CRYPTO_ASSETS_SPOT_URL="http://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (2, "")
    assert "No such option" in done.stderr


def test_the_history_is_kept_where_dagster_home_says_or_else_here(tmp_path, monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with chdir(tmp_path):
        assert prepare_home() == tmp_path / ".dagster"
        assert (tmp_path / ".dagster" / "dagster.yaml").read_text() == SHIPPED.read_text()
        with dg.DagsterInstance.from_config(".") as instance:
            assert instance.get_runs_count() == 0
    assert (tmp_path / ".dagster" / "storage" / "history" / "runs.db").exists()
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with chdir(tmp_path):
        prepare_home()
    assert (tmp_path / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n", "a user's own is left alone"
    monkeypatch.setenv("DAGSTER_HOME", "relative")
    with pytest.raises(click.ClickException, match="DAGSTER_HOME is 'relative'"):
        prepare_home()


def test_a_directory_where_no_history_can_be_kept_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    (tmp_path / ".dagster").write_text("a file of the user's")
    with chdir(tmp_path), pytest.raises(click.ClickException, match=r"\.dagster cannot be written: File exists; run"):
        prepare_home()
    (tmp_path / "dagster.yaml").unlink()
    (tmp_path / "dagster.yaml").symlink_to("/sys/dagster.yaml")  # where nobody may write
    with (
        chdir(tmp_path),
        pytest.raises(click.ClickException, match=r"dagster\.yaml cannot be written: .* set DAGSTER_HOME"),
    ):
        prepare_home()


def test_the_project_and_the_package_have_the_same_settings_of_dagster():
    assert INSTANCE.resolve() == SHIPPED
    assert yaml.safe_load(SHIPPED.read_text())["event_log_storage"]["class"] == "BatchedSqliteEventLog"


def test_the_command_that_opens_the_ui_is_one_that_works_in_this_directory(tmp_path, monkeypatch):
    variables = {"CRYPTO_ASSETS_ENVIRONMENT": "sandbox", "CRYPTO_ASSETS_START": "2026-10-29"}
    with chdir(INSTANCE.parent):
        said = dev_command(variables, Path("a b"))
    assert said == "CRYPTO_ASSETS_ENVIRONMENT=sandbox CRYPTO_ASSETS_START=2026-10-29 make dev 'DATA=a b'"
    monkeypatch.setenv("PATH", str(Path(COMMAND).parent))
    with chdir(tmp_path):
        assert dev_command({}, Path("a b")) == "crypto-assets dev --data 'a b'"
        monkeypatch.setenv("PATH", str(tmp_path))
        assert dev_command({}, None) == f"{COMMAND} dev"


def test_the_demo_names_its_page_and_offers_no_partition_before_its_first_candle(capsys):
    settings = Settings(environment=Environment.SANDBOX, start=date(2026, 10, 29))
    print_summary(Summary("a place", "an example", []), settings, None, as_json=False)
    printed = capsys.readouterr().out
    assert f": {settings.report_file.absolute()}\n" in printed
    assert "CRYPTO_ASSETS_START=2026-10-29" in printed.splitlines()[-1]


def test_the_first_day_of_generated_candles_is_known_without_loading_them():
    assert parse_time(GENESIS) == GENESIS_MS
