"""`crypto-assets archive`: what it moves, that queries do not notice, and that it comes back."""

from __future__ import annotations

import json

import pytest

from crypto_assets_tests.cli.command_runs import run_command, sentence

TABLE = "cryptopair_1h_kdata"


@pytest.fixture
def url(copied) -> str:
    return f"sqlite:///{copied.directory}"


def rows(result) -> list[dict]:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_archived_candles_are_read_as_before_and_can_be_put_back(url, copied):
    def stored() -> int:
        return copied.sql(TABLE, f"SELECT count(*) FROM {TABLE}")[0][0]

    before = rows(run_command("query", TABLE, "--json", url=url))
    planned = rows(run_command("archive", "--older-than", "30", "--dry-run", "--json", url=url))
    assert [(row["table"], row["month"]) for row in planned] == [(TABLE, "2023-03-01")] * 2
    assert stored() == len(before) == 264

    moved = rows(run_command("archive", "--older-than", "30", "--json", url=url))
    assert (len(moved), sum(row["rows"] for row in moved), stored()) == (2, 264, 0)
    assert all((copied.directory / "archive" / row["path"]).stat().st_size == row["bytes"] for row in moved)
    assert rows(run_command("archive", "list", "--json", url=url)) == moved
    assert rows(run_command("query", TABLE, "--json", url=url)) == before
    assert run_command("archive", "--older-than", "30", url=url).output == "nothing to archive\n"
    assert copied.check(TABLE).success, "what is archived is not missing"

    back = rows(run_command("archive", "restore", TABLE, "--codes", "btcusdt", "--json", url=url))
    assert back == [{"table": TABLE, "months": 1, "restored": 132, "kept": 0}]
    assert stored() == 132
    rows(run_command("archive", "restore", TABLE, "--json", url=url))
    assert stored() == 264
    assert rows(run_command("query", TABLE, "--json", url=url)) == before


def test_a_damaged_archive_is_one_sentence_and_changes_nothing(url, copied):
    moved = rows(run_command("archive", "--older-than", "30", "--json", url=url))
    file = copied.directory / "archive" / moved[0]["path"]
    content = file.read_bytes()
    file.write_bytes(content[:-20] + bytes(20))
    for command in (("query", TABLE), ("archive", "restore", TABLE)):
        said = sentence(run_command(*command, url=url))
        assert file.name in said
        assert "damaged" in said
    assert copied.sql(TABLE, f"SELECT count(*) FROM {TABLE}")[0][0] == 0
    assert len(rows(run_command("archive", "list", "--json", url=url))) == 2


def test_what_is_old_must_be_said(url):
    result = run_command("archive", url=url)
    assert result.exit_code == 2
    assert "CRYPTO_ASSETS_RETENTION_DAYS" in result.stderr
    assert rows(run_command("archive", "--json", url=url, CRYPTO_ASSETS_RETENTION_DAYS="100000")) == []
    assert "is no candle table" in sentence(run_command("archive", "restore", "crypto_pair", url=url), 2)
