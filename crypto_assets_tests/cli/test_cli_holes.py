"""`crypto-assets gaps --uncollected`, `collect`, `leave` and `undo`."""

from __future__ import annotations

import json
import shutil

import pytest

from crypto_assets.database.engines import open_database
from crypto_assets.database.tables import TABLES
from crypto_assets.database.writes import upsert
from crypto_assets.domain.intervals import parse_time
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets.domain.spans import Span
from crypto_assets.quality.gaps.coverage import claim_coverage
from crypto_assets_tests.cli.command_runs import run_command, sentence
from crypto_assets_tests.database.database_frames import assets, pairs

TABLE = "cryptopair_1m_kdata"
DAY_MS = 86_400_000
BTC = "cryptopair_binance_btcusdt"


@pytest.fixture
def clicked_url(migrated_directory, tmp_path):
    """One old day was collected beside the newest one, of two pairs."""
    shutil.copytree(migrated_directory, tmp_path / "data")
    url = f"sqlite:///{tmp_path / 'data'}"
    database = open_database(url, "sandbox")
    with database.begin(TABLE, also=["crypto_meta", "crypto_quality"]) as connection:
        upsert(connection, TABLES["crypto_asset"], assets("BTC", "ETH", "USDT"))
        upsert(connection, TABLES["crypto_pair"], pairs("BTC", "ETH"))
        for code in ("btc", "eth"):
            for day in ("2018-01-01", "2023-03-20"):
                span = Span(parse_time(day), parse_time(day) + DAY_MS)
                entity = f"cryptopair_binance_{code}usdt"
                claim_coverage(connection, KDATA_TABLES[TABLE], entity, span, parse_time("2023-04-01"))
    database.dispose()
    return url


def uncollected(url):
    return json.loads(run_command("gaps", "--uncollected", "--json", url=url).stdout)


def test_what_was_not_collected_is_shown_with_what_it_takes(clicked_url):
    (row,) = uncollected(clicked_url)
    days = 1903
    assert row == {
        "table": TABLE,
        "symbols": "BTC/USDT, ETH/USDT",
        "first": "2018-01-02 00:00",
        "last": "2023-03-19 23:59",
        "lasts": row["lasts"],
        "state": "waiting",
        "candles": 2 * days * 1440,
        "requests": 2 * -(-(days * 1440 + 40) // 1000),
        "archive_files": 0,
    }


def test_an_archive_makes_files_of_most_requests(clicked_url):
    result = run_command(
        "gaps", "--uncollected", "--json", url=clicked_url, CRYPTO_ASSETS_ARCHIVE_URL="http://127.0.0.1:9"
    )
    (row,) = json.loads(result.stdout)
    assert row["archive_files"] > 2 * 60
    assert row["requests"] < 300  # pages of the hours that files are compared with


def test_gaps_says_what_waits_and_json_on_stdout_stays_json(clicked_url):
    shown = run_command("gaps", url=clicked_url)
    assert "Not collected: 5,480,640 candles between collected partitions" in shown.stdout
    assert "crypto-assets gaps collect TABLE" in shown.stdout
    as_json = run_command("gaps", "--json", url=clicked_url)
    assert json.loads(as_json.stdout) == []
    assert "Not collected" in as_json.stderr


def test_what_is_to_be_collected_is_a_gap_until_that_is_taken_back(clicked_url):
    said = run_command("gaps", "collect", TABLE, "--symbols", "BTC/USDT", "--start", "2023-01-01", url=clicked_url)
    assert said.exit_code == 0
    assert said.stdout.endswith(f"Owed from now on: 1 hole of {TABLE}.\n")
    (gap,) = json.loads(run_command("gaps", "--open", "--json", url=clicked_url).stdout)
    assert gap["entity_id"] == BTC
    assert (gap["first_missing"], gap["last_missing"]) == ("2023-01-01 00:00", "2023-03-19 23:59")
    assert run_command("gaps", "undo", TABLE, url=clicked_url).exit_code == 0
    assert json.loads(run_command("gaps", "--open", "--json", url=clicked_url).stdout) == []


def test_the_lines_of_the_readme_in_their_order_do_not_undo_each_other(clicked_url):
    run_command("gaps", "collect", TABLE, "--symbols", "BTC/USDT", "--start", "2022-01-01", url=clicked_url)
    rest = run_command("gaps", "leave", TABLE, url=clicked_url)
    assert rest.stdout.endswith(f"Left from now on: 2 holes of {TABLE}.\n")  # of each symbol what waited
    assert {(row["symbols"], row["first"], row["state"]) for row in uncollected(clicked_url)} == {
        ("BTC/USDT", "2022-01-01 00:00", "collect"),
        ("BTC/USDT", "2018-01-02 00:00", "leave"),
        ("ETH/USDT", "2018-01-02 00:00", "leave"),
    }
    everything = run_command("gaps", "collect", TABLE, url=clicked_url)
    assert sentence(everything) == (
        f"There is no such hole in {TABLE} that waits for a decision; crypto-assets gaps --uncollected lists those"
        " there are, and --symbols, --start or --end decide anew about those decided."
    )
    anew = run_command("gaps", "leave", TABLE, "--symbols", "BTC/USDT", url=clicked_url)
    assert anew.stdout.endswith(f"Left from now on: 1 hole of {TABLE}.\n")
    taken_back = run_command("gaps", "undo", TABLE, url=clicked_url)
    assert taken_back.exit_code == 0
    assert [row["state"] for row in uncollected(clicked_url)] == ["waiting"]


def test_partitions_claimed_of_what_is_to_be_collected_stay_when_the_rest_is_left(clicked_url):
    run_command("gaps", "collect", TABLE, "--symbols", "BTC/USDT", "--start", "2022-01-01", url=clicked_url)
    database = open_database(clicked_url, "sandbox")
    try:
        with database.begin(TABLE, also=["crypto_meta", "crypto_quality"]) as connection:
            span = Span(parse_time("2022-06-01"), parse_time("2022-06-02"))
            claim_coverage(connection, KDATA_TABLES[TABLE], BTC, span, parse_time("2023-04-01"))
    finally:
        database.dispose()
    before = uncollected(clicked_url)
    assert run_command("gaps", "leave", TABLE, url=clicked_url).exit_code == 0
    assert [row for row in uncollected(clicked_url) if row["state"] == "collect"] == [
        row for row in before if row["state"] == "collect"
    ]


def test_what_is_left_is_listed_as_left_and_said_no_more(clicked_url):
    assert run_command("gaps", "leave", TABLE, url=clicked_url).exit_code == 0
    assert [row["state"] for row in uncollected(clicked_url)] == ["leave"]
    assert run_command("gaps", url=clicked_url).stdout == "no gaps\n"


def test_the_page_shows_what_was_not_collected(clicked_url, tmp_path):
    page = tmp_path / "page.html"
    assert run_command("report", "--output", str(page), url=clicked_url).exit_code == 0
    text = page.read_text()
    assert "<h2>Not collected</h2>" in text
    assert "5,480,640 more between collected partitions wait for a decision." in text
    assert "<td>waiting</td><td>cryptopair_1m_kdata</td><td>BTC/USDT, ETH/USDT</td><td>2018-01-02 00:00</td>" in text
    assert "5,480,640" in text


def test_a_longer_setting_owes_it_all(clicked_url):
    result = run_command("gaps", "--uncollected", "--json", url=clicked_url, CRYPTO_ASSETS_HOLE_DAYS="3000")
    assert json.loads(result.stdout) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["collect", "crypto_pair"], "'crypto_pair' is no candle table"),
        (["leave", TABLE, "--start", "2023-02-01", "--end", "2023-01-01"], "is after the end"),
        (["leave", TABLE, "--symbols", "NO/USDT"], "NO/USDT"),
        (["leave", TABLE, "--start", "soon"], "'soon' is not an ISO date"),
    ],
)
def test_what_names_no_hole_is_one_sentence(clicked_url, arguments, said):
    assert said in sentence(run_command("gaps", *arguments, url=clicked_url), 2)


def test_a_table_without_holes_is_one_sentence(clicked_url):
    said = sentence(run_command("gaps", "collect", "cryptopair_5m_kdata", url=clicked_url))
    assert "There is no such hole in cryptopair_5m_kdata" in said
