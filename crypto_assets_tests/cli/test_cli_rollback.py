"""`crypto-assets rollback`: what it asks, refuses and prints."""

from __future__ import annotations

import json
import os
import re

import pytest
from click.testing import CliRunner

from crypto_assets.cli import main
from crypto_assets.database.migrations import current_revisions
from crypto_assets.database.removal.backups import KEPT, list_backups
from crypto_assets_tests.cli.command_runs import type_line
from crypto_assets_tests.database.test_database_rollback import counts, every_row, fill, kept, remove_backups

SPARED = ("crypto_database_identity", "crypto_schema_migration")


@pytest.fixture
def database(any_database):
    remove_backups(any_database)
    fill(any_database)
    yield any_database
    remove_backups(any_database)


def variables(url: str) -> dict[str, str]:
    return {"CRYPTO_ASSETS_ENVIRONMENT": "sandbox", "CRYPTO_ASSETS_DATABASE": url}


@pytest.fixture
def invoke(database, database_url):
    """Runs the command in this process."""
    cleared = {name: None for name in os.environ if name.startswith("CRYPTO_ASSETS_")}
    return lambda *arguments: CliRunner().invoke(main, ["rollback", *arguments], env=cleared | variables(database_url))


@pytest.fixture
def typed(database, database_url):
    """Runs the command at a terminal where somebody types a line; its exit code and what it said."""

    return lambda line, *arguments: type_line(line, "rollback", *arguments, url=database_url)


def removable(database) -> dict[str, int]:
    return {name: rows for name, rows in counts(every_row(database)).items() if name not in SPARED}


def test_a_dry_run_prints_the_plan_and_the_real_one_does_it(invoke, database):
    before, expected = every_row(database), removable(database)
    planned = json.loads(invoke("--data", "--dry-run", "--json").stdout)
    assert {row["table"]: row["rows"] for row in planned["tables"]} == expected
    assert (planned["depth"], planned["dry_run"], planned["backup"]) == ("data", True, None)
    assert planned["rows"] == sum(expected.values())
    assert every_row(database) == before
    done = invoke("--data", "--yes", "--json")
    assert done.exit_code == 0
    outcome = json.loads(done.stdout)
    assert sorted(outcome["tables"], key=str) == sorted(planned["tables"], key=str)
    assert removable(database) == {}
    listed = json.loads(invoke("--backups", "--json").stdout)
    assert {row["table"]: row["rows"] for row in listed} == {name: len(before[name]) for name in KEPT}
    assert {row["backup"] for row in listed} == {outcome["backup"]}
    assert invoke("--restore", outcome["backup"], "--dry-run").exit_code == 0
    assert removable(database) == {}
    restored = invoke("--restore", outcome["backup"])
    assert f"brought 13 rows of {outcome['backup']} back" in " ".join(restored.stdout.split())
    assert kept(every_row(database)) == kept(before)


def test_one_provider_from_a_time_on(invoke, database):
    arguments = ("--provider", "binance", "--tables", "cryptopair_1m_kdata", "--since", "2024-08-01T00:02")
    said = invoke(*arguments, "--yes").stdout
    assert re.search(r"cryptopair_1m_kdata\W+1\b", said)
    assert "removed 4 rows; backup 20" in " ".join(said.split())
    assert "1 Parquet files of archived candles stay on disk" in " ".join(said.split())
    assert len(every_row(database)["cryptopair_1m_kdata"]) == 9


@pytest.mark.parametrize("engine", ["sqlite"])
def test_at_a_terminal_the_environment_s_name_is_asked_for(typed, database):
    before = every_row(database)
    code, said = typed("yes", "--data")
    assert code == 1
    assert "That is not sandbox; nothing was removed." in said
    assert every_row(database) == before
    rows, tables = sum(removable(database).values()), len(removable(database))
    assert f"Remove {rows} rows of {tables} tables in {database.location} (environment sandbox)?" in said
    assert "Type the environment's name to go on:" in said
    code, said = typed("sandbox", "--data", "--json")
    assert code == 0
    assert removable(database) == {}


@pytest.mark.parametrize("engine", ["sqlite"])
def test_the_schema_goes_with_its_files_and_the_backup_is_listed_afterwards(invoke, database):
    rows = kept(every_row(database))
    done = json.loads(invoke("--schema", "--yes", "--json").stdout)
    database.dispose()
    assert set(current_revisions(database).values()) == {None}
    assert list_backups(database)[0].stamp == done["backup"]
    refused = invoke("--restore", done["backup"])
    assert (refused.exit_code, "run crypto-assets migrate" in refused.stderr) == (1, True)
    listed = invoke("--backups").stdout
    assert all(re.search(rf"{name}\W+{len(rows[name])}\b", listed) for name in KEPT)


@pytest.mark.parametrize("engine", ["sqlite"])
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "Choose one of --schema"),
        (["--schema", "--data"], 2, "Choose one of --schema"),
        (["--data", "--restore", "20200101T000000Z"], 2, "Choose one of --schema"),
        (["--data", "--tables", "crypto_pair"], 2, "--tables and --since narrow --provider"),
        (["--provider", "binance", "--tables", " , "], 2, "need a name"),
        (["--data"], 2, "There is no terminal to ask at; say --yes"),
        (["--schema"], 2, "There is no terminal to ask at; say --yes"),
        (["--provider", "binance", "--tables", "crypto_pairs", "--yes"], 1, "did you mean crypto_pair"),
        (["--provider", "binance", "--tables", "crypto_pair", "--yes"], 1, "crypto_pair cannot lose rows"),
        (["--provider", "binance", "--since", "yesterday", "--yes"], 2, "'yesterday' is not an ISO date"),
        (["--provider", "kraken", "--yes"], 1, "Nothing of kraken is stored"),
        (["--restore", "20200101T000000Z"], 1, "There is no backup '20200101T000000Z'"),
    ],
)
def test_a_refusal_is_one_sentence_and_changes_nothing(invoke, database, arguments, code, said):
    before = every_row(database)
    result = invoke(*arguments)
    assert result.exit_code == code
    complaint = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(complaint) == 1
    assert said in complaint[0]
    assert "Traceback" not in result.output
    assert every_row(database) == before
    assert list_backups(database) == []


@pytest.mark.parametrize("engine", ["sqlite"])
def test_without_backups_that_is_what_is_said(invoke):
    assert invoke("--backups").stdout.startswith("no backups in ")
    assert invoke("--backups", "--json").stdout == "[]\n"
