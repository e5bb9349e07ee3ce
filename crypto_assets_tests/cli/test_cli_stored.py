"""`crypto-assets tables`, `schema` and `coverage`: what can be stored, and what is, without reading what is."""

from __future__ import annotations

import json
from datetime import datetime

import pandas as pd
import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, event

from crypto_assets.cli import main
from crypto_assets.cli.completion import SymbolNames, TableName
from crypto_assets.database.archive.manifest import ArchivedMonth, record_month
from crypto_assets.database.engines import open_database
from crypto_assets.database.tables import TABLES
from crypto_assets.database.writes import upsert
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets.quality.inventory import stored_series, table_sizes
from crypto_assets_tests.cli.command_runs import run_command, sentence
from crypto_assets_tests.sandboxed_project import BTC

HOURS = "cryptopair_1h_kdata"


def printed(*arguments: str, url: str) -> list[dict]:
    result = run_command(*arguments, "--json", url=url)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def url(filled_project):
    return f"sqlite:///{filled_project.directory}"


def test_every_table_is_listed_with_its_rows_and_what_it_is_for(url):
    rows = {row["table"]: row for row in printed("tables", url=url)}
    assert list(rows) == list(TABLES)
    assert rows[HOURS] == {"table": HOURS, "rows": 264, "class": "CryptoPair1hKdata", "for": "1h candles of spot pairs"}
    assert rows["crypto_database_identity"]["rows"] == 1
    assert all(row["for"] for row in rows.values())
    assert "264" in run_command("tables", url=url).stdout


@pytest.mark.parametrize("name", [*TABLES, "CryptoPair1mKdata"])
def test_a_table_is_explained_without_a_database(tmp_path, name):
    rows = printed("schema", name, url=f"sqlite:///{tmp_path / 'none'}")
    assert all(row["type"] and row["meaning"] for row in rows)
    assert any(row["key"] == 1 for row in rows)
    assert not (tmp_path / "none").exists()


def test_a_table_that_is_none_has_the_nearest(url):
    assert "did you mean cryptopair_1m_kdata" in sentence(run_command("schema", "cryptopair_1m_kdta", url=url), 2)
    assert "crypto_pair is no candle table" in sentence(run_command("coverage", "crypto_pair", url=url), 2)


def test_each_symbol_has_its_first_and_last_candle_and_how_complete_it_is(url):
    rows = printed("coverage", url=url)
    assert rows[0] == {
        "table": HOURS,
        "symbol": "BTC/USDT",
        "code": "btcusdt",
        "first": "2023-03-17 00:00",
        "last": "2023-03-22 11:00",
        "rows": 132,
        "missing": 0,
        "source": 0,
        "unverified": 0,
        "complete": 1.0,
    }
    assert [row["symbol"] for row in rows] == ["BTC/USDT", "ETH/USDT"]
    assert run_command("coverage", url=url).stdout.splitlines()[1].endswith("100.00 %")


def test_what_came_before_a_run_was_ended_is_counted_though_nobody_verified_it(copied):
    url = f"sqlite:///{copied.directory}"
    before = printed("coverage", url=url)
    # Of a run that is ended, the partitions stay as it claimed them: asked for, and nothing known to be there.
    copied.sql("crypto_quality", "UPDATE crypto_kdata_coverage SET digest = '', present = 0 WHERE entity_id = ?", BTC)
    copied.sql(HOURS, f"DELETE FROM {HOURS} WHERE entity_id = ? AND timestamp >= '2023-03-22'", BTC)
    (btc, eth) = printed("coverage", url=url)
    assert btc == before[0] | {
        "last": "2023-03-21 23:00",
        "rows": 120,
        "missing": 12,
        "complete": 120 / 132,
        "unverified": 1,
    }
    assert eth == before[1]
    sizes = {row["table"]: row["rows"] for row in printed("tables", url=url)}
    assert sizes[HOURS] == 252


def test_archived_candles_of_an_unverified_partition_are_counted_from_their_file(copied):
    database = open_database(f"sqlite:///{copied.directory}", "sandbox")
    try:
        month = ArchivedMonth(
            BTC,
            "2023-03-01",
            "a.parquet",
            100,
            1,
            *map(datetime.fromisoformat, ("2023-03-17", "2023-03-21T03:00")),
            "0",
        )
        with database.begin(HOURS, also=["crypto_quality"]) as connection:
            record_month(connection, KDATA_TABLES[HOURS], "binance", month)
        copied.sql("crypto_quality", "UPDATE crypto_kdata_coverage SET digest = '', present = 0")
        copied.sql(HOURS, f"DELETE FROM {HOURS} WHERE entity_id = ? AND timestamp < '2023-03-21 04:00'", BTC)
        assert [each.rows for each in stored_series(database, [KDATA_TABLES[HOURS]])] == [132, 132]
    finally:
        database.dispose()


@pytest.mark.parametrize("meant", ["ETH/USDT", "ethusdt", "ETH/*"])
def test_one_symbol_may_be_named_in_either_spelling(url, meant):
    assert [row["code"] for row in printed("coverage", HOURS, "--symbols", meant, url=url)] == ["ethusdt"]
    said = sentence(run_command("coverage", "--symbols", "ETH/USDX", url=url), 2)
    assert said == "'ETH/USDX' is no symbol of what is stored; did you mean ETH/USDT, BTC/USDT?"


def test_what_is_missing_makes_less_than_complete_and_what_the_exchange_lacks_does_not(quality_example_url):
    found = {(row["table"], row["symbol"]): row for row in printed("coverage", url=quality_example_url)}
    minutes = found["cryptopair_1m_kdata", "BTC/USDT"]
    assert (minutes["source"], minutes["missing"], minutes["complete"]) == (80, 0, 1.0)
    hours = found[HOURS, "ETH/USDT"]
    assert hours["missing"] == 33
    assert 0.9 < hours["complete"] < 1
    text = run_command("coverage", HOURS, "--symbols", "ethusdt", url=quality_example_url).stdout
    assert "100.00 %" not in text


def test_nothing_collected_is_said_and_json_stays_json(migrated_directory):
    url = f"sqlite:///{migrated_directory}"
    assert run_command("coverage", url=url).stdout == "nothing was collected yet\n"
    assert printed("coverage", url=url) == []


@pytest.mark.parametrize("command", ["tables", "coverage"])
def test_a_database_that_is_not_there_is_one_sentence_and_not_made(tmp_path, command):
    assert "run crypto-assets migrate" in sentence(run_command(command, url=f"sqlite:///{tmp_path / 'none'}"))
    assert list(tmp_path.iterdir()) == []


def statements(database, ask) -> int:
    """How many statements `ask` sends, whatever it is sent through."""
    sent = []

    def count(*_):
        sent.append(1)

    event.listen(Engine, "before_cursor_execute", count)
    try:
        ask(database)
    finally:
        event.remove(Engine, "before_cursor_execute", count)
    return len(sent)


def covered(symbols: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "entity_id": f"cryptopair_binance_coin{number:03}usdt",
            "provider": "binance",
            "level": "1h",
            "partition": f"2023-{month:02}-01",
            "expected": 700,
            "present": 699,
            "verified_at": pd.Timestamp("2024-01-01"),
            "digest": "0" * 16,
            "source": "",
        }
        for number in range(symbols)
        for month in range(1, 13)
    )


def test_five_hundred_symbols_take_no_more_statements_than_one(any_database):
    counts = []
    table_sizes(any_database)  # looks at each revision once
    for symbols in (1, 500):
        with any_database.begin("crypto_quality") as connection:
            upsert(connection, TABLES["crypto_kdata_coverage"], covered(symbols))
        found = stored_series(any_database, list(KDATA_TABLES.values()))
        assert len(found) == symbols
        assert {(each.rows, each.missing) for each in found} == {(12 * 699, 12)}
        for_series = statements(any_database, lambda database: stored_series(database, list(KDATA_TABLES.values())))
        counts.append((for_series, statements(any_database, table_sizes)))
    assert counts[0] == counts[1]


def offered(kind, begun: str, **settings: str) -> list[str]:
    return [item.value for item in kind.shell_complete(None, None, begun)]


def test_the_shell_is_offered_tables_and_symbols(filled_project, monkeypatch, tmp_path):
    assert offered(TableName(), "cryptopair_1m") == ["cryptopair_1m_kdata"]
    assert offered(TableName(), "crypto_pa") == ["crypto_pair"]
    assert offered(TableName(candles=True), "crypto_pa") == []
    assert offered(TableName(many=True), "crypto_pair,CryptoPair1m") == ["crypto_pair,CryptoPair1mKdata"]
    monkeypatch.setenv("CRYPTO_ASSETS_ENVIRONMENT", "sandbox")
    monkeypatch.setenv("CRYPTO_ASSETS_DATABASE", f"sqlite:///{filled_project.directory}")
    assert offered(SymbolNames(), "eth/usdt") == ["ETH/USDT", "ETH/USDT:USDT"]
    assert offered(SymbolNames(), "ETH/USDT,btcu") == ["ETH/USDT,btcusdt"]
    monkeypatch.setenv("CRYPTO_ASSETS_DATABASE", f"sqlite:///{tmp_path / 'none'}")
    assert offered(SymbolNames(), "b") == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_what_completes(shell):
    asked = {"_CRYPTO_ASSETS_COMPLETE": f"{shell}_source"}
    result = CliRunner().invoke(main, prog_name="crypto-assets", env=asked)
    assert result.exit_code == 0
    assert f"_CRYPTO_ASSETS_COMPLETE={shell}_complete" in result.stdout
