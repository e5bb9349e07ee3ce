"""`crypto-assets health --json` on every engine: each vital with its figure, and red where something is wrong."""

from __future__ import annotations

import json
import os

import pytest
from click.testing import CliRunner

from crypto_assets.cli import main
from crypto_assets.database.revisions import HEAD
from crypto_assets.quality import vitals
from crypto_assets_tests.cli.command_runs import run_command
from crypto_assets_tests.database.filled_tables import CANDLES, store_candles, store_entities

VITALS = ["references", "integrity", "query_time", "size", "connections", "index_use", "directories"]


def ask(url):
    cleared = {name: None for name in os.environ if name.startswith("CRYPTO_ASSETS_")}
    chosen = {"CRYPTO_ASSETS_ENVIRONMENT": "sandbox", "CRYPTO_ASSETS_DATABASE": url}
    result = CliRunner().invoke(main, ["health", "--json"], env=cleared | chosen)
    return result.exit_code, {row["what"]: row for row in json.loads(result.stdout)}


@pytest.fixture
def some(any_database):
    store_entities(any_database, 10)
    store_candles(any_database, each=1500, symbols=("BTC", "ETH"))
    return any_database


def test_a_sound_database_passes_every_vital_with_its_figure(some, database_url, monkeypatch):
    monkeypatch.setattr(vitals, "SLOW_MILLISECONDS", 10_000.0)  # how busy this machine is is not the question
    code, rows = ask(database_url)
    assert [row["what"] for row in rows.values() if not row["passed"]] == []
    assert code == 0
    assert list(rows)[-7:] == VITALS
    assert rows["schema"]["figure"].startswith(HEAD)
    assert rows[CANDLES]["value"] == 3000
    assert rows["references"]["value"] == 0
    assert "sound" in rows["integrity"]["figure"]
    assert 0 < rows["query_time"]["value"] < vitals.SLOW_MILLISECONDS
    assert CANDLES in rows["query_time"]["figure"]
    assert rows["size"]["value"] > 100_000
    assert "in use" in rows["connections"]["figure"]
    assert rows["index_use"]["value"] == 1.0


def test_an_empty_database_passes(any_database, database_url):
    assert ask(database_url)[0] == 0


def test_a_slow_query_fails(some, database_url, monkeypatch):
    monkeypatch.setattr(vitals, "SLOW_MILLISECONDS", 0.0)
    code, rows = ask(database_url)
    assert code == 1
    assert [what for what, row in rows.items() if not row["passed"]] == ["query_time"]


def test_a_candle_of_an_unknown_symbol_fails(some, database_url):
    if some.engine != "sqlite":
        pytest.skip("a server's foreign keys let none in")
    store_candles(some, "cryptopair_4h_kdata", each=3, symbols=("NEW",))
    _, rows = ask(database_url)
    assert (rows["references"]["passed"], rows["references"]["value"]) == (False, 3)


def test_a_damaged_page_fails(some, database_url):
    if some.engine != "sqlite":
        pytest.skip("files")
    with some.begin("crypto_pair") as connection:
        connection.exec_driver_sql("PRAGMA writable_schema = ON")
        connection.exec_driver_sql("UPDATE sqlite_master SET rootpage = 3 WHERE name = 'ix_crypto_perp_timestamp'")
    some.dispose()
    code, rows = ask(database_url)
    assert code == 1
    assert not rows["integrity"]["passed"]
    assert some.path("crypto_meta").name in rows["integrity"]["figure"]


def test_an_invalid_index_fails(some, database_url):
    if some.engine != "postgresql":
        pytest.skip("PostgreSQL's catalogue")
    name = "crypto_meta.ix_crypto_pair_code"
    valid = "UPDATE pg_index SET indisvalid = {} WHERE indexrelid = '{}'::regclass"
    with some.migrating("crypto_meta") as connection:
        connection.exec_driver_sql(valid.format("false", name))
    try:
        _, rows = ask(database_url)
    finally:
        with some.migrating("crypto_meta") as connection:
            connection.exec_driver_sql(valid.format("true", name))
    assert rows["integrity"] == {
        "what": "integrity",
        "passed": False,
        "figure": f"invalid index {name}",
        "value": 1.0,
    } | {"value": rows["integrity"]["value"]}


def test_a_server_without_room_for_more_connections_fails(some, database_url, monkeypatch):
    monkeypatch.setattr(vitals, "_BUSY", 0.0)
    _, rows = ask(database_url)
    assert rows["connections"]["passed"] == (some.engine == "sqlite")


@pytest.mark.parametrize("name", ["STATE_DIRECTORY", "ARCHIVE_DIRECTORY"])
def test_a_directory_that_cannot_be_written_is_red_and_named_by_its_setting(migrated_directory, tmp_path, name):
    (tmp_path / "file").write_text("")
    asked = {f"CRYPTO_ASSETS_{name}": str(tmp_path / "file" / "below")}
    result = run_command("health", "--json", url=f"sqlite:///{migrated_directory}", **asked)
    assert result.exit_code == 1
    failed = {row["what"]: row["figure"] for row in json.loads(result.stdout) if not row["passed"]}
    assert list(failed) == ["directories"]
    assert failed["directories"].startswith(f"CRYPTO_ASSETS_{name}: {tmp_path}/file/below cannot be a directory")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
