"""The job `rollback`, run by Dagster in this process: what it refuses, shows and leaves behind."""

from __future__ import annotations

import dagster as dg
import pytest

from crypto_assets.database.removal.backups import list_backups
from crypto_assets.definitions import build_definitions
from crypto_assets.settings import Settings
from crypto_assets_tests.database.test_database_rollback import (
    counts,
    every_row,
    fill,
    kept,
    remove_backups,
)
from crypto_assets_tests.sandboxed_project import QUIET, failure_sentence


@pytest.fixture
def database(any_database):
    remove_backups(any_database)
    fill(any_database)
    yield any_database
    remove_backups(any_database)


@pytest.fixture
def run(database, database_url):
    """Runs the job with a config."""
    definitions = build_definitions(Settings(environment="sandbox", database=database_url))

    def execute(**config) -> dg.ExecuteInProcessResult:
        return definitions.resolve_job_def("rollback").execute_in_process(
            run_config=QUIET | {"ops": {"rollback_database": {"config": config}}}, raise_on_error=False
        )

    return execute


def shown(result: dg.ExecuteInProcessResult) -> dict:
    (output,) = [event for event in result.all_events if event.is_successful_output]
    metadata = output.step_output_data.metadata
    rows = {record.data["table"]: record.data["rows"] for record in metadata["tables"].records}
    return {name: metadata[name].value for name in ("rows", "dry_run", "backup")} | {"tables": rows}


def test_as_it_comes_it_is_a_dry_run_that_shows_the_plan(run, database):
    before = every_row(database)
    result = run(depth="data")
    assert result.success
    spared = ("crypto_database_identity", "crypto_schema_migration")
    expected = {name: rows for name, rows in counts(before).items() if name not in spared}
    assert shown(result) == {"rows": sum(expected.values()), "dry_run": True, "backup": "", "tables": expected}
    assert every_row(database) == before
    assert list_backups(database) == []


def test_confirmed_it_removes_and_a_confirmed_restore_brings_back(run, database):
    before = every_row(database)
    result = run(depth="provider", provider="binance", since="2024-08-01", confirm="sandbox")
    removed = shown(result)
    assert removed["rows"] == sum(counts(before).values()) - sum(counts(every_row(database)).values()) > 0
    assert removed["backup"] == list_backups(database)[0].stamp
    planned = run(restore=removed["backup"])
    assert kept(every_row(database)) != kept(before)
    restored = run(restore=removed["backup"], dry_run=False, confirm="sandbox")
    assert kept(every_row(database)) == kept(before)
    assert (
        shown(restored)["tables"]
        == shown(planned)["tables"]
        == {name: len(kept(before)[name]) for name in kept(before)}
    )


@pytest.mark.parametrize("engine", ["sqlite"])
@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"depth": "data", "dry_run": False}, "confirm is '', and must be 'sandbox'"),
        ({"depth": "data", "confirm": "live"}, "confirm is 'live', and must be 'sandbox'"),
        ({"depth": "schema", "dry_run": False, "confirm": "SANDBOX"}, "must be 'sandbox'"),
        ({"restore": "20200101T000000Z", "dry_run": False}, "must be 'sandbox'"),
        ({"restore": "20200101T000000Z"}, "There is no backup '20200101T000000Z'"),
        ({}, "Say either depth"),
        ({"depth": "data", "restore": "20200101T000000Z"}, "Say either depth"),
        ({"depth": "everything"}, "'everything' is no depth; there are schema, data, provider."),
        ({"depth": "provider"}, "A provider is named"),
        ({"depth": "provider", "provider": "kraken"}, "Nothing of kraken is stored"),
        ({"depth": "provider", "provider": "okx", "tables": ["crypto_pairs"]}, "did you mean crypto_pair"),
        ({"depth": "provider", "provider": "okx", "since": "yesterday"}, "'yesterday' is not an ISO date"),
    ],
)
def test_a_refusal_is_one_sentence_and_changes_nothing(run, database, config, said):
    before = every_row(database)
    result = run(**config)
    assert not result.success
    sentence = failure_sentence(result)
    assert said in sentence
    assert len(sentence.splitlines()) == 1
    assert every_row(database) == before
    assert list_backups(database) == []
