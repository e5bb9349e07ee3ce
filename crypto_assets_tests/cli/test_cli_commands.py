"""The `crypto-assets` command: what it prints, and its exit codes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from crypto_assets.cli import main
from crypto_assets.database.engines import open_database
from crypto_assets.database.queries import query_data
from crypto_assets.database.revisions import HEAD
from crypto_assets.database.tables import PHYSICAL_DATABASES
from crypto_assets_tests.sandboxed_project import BTC

TABLE = "cryptopair_1h_kdata"
COMMAND = str(Path(sys.executable).with_name("crypto-assets"))


def invoke(*arguments: str, directory: Path | None = None, **variables: str):
    """Runs the command in this process with these settings and no others."""
    cleared = {name: None for name in os.environ if name.startswith("CRYPTO_ASSETS_")}
    chosen = {"CRYPTO_ASSETS_ENVIRONMENT": "sandbox"}
    if directory is not None:
        chosen["CRYPTO_ASSETS_DATABASE"] = f"sqlite:///{directory}"
    return CliRunner().invoke(main, arguments, env=cleared | chosen | variables)


def is_one_sentence(result) -> bool:
    said = result.stderr.strip()
    return said.startswith("Error: ") and "Traceback" not in result.output and len(said.splitlines()) == 1


@pytest.fixture(scope="module")
def stored(filled_project) -> pd.DataFrame:
    database = open_database(f"sqlite:///{filled_project.directory}", "sandbox")
    frame = query_data(TABLE, database=database)
    database.dispose()
    assert len(frame) == 264
    return frame


def times_as_text(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(timestamp=frame["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%S.%f"))


def test_json_holds_every_value_exactly(filled_project, stored):
    result = invoke("query", TABLE, "--json", directory=filled_project.directory)
    assert result.exit_code == 0
    rows = json.loads(result.stdout)
    expected = times_as_text(stored).astype(object)
    assert rows == expected.where(stored.notna(), None).to_dict("records")


def test_csv_holds_every_value_exactly(filled_project, stored):
    result = invoke("query", TABLE, "--format", "csv", directory=filled_project.directory)
    read = pd.read_csv(io.StringIO(result.stdout), dtype=str)
    # Not the reader's own numbers: how exact these are depends on its version.
    read = read.assign(timestamp=pd.to_datetime(read["timestamp"]))
    for column in ("open", "high", "low", "close", "volume", "volume_quote", "vwap", "change_pct"):
        pd.testing.assert_series_equal(
            read[column].map(float, na_action="ignore"), stored[column], check_exact=True, check_dtype=False
        )
    assert read["timestamp"].tolist() == stored["timestamp"].tolist()
    assert read["id"].tolist() == stored["id"].tolist()


def test_parquet_holds_the_frame_itself(filled_project, stored, tmp_path):
    file = tmp_path / "candles.parquet"
    result = invoke("query", TABLE, "--format", "parquet", "--output", str(file), directory=filled_project.directory)
    assert (result.exit_code, result.stdout) == (0, "")
    pd.testing.assert_frame_equal(pd.read_parquet(file), stored, check_exact=True, check_dtype=False)
    piped = invoke("query", TABLE, "--format", "parquet", directory=filled_project.directory)
    assert piped.stdout_bytes == file.read_bytes()


def test_a_query_narrows_by_code_time_columns_order_and_limit(filled_project, stored):
    result = invoke(
        *("query", "CryptoPair1hKdata", "--codes", "btcusdt", "--start", "2023-03-20", "--end", "2023-03-20T05:00"),
        *("--columns", "timestamp,close", "--order", "desc", "--limit", "3", "--json"),
        directory=filled_project.directory,
    )
    chosen = stored[(stored["entity_id"] == BTC) & (stored["timestamp"] <= "2023-03-20 05:00")].tail(3)[::-1]
    assert json.loads(result.stdout) == times_as_text(chosen)[["timestamp", "close"]].to_dict("records")
    assert json.loads(result.stdout)[0]["timestamp"] == "2023-03-20T05:00:00.000000"


def test_the_table_is_for_reading(filled_project):
    asked = ("query", "crypto_pair", "--columns", "name,is_active", "--codes", "btcusdt,lunausdt")
    result = invoke(*asked, directory=filled_project.directory)
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["name", "is_active"],
        ["BTC/USDT", "True"],
        ["LUNA/USDT", "False"],
    ]
    assert invoke("query", TABLE, "--start", "2030-01-01", directory=filled_project.directory).stdout == "no rows\n"


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (["query", "cryptopair_1m_kdta"], "cryptopair_1m_kdata"),
        (["query", TABLE, "--columns", "clsoe"], "close"),
        (["query", TABLE, "--start", "yesterday"], "yesterday"),
    ],
)
def test_a_misspelling_is_one_sentence_with_the_nearest_name(filled_project, arguments, nearest):
    result = invoke(*arguments, directory=filled_project.directory)
    assert result.exit_code == 2
    assert is_one_sentence(result), result.stderr
    assert nearest in result.stderr


@pytest.mark.parametrize("meant", ["btcusdt", "BTC/USDT", "btc/usdt", "cryptopair_binance_btcusdt", "BTC/*", "b?cusdt"])
def test_a_symbol_may_be_written_either_way(filled_project, stored, meant):
    result = invoke("query", TABLE, "--codes", meant, "--json", directory=filled_project.directory)
    expected = times_as_text(stored[stored["entity_id"] == BTC])
    assert [row["id"] for row in json.loads(result.stdout)] == expected["id"].tolist()


def test_a_wildcard_means_every_symbol_that_fits(filled_project, stored):
    result = invoke("query", TABLE, "--codes", "*/USDT", "--json", directory=filled_project.directory)
    assert len(json.loads(result.stdout)) == len(stored)


@pytest.mark.parametrize(
    ("name", "options", "first"),
    [
        ("x.csv", (), b"entity_id,"),
        ("x.CSV", (), b"entity_id,"),
        ("x.json", (), b"["),
        ("x.parquet", (), b"PAR1"),
        ("x.txt", (), b" "),
        ("x.dat", ("--format", "csv"), b"entity_id,"),
        ("x.json", ("--json",), b"["),
    ],
)
def test_a_file_is_written_in_the_format_of_its_ending(filled_project, tmp_path, name, options, first):
    asked = ("query", TABLE, "--limit", "2", "--output", str(tmp_path / name), *options)
    assert invoke(*asked, directory=filled_project.directory).exit_code == 0
    assert (tmp_path / name).read_bytes().startswith(first)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--output", "x.csv", "--format", "json"), "--format json contradicts the ending of x.csv, which says csv"),
        (("--output", "x.parquet", "--json"), "--format json contradicts the ending of x.parquet"),
        (("--output", "x.dat"), "The ending of x.dat names no format; say which with --format"),
        (("--columns", ""), "--columns '' names nothing"),
        (("--codes", " , "), "--codes ' , ' names nothing"),
        (("--entity-ids", ""), "--entity-ids '' names nothing"),
        (("--start", "2023-03-21", "--end", "2023-03-20"), "the start 2023-03-21 00:00:00 is after the end 2023-03-20"),
        (("--codes", "btcusdx"), "'btcusdx' is no symbol of cryptopair_1h_kdata; did you mean BTC/USDT"),
        (("--codes", "btcusdt,ETH/USDX"), "'ETH/USDX' is no symbol of cryptopair_1h_kdata; did you mean ETH/USDT"),
        (("--codes", "*/XYZ"), "'*/XYZ' is no symbol of cryptopair_1h_kdata"),
        (("--entity-ids", "cryptopair_binance_btc"), "'cryptopair_binance_btc' is no symbol of cryptopair_1h_kdata"),
        (("--start", "0001-01-01T00:00+14:00"), "is not an ISO date or time"),
    ],
)
def test_a_query_that_cannot_be_meant_is_one_sentence(filled_project, tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    result = invoke("query", TABLE, *options, directory=filled_project.directory)
    assert result.exit_code == 2, result.output
    assert is_one_sentence(result), result.stderr
    assert said in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("limit", ["99999999999999999999", "0", "-1", "9223372036854775807"])
def test_a_limit_is_what_engines_can_count_to(filled_project, limit):
    result = invoke("query", TABLE, "--limit", limit, "--json", directory=filled_project.directory)
    assert "Traceback" not in result.output
    assert result.exit_code == (0 if limit == "9223372036854775807" else 2)


@pytest.mark.parametrize("moment", ["0001-01-01", "9999-12-31T23:59:59.999999"])
def test_the_ends_of_time_are_no_accident(filled_project, moment):
    for option in ("--start", "--end"):
        result = invoke("query", TABLE, option, moment, "--json", directory=filled_project.directory)
        assert result.exit_code == 0, result.output
        assert len(json.loads(result.stdout)) in (0, 264)


@pytest.mark.parametrize(
    "command",
    [
        ["query", TABLE],
        ["query", TABLE, "--codes", "btcusdt"],
        ["gaps"],
        ["gaps", "--json"],
        ["tables"],
        ["schema", TABLE],
        ["coverage"],
        ["settings"],
        ["health"],
        ["report"],
        ["report", "--json"],
        ["plan", "--select", TABLE, "--start", "2023-03-01"],
        ["plan", "--select", TABLE, "--start", "2023-03-01", "--symbols", "btcusdt"],
        ["archive", "list"],
        ["archive", "--older-than", "30", "--dry-run"],
        ["rollback", "--backups"],
        ["rollback", "--data", "--dry-run"],
        ["migrate", "status"],
        ["migrate", "--dry-run"],
        ["migrate", "--sql"],
    ],
    ids=" ".join,
)
def test_reading_makes_nothing(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    result = invoke(*command, directory=tmp_path / "data")
    assert "Traceback" not in result.output
    assert isinstance(result.exception, (SystemExit, type(None))), result.exception
    assert list(tmp_path.iterdir()) == []


def test_a_query_before_the_first_migration_says_what_to_do(tmp_path):
    result = invoke("query", TABLE, directory=tmp_path / "data")
    assert result.exit_code == 1
    assert is_one_sentence(result)
    assert "run crypto-assets migrate" in result.stderr
    assert not (tmp_path / "data").exists()


def test_migrate_makes_every_file_once_and_health_follows_it(tmp_path):
    directory = tmp_path / "data"
    sick = invoke("health", "--json", directory=directory)
    assert sick.exit_code == 1
    assert not all(row["passed"] for row in json.loads(sick.stdout))
    assert not directory.exists()
    made = invoke("migrate", "--json", directory=directory)
    assert made.exit_code == 0
    rows = json.loads(made.stdout)
    assert [row["database"] for row in rows] == list(PHYSICAL_DATABASES)
    assert {(row["before"], row["after"]) for row in rows} == {(None, HEAD)}
    assert all(open_database(f"sqlite:///{directory}", "sandbox").path(row["database"]).is_file() for row in rows)
    again = json.loads(invoke("migrate", "--json", directory=directory).stdout)
    assert {(row["before"], row["after"]) for row in again} == {(HEAD, HEAD)}
    well = invoke("health", "--json", directory=directory)
    assert well.exit_code == 0
    figures = {row["what"]: (row["passed"], row["figure"]) for row in json.loads(well.stdout)}
    assert figures["schema"] == (True, f"{HEAD} in {len(PHYSICAL_DATABASES)} databases")
    assert figures[TABLE] == (True, "0 rows")
    assert len(figures) == 2 + 3 + 14 + 7


def test_health_counts_what_is_stored_and_notices_a_file_that_is_gone(copied):
    rows = json.loads(invoke("health", "--json", directory=copied.directory).stdout)
    assert {row["what"]: row["figure"] for row in rows}[TABLE] == "264 rows"
    copied.path(TABLE).unlink()
    result = invoke("health", "--json", directory=copied.directory)
    assert result.exit_code == 1
    failed = {row["what"] for row in json.loads(result.stdout) if not row["passed"]}
    assert failed == {"schema", TABLE}


@pytest.mark.parametrize("command", [["health"], ["migrate"], ["query", TABLE]])
def test_another_environment_s_database_is_refused_and_stays_as_it_is(copied, command):
    before = copied.file_bytes()
    result = invoke(*command, directory=copied.directory, CRYPTO_ASSETS_ENVIRONMENT="live")
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert "live" in result.output
    assert "sandbox" in result.output
    assert copied.file_bytes() == before


@pytest.mark.parametrize("command", [["query", TABLE], ["health"], ["migrate"], ["demo"]])
def test_a_bad_setting_is_one_sentence_without_a_traceback(command):
    result = invoke(*command, CRYPTO_ASSETS_START="soon")
    assert result.exit_code == 2
    assert is_one_sentence(result)
    assert "CRYPTO_ASSETS_START" in result.stderr


@pytest.mark.parametrize(
    ("fault", "part"),
    [
        ("no_such_fault", "unknown fault 'no_such_fault'; known kinds: status_5xx"),
        ("status_5xx:often", "'often' is not field=value"),
        ("hidden_span", "fault hidden_span needs the field start"),
    ],
)
def test_a_sandbox_with_a_fault_that_cannot_be_meant_does_not_start(fault, part):
    done = subprocess.run(
        [COMMAND, "sandbox", "--port", "0", "--fault", fault], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert part in done.stderr


def test_the_sandbox_says_where_it_listens_and_ends_when_asked():
    with subprocess.Popen(
        [COMMAND, "sandbox", "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline().startswith("listening on http://127.0.0.1:")
        process.terminate()
        _, complaint = process.communicate(timeout=60)
    assert (process.returncode, complaint) == (0, "")


def test_every_command_explains_itself():
    listed = invoke("--help")
    assert listed.exit_code == 0
    for command in main.commands:
        assert command in listed.stdout
        explained = invoke(command, "--help")
        assert explained.exit_code == 0
        assert explained.stdout.startswith("Usage:")


@pytest.mark.parametrize("group", [(), ("archive",), ("migrate",)])
def test_what_a_command_does_is_a_whole_sentence_in_the_list(group):
    listed = invoke(*group, "--help", COLUMNS="80").stdout.partition("Commands:\n")[2].splitlines()
    assert listed
    for line in listed:
        assert line.endswith(".")
        assert not line.endswith("..")
        assert len(line) <= 80


@pytest.mark.parametrize("command", [["query", TABLE], ["migrate"], ["health", "--json"]])
@pytest.mark.parametrize("damaged", [TABLE, "crypto_meta"])
def test_a_file_that_is_no_database_is_named_without_a_traceback(copied, command, damaged):
    copied.path(damaged).write_bytes(b"this is no database" * 1000)
    result = invoke(*command, directory=copied.directory)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert copied.path(damaged).name in result.output


@pytest.mark.parametrize("arguments", [("tables",), ("query", TABLE), ("settings",), ("--help",)])
def test_a_full_disk_behind_what_is_printed_is_one_sentence(filled_project, arguments):
    database = f"sqlite:///{filled_project.directory}"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [COMMAND, *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=os.environ | {"CRYPTO_ASSETS_ENVIRONMENT": "sandbox", "CRYPTO_ASSETS_DATABASE": database},
        )
    assert (done.returncode, done.stderr) == (1, "Error: What is printed cannot be written: No space left on device.\n")
