"""`crypto-assets migrate --to` an older revision: what it asks, refuses and prints."""

from __future__ import annotations

import json

import pytest

from crypto_assets.database.engines import open_database
from crypto_assets.database.migrations import current_revisions, migrate
from crypto_assets.database.removal.backups import KEPT, list_backups
from crypto_assets.database.revisions import HEAD
from crypto_assets_tests.cli.command_runs import run_command, sentence, type_line
from crypto_assets_tests.database.test_database_downgrades import forget_archives
from crypto_assets_tests.database.test_database_rollback import every_row, fill, kept

BACK = ("migrate", "--to", "0001")


@pytest.fixture
def engine():
    return "sqlite"


@pytest.fixture
def filled(database_url):
    database = open_database(database_url, "sandbox")
    fill(database)
    yield database
    database.dispose()


def test_going_back_asks_for_the_environment_s_name(filled, database_url):
    forget_archives(filled)
    before = every_row(filled)
    assert "There is no terminal to ask at; say --yes" in sentence(run_command(*BACK, url=database_url), 2)
    code, said = type_line("yes", *BACK, url=database_url)
    assert code == 1
    assert "That is not sandbox; nothing was removed." in said
    assert "Go back to revision 0001 and delete" in said
    assert "(environment sandbox)? Type the environment's name to go on:" in said
    assert every_row(filled) == before
    assert list_backups(filled) == []
    code, said = type_line("sandbox", *BACK, url=database_url)
    assert code == 0
    assert f"rollback --restore {list_backups(filled)[0].stamp}" in said
    assert set(current_revisions(filled).values()) == {"0001"}


def test_a_dry_run_lists_what_would_be_deleted_and_the_real_one_deletes_that(filled, database_url):
    forget_archives(filled)
    before = every_row(filled)
    planned = json.loads(run_command(*BACK, "--dry-run", "--json", url=database_url).stdout)
    assert every_row(filled) == before
    losses = {loss["table"]: loss["rows"] for unit in planned for loss in unit["deleted"] if loss["columns"] == "all"}
    assert {name: losses[name] for name in KEPT} == {name: len(rows) for name, rows in kept(before).items()}
    done = json.loads(run_command(*BACK, "--yes", "--json", url=database_url).stdout)
    assert [unit["deleted"] for unit in done] == [unit["deleted"] for unit in planned]
    assert {unit["backup"] for unit in planned} == {None}
    stamp = list_backups(filled)[0].stamp
    assert {unit["backup"] for unit in done} == {stamp}
    filled.dispose()
    live = run_command("migrate", url=database_url, CRYPTO_ASSETS_ENVIRONMENT="live")
    assert "holds sandbox data and cannot be used for live" in sentence(live)
    assert run_command("migrate", url=database_url).exit_code == 0
    assert run_command("rollback", "--restore", stamp, url=database_url).exit_code == 0
    assert kept(every_row(filled)) == kept(before)


@pytest.mark.parametrize("how", ["--yes", "--dry-run"])
def test_archived_months_are_not_forgotten(filled, database_url, how):
    before = every_row(filled)
    said = sentence(run_command("migrate", "--to", "0002", how, url=database_url))
    assert "months of candles are archived" in said
    assert "crypto-assets archive restore cryptopair_1m_kdata" in said
    assert every_row(filled) == before


def test_forward_nothing_is_asked(filled, database_url):
    assert run_command("migrate", "--to", HEAD, url=database_url).exit_code == 0
    migrate(filled, revision="0002")
    assert run_command("migrate", "--to", HEAD, url=database_url).exit_code == 0
