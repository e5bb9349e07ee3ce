"""A history that several processes open at once, and one that is broken."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import chdir, closing
from pathlib import Path

import click
import dagster as dg
import pytest

from crypto_assets.cli.runs import project_instance
from crypto_assets.orchestration.history_opening import HistoryUnusable
from crypto_assets_tests.live_dagster import INSTANCE

# Dagster is loaded once; what is told apart is who opens the history, not who imports.
EIGHT_AT_ONCE = """
import json, os, sys
import dagster as dg
from crypto_assets.cli.runs import project_instance

def opened():
    with project_instance() as instance:
        instance.get_runs_count()
        instance.all_instigator_state()
        instance.event_log_storage.get_all_run_ids()

gate, go = os.pipe()
children = []
for _ in range(8):
    child = os.fork()
    if not child:
        os.close(go)
        os.read(gate, 1)
        try:
            opened()
        except BaseException as error:
            print(type(error).__name__, str(error)[:300], file=sys.stderr)
            os._exit(1)
        os._exit(0)
    children.append(child)
os.close(go)
print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]))
"""


@pytest.mark.parametrize("home", ["the project's dagster.yaml", "a DAGSTER_HOME without one"])
def test_eight_processes_that_open_a_new_history_at_once_all_do(tmp_path, home):
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(INSTANCE.parent), "HOME": str(tmp_path)}
    if home.startswith("a DAGSTER_HOME"):
        environment["DAGSTER_HOME"] = str(tmp_path)
    else:
        shutil.copy(INSTANCE, tmp_path)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", EIGHT_AT_ONCE],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert json.loads(done.stdout or "[]") == [0] * 8, done.stderr


@pytest.fixture
def broken(tmp_path):
    """A project whose history says that it was made twice, as it does where Dagster's own storages race."""
    shutil.copy(INSTANCE, tmp_path)
    with chdir(tmp_path):
        with dg.DagsterInstance.from_config("."):
            pass
        with closing(sqlite3.connect(".dagster/storage/history/runs.db")) as connection, connection:
            connection.execute("INSERT INTO alembic_version VALUES ('another')")
        yield tmp_path


def test_a_half_made_history_is_told_with_its_cure(broken):
    with pytest.raises(HistoryUnusable, match="more than one head") as raised:
        dg.DagsterInstance.from_config(".")
    directory = Path(".dagster/storage/history").absolute()
    cure = f"Delete {directory}, which holds the record of past runs and no candle, and run this again."
    assert str(raised.value).endswith(cure)
    with pytest.raises(click.ClickException, match="and run this again"), project_instance():
        pass
    shutil.rmtree(directory)
    with project_instance() as instance:
        assert instance.get_runs_count() == 0


def test_a_place_where_nothing_can_be_written_is_told_without_the_advice_to_delete_anything(tmp_path):
    shutil.copy(INSTANCE, tmp_path)
    (tmp_path / ".dagster").write_text("a file where the directory should be")
    with chdir(tmp_path), pytest.raises(HistoryUnusable, match="cannot be opened") as raised:
        dg.DagsterInstance.from_config(".")
    assert "Delete" not in str(raised.value)
