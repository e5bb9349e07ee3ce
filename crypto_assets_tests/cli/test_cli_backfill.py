"""`crypto-assets plan` and `backfill`: what is foretold is what is asked for, and nothing is asked for twice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from click.testing import Result

from crypto_assets_tests.cli.command_runs import run_command, sentence
from crypto_assets_tests.sandboxed_project import Clock, Project, running_sandbox

COMMAND = str(Path(sys.executable).with_name("crypto-assets"))
MINUTES, HOURS = "cryptopair_1m_kdata", "cryptopair_1h_kdata"
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def sandbox():
    with running_sandbox(Clock()) as running:
        yield running


@pytest.fixture(scope="module")
def listed(sandbox, tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("listed") / "data", sandbox.url)
    assert project.run("bootstrap").success
    return project


@pytest.fixture
def project(listed, tmp_path):
    """Schema and entities, no candle yet."""
    return listed.copy(tmp_path / "data")


def variables(project, **others) -> dict[str, str]:
    return {
        "CRYPTO_ASSETS_START": "2023-03-17",
        "CRYPTO_ASSETS_SPOT_URL": project.url,
        "CRYPTO_ASSETS_FUTURES_URL": project.url,
        **others,
    }


def planned(project, *arguments, **others) -> dict:
    """The plan as JSON, asked of a command that could not reach any exchange."""
    unreachable = {"CRYPTO_ASSETS_SPOT_URL": NOWHERE, "CRYPTO_ASSETS_FUTURES_URL": NOWHERE}
    result = run_command(
        *("plan", "--json", *arguments),
        url=f"sqlite:///{project.directory}",
        **variables(project, **unreachable, **others),
    )
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def dagster_home(project) -> str:
    home = project.directory.parent / "home"
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    return str(home)


def ended(project, *arguments, **others) -> Result:
    """`crypto-assets backfill` in this process, with a Dagster home of its own."""
    chosen = {"DAGSTER_HOME": dagster_home(project), **variables(project, **others)}
    return run_command("backfill", *arguments, url=f"sqlite:///{project.directory}", **chosen)


def started(project, *arguments, **others) -> subprocess.Popen:
    """`crypto-assets backfill` in a process and a Dagster home of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CRYPTO_ASSETS_", "DAGSTER_"))}
    chosen = {
        "CRYPTO_ASSETS_ENVIRONMENT": "sandbox",
        "CRYPTO_ASSETS_DATABASE": f"sqlite:///{project.directory}",
        "DAGSTER_HOME": dagster_home(project),
    }
    return subprocess.Popen(
        [COMMAND, "backfill", *arguments],
        env=kept | chosen | variables(project, **others),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_plan_is_what_the_backfill_then_does_and_the_next_one_asks_only_the_time(project, sandbox):
    chosen = ("--select", f"{MINUTES},{HOURS}", "--start", "2023-03-18", "--end", "2023-03-20T07:00")
    plan = planned(project, *chosen)
    minutes, hours = plan["tables"]
    assert (minutes["partitions"], hours["partitions"]) == (["2023-03-18", "2023-03-20"], ["2023-03-01"] * 2)
    # Three days of minutes, with twenty candles on each side: five pages a symbol, and one request for the clock.
    assert [minutes[name] for name in ("owed", "stored", "rows", "requests", "weight")] == [8640, 0, 8640, 11, 21]
    assert minutes["archive_rows"] + minutes["rest_rows"] == 8640
    # The sandbox's time is in March 2023, ours is not: of the hours more is planned than there is.
    assert hours["rows"] == 2 * (31 - 16) * 24

    before = sandbox.requests.total
    process = started(project, "--yes", "--json", "--select", MINUTES, *chosen[2:])
    printed, said = process.communicate()
    assert process.returncode == 0, said
    done = json.loads(printed)
    assert done["plan"]["tables"] == [minutes]
    outcome = done["outcome"][MINUTES]
    assert (outcome["rows_received"], outcome["rows_inserted"], outcome["requests"]) == (8640, 8640, 11)
    assert sandbox.requests.total - before == 11
    assert "1m: " in said.splitlines()[0]
    assert "%; all " in said.splitlines()[0]

    with dg.DagsterInstance.from_config(str(project.directory.parent / "home")) as history:
        [run] = history.get_runs()
        assert (run.job_name, run.status) == ("backfill_daily_kdata", dg.DagsterRunStatus.SUCCESS)
        materialized = history.get_materialized_partitions(dg.AssetKey(MINUTES))
        assert materialized == {"2023-03-18", "2023-03-19", "2023-03-20"}
        event = history.get_latest_materialization_event(dg.AssetKey(MINUTES))
        shown = event.asset_materialization.metadata.items()
        metadata = {name.removeprefix("run_"): each.value for name, each in shown}
        compared = ("planned_rows", "rows_received", "planned_requests", "requests", "percent_of_plan")
        assert [metadata[name] for name in compared] == [8640, 8640, 11, 11, 100.0]
        logged = [entry.user_message for entry in history.all_logs(run.run_id) if entry.dagster_event is None]
        assert logged[0] in said

    again = planned(project, "--select", MINUTES, *chosen[2:])["tables"][0]
    assert [again[name] for name in ("owed", "stored", "rows", "requests", "bytes")] == [8640, 8640, 0, 1, 0]
    everything = planned(project, "--all", "--select", MINUTES, *chosen[2:])["tables"][0]
    assert [everything[name] for name in ("stored", "rows", "requests", "bytes")] == [8640, 8640, 11, 0]
    before = sandbox.requests.total
    nothing_new = ended(project, "--select", MINUTES, *chosen[2:])
    assert nothing_new.exit_code == 0, nothing_new.output
    assert f"{MINUTES}: 0 candles came" in nothing_new.stdout
    assert sandbox.requests.total - before == 1


def test_what_failed_was_refused_or_is_missing_is_told_with_where_to_look(project):
    with running_sandbox(Clock()) as broken:
        broken.faults.add("vanished_symbol:symbol=ETHUSDT")
        broken.faults.add("hidden_span:start=2023-03-20T07:00,end=2023-03-20T08:00")
        broken.faults.add("null_price:open_times=2023-03-20T03:00;2023-03-20T05:00")
        urls = {"CRYPTO_ASSETS_SPOT_URL": broken.url, "CRYPTO_ASSETS_FUTURES_URL": broken.url}
        result = ended(project, "--yes", "--select", MINUTES, "--start", "2023-03-20", "--end", "2023-03-20", **urls)
    assert result.exit_code == 1
    last = result.stderr.splitlines()[-1]
    assert last.startswith(f"Error: {MINUTES}: 1 of 2 symbols failed, the other 1 stored. ETH/USDT: ")
    assert "Traceback" not in result.stderr
    came, refused, missing = result.stdout.splitlines()[-3:]
    assert came.startswith(f"{MINUTES}: 1,380 candles came, 1,378 new")
    assert refused.startswith(f"{MINUTES}: 2 of them were refused")
    assert missing.startswith(f"{MINUTES}: 62 candles of the range are missing")
    assert project.sql(MINUTES, f"SELECT count(*) FROM {MINUTES}") == [(1378,)]
    for line, names in ((refused, "close: not_nullable"), (missing, "2023-03-20 07:59")):
        command = line.partition(": crypto-assets ")[2].split()
        assert names in run_command(*command, "--json", url=f"sqlite:///{project.directory}").stdout


def test_a_long_hole_that_a_range_opens_is_told(project):
    table, short = "cryptopair_5m_kdata", {"CRYPTO_ASSETS_HOLE_DAYS": "1"}
    days = [
        ended(project, "--yes", "--select", table, "--start", day, "--end", day, **short)
        for day in ("2023-03-20", "2023-03-17")
    ]
    assert [each.exit_code for each in days] == [0, 0]
    first, second = (each.stdout.splitlines()[-1] for each in days)
    assert "wait for a decision" not in first
    assert second.startswith(f"{table}: 1,152 candles between this range and what was collected before")
    command = second.partition(": crypto-assets ")[2].split()
    (hole,) = json.loads(run_command(*command, "--json", url=f"sqlite:///{project.directory}", **short).stdout)
    assert (hole["first"], hole["candles"]) == ("2023-03-18 00:00", 1152)


def test_ctrl_c_ends_in_one_sentence_and_what_came_stays(project):
    with running_sandbox(Clock()) as slow:
        slow.faults.add("timeout:delay_ms=300,path=klines")
        urls = {"CRYPTO_ASSETS_SPOT_URL": slow.url, "CRYPTO_ASSETS_FUTURES_URL": slow.url}
        process = started(
            *(project, "--yes", "--select", MINUTES, "--start", "2023-03-17", "--end", "2023-03-21"),
            **urls,
            CRYPTO_ASSETS_PAGES_IN_FLIGHT="1",
        )
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert "BTC/USDT 1m: " in first
    assert process.returncode == 130
    assert said.splitlines()[-1] == "Error: stopped; what came is stored, and the same command goes on from there."
    assert "Traceback" not in said
    assert 980 <= project.sql(MINUTES, f"SELECT count(*) FROM {MINUTES}")[0][0] < 2 * 5 * 1440


def test_the_plan_is_cut_to_the_listing_and_symbols_may_be_named(project):
    for spelled in ("BTC/USDT, BTC/USDT:USDT", "btcusdt", "btc/usd?"):
        rows = planned(
            *(project, "--select", f"{MINUTES},cryptoperp_1m_kdata", "--start", "2023-03-17", "--end", "2023-03-17"),
            *("--symbols", spelled),
        )
        assert [[each["symbol"] for each in table["symbols"]] for table in rows["tables"]] == [
            ["BTC/USDT"],
            ["BTC/USDT:USDT"],
        ]
    project.sql("crypto_pair", "UPDATE crypto_pair SET list_date = '2023-03-17 18:00:00.000000'")
    cut = planned(project, "--select", MINUTES, "--start", "2023-03-17", "--end", "2023-03-17")
    assert cut["total"]["rows"] == 2 * 6 * 60


def test_the_plan_can_be_read(project):
    result = run_command(
        *("plan", "--select", f"{MINUTES},{HOURS}", "--start", "2023-03-18", "--end", "2023-03-20"),
        url=f"sqlite:///{project.directory}",
        **variables(project, CRYPTO_ASSETS_WEIGHT_RESERVE="0.1"),
    )
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines() if line.strip()]
    assert lines[2][:6] == [MINUTES, "2", "0", "8,640", "11", "21"]
    assert [line[-6] for line in lines if line[0] in (HOURS, "all")] == ["3", "14"], "requests"
    assert "Partitions: 2023-03-18 to 2023-03-20; 2023-03-01 to 2023-03-01." in result.stdout
    assert "less 10%" in result.stdout
    assert "by this machine's clock" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("cryptopair_2m_kdata", "2023-03-20"), "'cryptopair_2m_kdata' is no table; did you mean cryptopair_"),
        (("crypto_pair", "2023-03-20"), "crypto_pair is no candle table"),
        ((",", "2023-03-20"), "--select ',' names nothing"),
        ((MINUTES, "20.3.2023"), "is not an ISO date or time"),
        ((MINUTES, "2023-03-20", "--end", "2023-03-19"), "--start 2023-03-20 is after --end 2023-03-19."),
        ((MINUTES, "2100-01-01"), "--start 2100-01-01 has not come yet; it is "),
        ((MINUTES, "2016-01-01"), "is before the first partition, 2023-03-17; CRYPTO_ASSETS_START sets it."),
        (
            (MINUTES, "2023-03-20", "--symbols", "BTC/USDX"),
            "'BTC/USDX' is no symbol of crypto_pair; did you mean BTC/USDT",
        ),
        (
            (MINUTES, "2023-03-20", "--symbols", "BTC/USDT:USDT"),
            "'BTC/USDT:USDT' is no symbol of crypto_pair; did you mean BTC/USDT",
        ),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(project, arguments, said):
    select, start, *others = arguments
    for command in ("plan", "backfill"):
        result = run_command(
            *(command, "--select", select, "--start", start, *others),
            url=f"sqlite:///{project.directory}",
            **variables(project),
        )
        assert said in sentence(result, 2)


def test_no_symbol_no_schema_and_no_bootstrap(project, tmp_path, migrated_directory):
    ask = ("--select", MINUTES, "--start", "2023-03-20")
    url = f"sqlite:///{project.directory}"
    none = run_command("plan", *ask, url=url, **variables(project, CRYPTO_ASSETS_PAIRS=""))
    assert sentence(none, 2) == (
        f"{MINUTES}: no symbol is configured; set CRYPTO_ASSETS_PAIRS, or name some with --symbols."
    )
    nothing = run_command("plan", *ask, url=f"sqlite:///{tmp_path / 'nothing'}", **variables(project))
    assert "run crypto-assets migrate" in sentence(nothing)
    shutil.copytree(migrated_directory, tmp_path / "migrated")
    empty = run_command("plan", *ask, url=f"sqlite:///{tmp_path / 'migrated'}", **variables(project))
    assert "empty until the job bootstrap has run" in sentence(empty)


def test_without_a_terminal_nothing_is_begun_unasked(project):
    result = run_command(
        *("backfill", "--select", MINUTES, "--start", "2023-03-20", "--end", "2023-03-20"),
        url=f"sqlite:///{project.directory}",
        **variables(project),
    )
    assert sentence(result, 2).startswith("There is no terminal to ask at; say --yes")
