"""`crypto-assets settings`: every setting with its value and source, and nothing that is secret."""

from __future__ import annotations

import json

from crypto_assets.settings import Settings
from crypto_assets_tests.cli.command_runs import run_command

WITH_PASSWORDS = "postgresql+psycopg://me:hunter2@db/market?sslpassword=hunter3"


def shown(**variables: str) -> dict[str, dict]:
    result = run_command("settings", "--json", **{"url": "sqlite:///elsewhere"} | variables)
    assert result.exit_code == 0, result.output
    return {row["setting"].removeprefix("CRYPTO_ASSETS_"): row for row in json.loads(result.stdout)}


def test_every_setting_has_its_value_its_source_and_what_it_is(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("CRYPTO_ASSETS_START=2023-03-20\n")
    monkeypatch.chdir(tmp_path)
    rows = shown(CRYPTO_ASSETS_PAIRS="ethusdt,BTC/USDT")
    assert list(rows) == [field.upper() for field in Settings.model_fields]
    assert all(row["what it is"].endswith(".") for row in rows.values())
    assert (rows["PAIRS"]["value"], rows["PAIRS"]["source"]) == ("ETH/USDT,BTC/USDT", "environment")
    assert (rows["START"]["value"], rows["START"]["source"]) == ("2023-03-20", ".env")
    assert (rows["GAP_ANSWERS"]["value"], rows["GAP_ANSWERS"]["source"]) == (3, "default")
    assert (rows["DATABASE"]["value"], rows["DATABASE"]["source"]) == ("sqlite:///elsewhere", "environment")


def test_what_is_secret_is_not_shown():
    rows = shown(url=WITH_PASSWORDS, CRYPTO_ASSETS_ALERT_WEBHOOK="https://hooks.slack.com/services/hunter4")
    assert rows["DATABASE"]["value"] == "postgresql+psycopg://me:***@db/market?sslpassword=***"
    assert rows["ALERT_WEBHOOK"]["value"] == "***"
    assert "hunter" not in run_command("settings", url=WITH_PASSWORDS).output


def test_what_cannot_be_used_is_told_beside_the_rest():
    result = run_command(
        "settings", "--json", url="postgresql://me:hunter2@db:port/x", CRYPTO_ASSETS_STRAT="1", CRYPTO_ASSETS_PAIRS="A"
    )
    assert result.exit_code == 2
    assert "hunter2" not in result.output
    assert len(json.loads(result.stdout)) == len(Settings.model_fields)
    said = result.stderr.splitlines()
    assert [line.split(":")[1].strip().split()[0] for line in said] == [
        "CRYPTO_ASSETS_DATABASE",
        "CRYPTO_ASSETS_PAIRS",
        "CRYPTO_ASSETS_STRAT",
    ]
