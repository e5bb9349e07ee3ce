"""`crypto-assets report`: where the page is, its figures as JSON, and what stops it."""

from __future__ import annotations

import json

from crypto_assets_tests.cli.command_runs import run_command, sentence


def test_the_page_lies_beside_the_databases_files_and_its_place_is_printed(quality_example_url, tmp_path):
    result = run_command("report", url=quality_example_url)
    page = tmp_path / "data" / "report.html"
    assert (result.exit_code, result.output) == (0, f"The report is {page}\n")
    assert "33 candles are missing." in page.read_text(encoding="utf-8")


def test_json_prints_the_figures_and_output_names_the_file(quality_example_url, tmp_path):
    page = tmp_path / "elsewhere" / "quality.html"
    result = run_command("report", "--json", "--output", str(page), url=quality_example_url)
    printed = json.loads(result.stdout)
    assert printed["page"] == str(page)
    assert page.exists()
    figures = printed["figures"]
    assert figures["totals"]["missing"] == 33
    assert figures["gaps"][0]["start"] == "2023-04-02T09:00:00+00:00"
    assert figures["tables"][0]["table"] == figures["freshness"][0]["table"] == "cryptopair_1m_kdata"
    assert figures["tables"][0]["symbols"][0]["months"][0] == {
        "month": "2023-03",
        "owed": 2880,
        "stored": 2800,
        "source": 80,
    }


def test_a_database_that_is_not_there_has_no_page_and_is_not_made(tmp_path):
    for options in ((), ("--json",), ("--output", str(tmp_path / "page.html"))):
        said = sentence(run_command("report", *options, url=f"sqlite:///{tmp_path / 'new'}"))
        assert said == f"There is no database at {tmp_path / 'new'}; run crypto-assets migrate."
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_holds_nothing_yet_has_a_page(migrated_directory, tmp_path):
    page = tmp_path / "page.html"
    result = run_command("report", "--output", str(page), url=f"sqlite:///{migrated_directory}")
    assert result.exit_code == 0
    assert "Nothing has been collected yet." in page.read_text(encoding="utf-8")


def test_another_environments_database_is_refused(quality_example_url):
    result = run_command("report", url=quality_example_url, CRYPTO_ASSETS_ENVIRONMENT="live")
    assert "holds sandbox data and cannot be used for live" in sentence(result)


def test_a_file_that_cannot_be_written_is_named(quality_example_url, tmp_path):
    (tmp_path / "file").write_text("")
    said = sentence(run_command("report", "--output", str(tmp_path / "file" / "page.html"), url=quality_example_url))
    assert said.startswith(f"{tmp_path}/file/page.html cannot be written: ")
