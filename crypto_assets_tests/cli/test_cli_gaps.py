"""`crypto-assets gaps`: which candles are missing, as a table and as JSON, and what stops it."""

from __future__ import annotations

import json

import pytest

from crypto_assets.cli.show import row_lines
from crypto_assets_tests.cli.command_runs import run_command, sentence
from crypto_assets_tests.report.quality_rows import BTC, BTC_PERP, ETH


def listed(url: str, *options: str, **variables: str) -> list[dict]:
    result = run_command("gaps", "--json", *options, url=url, **variables)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_what_is_missing_is_listed_with_its_length_and_when_it_is_asked_for_next(quality_example_url):
    rows = listed(quality_example_url)
    assert [(row["table"], row["entity_id"], row["first_missing"]) for row in rows] == [
        ("cryptopair_1m_kdata", BTC, "2023-03-24 12:40"),
        ("cryptopair_1h_kdata", BTC, "2023-03-24 13:00"),
        ("cryptopair_1h_kdata", ETH, "2023-03-10 00:00"),
        ("cryptopair_1h_kdata", ETH, "2023-04-02 09:00"),
    ]
    assert rows[0] == {
        "table": "cryptopair_1m_kdata",
        "entity_id": BTC,
        "first_missing": "2023-03-24 12:40",
        "last_missing": "2023-03-24 13:59",
        "missing": 80,
        "lasts": "1 hour 20 minutes",
        "status": "source",
        "asked": 3,
        "first_seen": "2023-04-01 06:00:00",
        "last_checked": "2023-04-02 06:00:00",
        "next_ask": "2023-04-03 06:00:00",
        "evidence": {"asked": []},
    }
    # Asked three times, an hour apart to count: the next wait is four hours.
    assert (rows[2]["lasts"], rows[2]["next_ask"]) == ("1 day 6 hours", "2023-04-02 10:00:00")


@pytest.mark.parametrize(
    ("option", "entities"), [("--open", [ETH, ETH]), ("--source", [BTC, BTC]), ("--repaired", [BTC_PERP])]
)
def test_one_kind_alone_can_be_listed(quality_example_url, option, entities):
    rows = listed(quality_example_url, option)
    assert [row["entity_id"] for row in rows] == entities
    assert {row["status"] for row in rows} == {option.removeprefix("--")}


def test_a_repaired_gap_is_asked_for_no_more(quality_example_url):
    (row,) = listed(quality_example_url, "--repaired")
    assert (row["table"], row["next_ask"]) == ("cryptoperp_1d_kdata", None)


def test_the_next_question_goes_by_the_settings(quality_example_url):
    rows = listed(quality_example_url, "--open", CRYPTO_ASSETS_GAP_SPACING="PT10M")
    assert rows[0]["next_ask"] == "2023-04-02 06:40:00"


def test_the_table_for_people_leaves_the_evidence_out(quality_example_url):
    result = run_command("gaps", url=quality_example_url, COLUMNS="300")
    assert result.exit_code == 0
    head = next(line for line in result.stdout.splitlines() if "entity_id" in line)
    assert "lasts" in head
    assert "evidence" not in head
    assert sum("cryptopair_binance_" in line for line in result.stdout.splitlines()) == 4


def test_a_ledger_without_a_gap_says_so_and_json_stays_json(migrated_directory):
    url = f"sqlite:///{migrated_directory}"
    assert run_command("gaps", url=url).stdout == "no gaps\n"
    assert run_command("gaps", "--source", url=url).stdout == "no gaps that are source\n"
    assert listed(url) == []


def test_a_database_that_was_never_migrated_is_one_sentence(tmp_path):
    said = sentence(run_command("gaps", url=f"sqlite:///{tmp_path / 'new'}"))
    assert "crypto-assets migrate" in said
    assert not (tmp_path / "new").exists()


def test_another_environments_database_is_refused(quality_example_url):
    said = sentence(run_command("gaps", url=quality_example_url, CRYPTO_ASSETS_ENVIRONMENT="live"))
    assert "holds sandbox data and cannot be used for live" in said


def test_in_a_pipe_each_gap_is_one_whole_line(quality_example_url):
    head, *lines = run_command("gaps", url=quality_example_url).stdout.splitlines()
    rows = listed(quality_example_url)
    assert head.split() == [name for name in rows[0] if name != "evidence"]
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        assert all(str(value) in line for name, value in row.items() if name != "evidence")


@pytest.mark.parametrize("width", [80, 120, 400])
def test_in_a_terminal_nothing_is_cut_and_no_line_is_too_long(quality_example_url, width):
    rows = [{k: v for k, v in row.items() if k != "evidence"} for row in listed(quality_example_url)]
    lines = row_lines(rows, width)
    assert max(map(len, lines)) <= width
    assert (len(lines) == 1 + len(rows)) is (width == 400)
    text = "\n".join(lines)
    for row in rows:
        assert all(f"{value}" in text for value in row.values())
