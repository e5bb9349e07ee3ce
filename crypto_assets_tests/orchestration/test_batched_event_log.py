"""The history that dagster.yaml names: Dagster's own files and events, a batch of them in one transaction."""

# No `from __future__ import annotations`: Dagster reads the annotations of the functions it decorates at runtime.

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import dagster as dg
import pytest
from dagster._check import CheckError
from sqlalchemy import Engine, event

from crypto_assets.orchestration.batched_event_log import BATCH_SIZE, BatchedSqliteEventLog, assumptions_hold
from crypto_assets_tests.live_dagster import INSTANCE

DAYS = dg.DailyPartitionsDefinition(start_date="2020-01-01", end_date="2021-06-01")
KEYS = DAYS.get_partition_keys()
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
STOCK = "storage: {sqlite: {base_dir: .dagster/storage}}\ntelemetry: {enabled: false}\nnux: {enabled: false}\n"
DEADLINE_SECONDS = 60
RUN_STATUSES = (dg.DagsterEventType.RUN_START, dg.DagsterEventType.RUN_SUCCESS, dg.DagsterEventType.RUN_FAILURE)


@dg.asset(partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())
def candles() -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"rows": 1})


@dg.asset_check(asset=candles, blocking=True)
def sound():
    return dg.AssetCheckResult(passed=False, metadata={"count": 3})


DEFINITIONS = dg.Definitions(
    assets=[candles],
    asset_checks=[sound],
    jobs=[dg.define_asset_job("collect", [candles])],
    executor=dg.in_process_executor,
)


@contextmanager
def history(directory: Path, config: str | None = None):
    """The Dagster instance of a project's directory, by the dagster.yaml that is shipped or by `config`."""
    directory.mkdir(exist_ok=True)
    (directory / "dagster.yaml").write_text(config or INSTANCE.read_text())
    before = Path.cwd()
    os.chdir(directory)  # as a user does: the paths in dagster.yaml are relative
    try:
        with dg.DagsterInstance.from_config(".") as instance:
            yield instance
    finally:
        os.chdir(before)


def collect(instance: dg.DagsterInstance, days: int, **options) -> dg.ExecuteInProcessResult:
    tags = {"dagster/asset_partition_range_start": KEYS[0], "dagster/asset_partition_range_end": KEYS[days - 1]}
    job = DEFINITIONS.resolve_job_def("collect")
    return job.execute_in_process(instance=instance, tags=tags, run_config=QUIET, raise_on_error=False, **options)


def told(instance: dg.DagsterInstance, run_id: str) -> list[tuple]:
    """What the history says of a run, in order."""
    return [
        (entry.dagster_event_type, entry.step_key, entry.dagster_event.asset_key, entry.dagster_event.partition)
        for entry in instance.all_logs(run_id)
        if entry.dagster_event
    ]


@contextmanager
def commits():
    """Counts what is committed by whom."""
    counted: Counter[str] = Counter()

    def count(connection):
        counted[Path(connection.engine.url.database).name] += 1

    event.listen(Engine, "commit", count)
    try:
        yield counted
    finally:
        event.remove(Engine, "commit", count)


@pytest.fixture(scope="module")
def new_home(tmp_path_factory):
    """A history that was opened once. To copy from."""
    directory = tmp_path_factory.mktemp("home")
    with history(directory):
        return directory


@pytest.fixture
def home(new_home, tmp_path):
    return shutil.copytree(new_home, tmp_path, dirs_exist_ok=True)


def test_dagster_is_built_as_the_batches_take_for_granted():
    assert assumptions_hold(), "Dagster opens its files in another way: read batched_event_log again"


def test_a_range_of_partitions_is_committed_in_batches(home):
    with history(home) as instance:
        collect(instance, 1)
        counted = {}
        for days in (10, BATCH_SIZE // 2, BATCH_SIZE + 2):
            with commits() as of:
                assert len(collect(instance, days).get_asset_materialization_events()) == days
            counted[days] = sum(of.values())
        # One batch more of events that were planned and one more of those that came, each in both files.
        assert counted[BATCH_SIZE // 2] == counted[10]
        assert counted[BATCH_SIZE + 2] == counted[10] + 4


@pytest.mark.parametrize(
    "kind", [dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_CHECK_EVALUATION]
)
def test_an_event_for_all_runs_is_committed_once_in_each_file(home, kind):
    with history(home) as instance:
        run = collect(instance, 1).run_id
        (entry,) = (entry for entry in instance.all_logs(run) if entry.dagster_event_type is kind)
        with commits() as of:
            instance.event_log_storage.store_event(entry)
        assert of == {f"{run}.db": 1, "index.db": 1}
        assert len(instance.all_logs(run, of_type=kind)) == 2


def test_the_history_says_what_that_of_dagster_says(tmp_path):
    days = 12
    said = {}
    for name, config in (("stock", STOCK), ("ours", None)):
        with history(tmp_path / name, config) as instance:
            result = collect(instance, days)
            run = result.run_id
            asset = candles.key
            said[name] = {
                "events": told(instance, run),
                "partitions": instance.get_materialized_partitions(asset),
                "materializations": [
                    (record.partition_key, record.asset_materialization.metadata)
                    for record in instance.fetch_materializations(asset, limit=100).records
                ],
                "latest": instance.get_latest_materialization_event(asset).asset_materialization.partition,
                "check": [
                    (each.status, each.event.dagster_event.asset_check_evaluation_data.metadata)
                    for each in instance.event_log_storage.get_asset_check_execution_history(sound.check_key, limit=1)
                    if each.event.dagster_event.event_type_value == "ASSET_CHECK_EVALUATION"
                ],
                "ended": [
                    [record.run_id == run for record in instance.fetch_run_status_changes(kind, 10).records]
                    for kind in RUN_STATUSES
                ],
                "tags": instance.event_log_storage.get_event_tags_for_asset(asset)[0].keys(),
            }
    assert said["ours"] == said["stock"]
    assert said["ours"]["partitions"] == set(KEYS[:days])
    assert len(said["ours"]["materializations"]) == days


def test_a_history_that_dagster_made_goes_on(tmp_path):
    with history(tmp_path, STOCK) as instance:
        first = collect(instance, 2).run_id
    with history(tmp_path) as instance:
        assert type(instance.event_log_storage) is BatchedSqliteEventLog
        second = collect(instance, 3).run_id
        assert {run.run_id for run in instance.get_runs()} == {first, second}
    with history(tmp_path, STOCK) as instance:
        assert len(told(instance, second)) > len(told(instance, first)) > 0
        assert instance.get_materialized_partitions(candles.key) == set(KEYS[:3])
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.db")}
    assert files == {
        ".dagster/storage/history/runs.db",
        ".dagster/storage/history/runs/index.db",
        f".dagster/storage/history/runs/{first}.db",
        f".dagster/storage/history/runs/{second}.db",
        ".dagster/storage/schedules/schedules.db",
    }


def test_who_watches_a_run_sees_every_event_in_order(home):
    with history(home) as instance:
        run_id = str(uuid4())
        seen: list[str] = []
        ended = threading.Event()

        def look(entry, cursor):
            seen.append(entry.message)
            if entry.dagster_event_type in (dg.DagsterEventType.RUN_SUCCESS, dg.DagsterEventType.RUN_FAILURE):
                ended.set()

        instance.watch_event_logs(run_id, None, look)
        try:
            collect(instance, 30, run_id=run_id)
            # What closes the file last is seen at its next change.
            assert ended.wait(DEADLINE_SECONDS)
        finally:
            instance.end_watch_event_logs(run_id, look)
        assert seen == [entry.message for entry in instance.all_logs(run_id)][: len(seen)]
        assert sum("Materialized value" in message for message in seen) == 30


def test_a_batch_that_cannot_be_stored_leaves_nothing_behind(home):
    with history(home) as instance:
        run = collect(instance, 3).run_id
        entries = [
            entry
            for entry in instance.all_logs(run)
            if entry.dagster_event_type is dg.DagsterEventType.ASSET_MATERIALIZATION
        ]
        before = told(instance, run)
        with pytest.raises(CheckError, match="EventLogEntry"):
            instance.event_log_storage.store_event_batch([*entries, SimpleNamespace(run_id=run)])
        assert told(instance, run) == before
        assert len(instance.fetch_materializations(candles.key, limit=100).records) == 3
        instance.event_log_storage.store_event_batch(entries)
        assert len(told(instance, run)) == len(before) + 3


KILLED = """
import os, signal, sys
import dagster as dg

class Interrupted(list):
    passes = 0
    def __iter__(self):
        self.passes += 1
        for number, entry in enumerate(super().__iter__()):
            if self.passes == 2 and number == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            yield entry

with dg.DagsterInstance.from_config(".") as instance:
    print(os.environ["DAGSTER_EVENT_BATCH_SIZE"], flush=True)
    entries = instance.all_logs(sys.argv[1], of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    instance.event_log_storage.store_event_batch(Interrupted(entries))
"""


def test_a_kill_costs_the_batch_that_was_being_stored_and_nothing_else(home):
    with history(home) as instance:
        run = collect(instance, 3).run_id
        before = told(instance, run)
        environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_EVENT_BATCH_SIZE"}
        killed = subprocess.run(
            [sys.executable, "-c", KILLED, run],
            cwd=home,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        assert killed.stdout.split() == [str(BATCH_SIZE)]
        assert killed.returncode == -signal.SIGKILL
        assert told(instance, run) == before
        assert len(instance.fetch_materializations(candles.key, limit=100).records) == 3
        assert collect(instance, 5).get_asset_materialization_events()
        assert instance.get_materialized_partitions(candles.key) == set(KEYS[:5])
