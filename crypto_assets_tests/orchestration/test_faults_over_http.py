"""An exchange that misbehaves on the wire, and what a run of a candle asset makes of it."""

from __future__ import annotations

import json
import re
import socket

import pytest

from crypto_assets.domain.intervals import parse_time
from crypto_assets_tests.sandboxed_project import (
    BTC,
    ETH,
    Project,
    evaluation,
    failure_sentence,
    figures,
    red_checks,
    sample,
)

TABLE = "cryptopair_5m_kdata"
DAYS = ("2023-03-20", "2023-03-22")


@pytest.fixture
def project(listed_project, sandbox, tmp_path) -> Project:
    return listed_project.copy(tmp_path / "project", url=sandbox.url)


@pytest.fixture
def expected(collected_project):
    """What an exchange without faults leaves in the table."""
    return collected_project.rows(TABLE)


def of(entity: str, rows: list[tuple]) -> list[tuple]:
    return [row for row in rows if row[0] == entity]


def logged(project: Project) -> dict[str, list[str]]:
    """The rejected rows' reasons by the open time the exchange gave."""
    rows = project.sql("crypto_quality", "SELECT validation_result, issues_detected FROM crypto_data_quality_log")
    return {json.loads(result)["row"][0]: json.loads(issues) for result, issues in rows}


@pytest.mark.parametrize(
    "fault",
    [
        "status_5xx:times=1,path=klines",
        "status_5xx:status=500,times=1,path=time",
        "reset:times=1,path=klines",
        "truncated_json:times=1,path=klines",
        "html_body:times=1,path=klines",
        "rate_limited:times=1,retry_after=30,path=klines",
        "duplicate_rows:row=3",
        "duplicate_rows:row=-1",
        "rows_out_of_order",
    ],
)
def test_what_passes_or_can_be_put_right_leaves_no_trace(project, sandbox, expected, fault):
    sandbox.faults.add(fault)
    result = project.collect(TABLE, *DAYS)
    assert result.success
    assert project.rows(TABLE) == expected
    assert figures(result, TABLE)["rows_rejected"] == 0
    assert project.check(TABLE).success


@pytest.mark.parametrize(
    "fault", ["truncated_json:path=klines", "html_body:path=klines", "status_5xx:path=klines", "reset:path=klines"]
)
def test_what_does_not_pass_fails_the_run_and_stores_nothing(project, sandbox, fault):
    sandbox.faults.add(fault)
    result = project.collect(TABLE, *DAYS)
    assert not result.success
    said = failure_sentence(result)
    assert said.startswith(f"{TABLE}: 2 of 2 symbols failed. BTC/USDT: klines at {sandbox.url}")
    assert "ETH/USDT: klines" in said
    assert "try again later" in said
    assert project.rows(TABLE) == []
    sandbox.faults.clear()
    assert project.check(TABLE).success


def test_a_blocked_country_is_one_sentence_that_names_the_setting_and_no_file_changes(project, sandbox):
    sandbox.faults.add("geo_blocked:path=klines")
    before = project.file_bytes()
    result = project.collect(TABLE, *DAYS)
    assert not result.success
    said = failure_sentence(result)
    assert "CRYPTO_ASSETS_SPOT_URL" in said
    assert "HTTP 451" in said
    assert said.count("\n") == 0
    assert project.file_bytes() == before
    assert sandbox.requests.by_path["/api/v3/klines"] == 1


def test_a_ban_is_one_sentence_with_its_end_and_nothing_more_is_asked(project, sandbox):
    sandbox.faults.add("banned:retry_after=3600,path=klines")
    result = project.collect(TABLE, *DAYS)
    assert not result.success
    said = failure_sentence(result)
    # The end is in the text to the millisecond, the exchange's clock beside it to the second.
    wanted = r"klines at http://\S+ has banned this address \(HTTP 418\); ask nothing of it for 360[01] s, until 2"
    assert re.search(wanted, said), said
    assert said.count("banned") == 1
    assert sandbox.requests.by_path["/api/v3/klines"] == 1


@pytest.mark.parametrize("job", ["bootstrap", "backfill"])
def test_a_host_that_does_not_answer_is_one_sentence_that_names_the_setting_and_no_file_changes(
    listed_project, tmp_path, job
):
    with socket.socket() as bound:
        # Bound and not listening: nobody else can take the port, and nobody answers.
        bound.bind(("127.0.0.1", 0))
        project = listed_project.copy(tmp_path, spot_url=f"http://127.0.0.1:{bound.getsockname()[1]}")
        before = project.file_bytes()
        result = project.run("bootstrap") if job == "bootstrap" else project.collect(TABLE, *DAYS)
    assert not result.success
    said = failure_sentence(result)
    assert "could not be reached in 2 attempts" in said
    assert "CRYPTO_ASSETS_SPOT_URL" in said
    assert said.count("\n") == 0
    assert project.file_bytes() == before


def test_rows_that_cannot_be_true_are_kept_out_logged_and_missed(project, sandbox, expected):
    null, negative, crossed = (parse_time(f"2023-03-21T{hour}:00") for hour in ("08", "12", "16"))
    sandbox.faults.add(f"null_price:symbol=BTCUSDT,open_times={null}")
    sandbox.faults.add(f"negative_price:symbol=BTCUSDT,open_times={negative}")
    sandbox.faults.add(f"high_below_low:symbol=BTCUSDT,open_times={crossed}")
    result = project.collect(TABLE, *DAYS)
    assert result.success
    assert figures(result, TABLE)["rows_rejected"] == 3
    assert logged(project) == {
        null: ["close: not_nullable"],
        negative: ["low: positive"],
        crossed: ["high is the highest", "low is the lowest"],
    }
    assert len(of(BTC, project.rows(TABLE))) == 720 - 3
    assert of(ETH, project.rows(TABLE)) == of(ETH, expected)
    checked = project.check(TABLE)
    assert red_checks(checked) == {f"{TABLE}: no_gaps"}
    assert [(row["first_missing"], row["missing"]) for row in sample(evaluation(checked, TABLE, "no_gaps"))] == [
        ("2023-03-21 08:00", 1),
        ("2023-03-21 12:00", 1),
        ("2023-03-21 16:00", 1),
    ]
    sandbox.faults.clear()
    assert figures(project.collect(TABLE, *DAYS, only_missing=True), TABLE)["rows_inserted"] == 3
    assert project.rows(TABLE) == expected
    assert project.check(TABLE).success


def test_a_candle_off_the_grid_is_never_moved_onto_it(project, sandbox):
    shifted = parse_time("2023-03-21T08:00")
    sandbox.faults.add(f"off_grid:symbol=BTCUSDT,open_times={shifted},shift_ms=789")
    assert project.collect(TABLE, *DAYS).success
    assert logged(project) == {shifted + 789: ["open_time: on the 5m grid"]}
    assert red_checks(project.check(TABLE)) == {f"{TABLE}: no_gaps"}


def test_a_span_the_exchange_does_not_have_is_shown_exactly(project, sandbox, expected):
    sandbox.faults.add("hidden_span:symbol=BTCUSDT,start=2023-03-21T23:00,end=2023-03-22T01:20")
    assert project.collect(TABLE, *DAYS).success
    checked = project.check(TABLE)
    assert not checked.success
    assert red_checks(checked) == {f"{TABLE}: no_gaps"}
    verdict = evaluation(checked, TABLE, "no_gaps")
    (gap,) = sample(verdict)
    gap.pop("known_for")
    assert gap == {
        "entity_id": BTC,
        "first_missing": "2023-03-21 23:00",
        "last_missing": "2023-03-22 01:15",
        "missing": 28,
        "lasts": "2 hours 20 minutes",
        "asked": 1,
    }
    assert "--partition-range 2023-03-21...2023-03-22" in str(verdict.metadata["repair"].value)
    sandbox.faults.clear()
    # Asking for one day brings that day's candles only; what derives from them changes in the next day too.
    assert figures(project.collect(TABLE, "2023-03-21", only_missing=True), TABLE)["rows_inserted"] == 12
    assert figures(project.collect(TABLE, "2023-03-22", only_missing=True), TABLE)["rows_inserted"] == 16
    assert project.rows(TABLE) == expected


def test_a_failing_symbol_is_named_and_keeps_no_other_from_being_stored(project, sandbox, expected):
    sandbox.faults.add("status_5xx:symbol=BTCUSDT,path=klines")
    result = project.collect(TABLE, *DAYS)
    assert not result.success
    said = failure_sentence(result)
    assert said.startswith(f"{TABLE}: 1 of 2 symbols failed, the other 1 stored. BTC/USDT: klines")
    assert "HTTP 503" in said
    assert project.rows(TABLE) == of(ETH, expected)
    sandbox.faults.clear()
    assert project.collect(TABLE, *DAYS, only_missing=True).success
    assert project.rows(TABLE) == expected


def test_what_is_stored_is_not_asked_for_again(collected_project, sandbox, tmp_path):
    project = collected_project.copy(tmp_path, url=sandbox.url)
    assert project.collect(TABLE, *DAYS, only_missing=True).success
    assert sandbox.requests.by_path == {"/api/v3/time": 1}


def test_a_bootstrap_that_fails_half_way_can_be_repeated(sandbox, tmp_path):
    project = Project(tmp_path, sandbox.url)
    sandbox.faults.add("geo_blocked:path=/fapi/")
    failed = project.run("bootstrap")
    assert not failed.success
    assert "CRYPTO_ASSETS_FUTURES_URL" in failure_sentence(failed)
    sandbox.faults.clear()
    assert project.run("bootstrap").success
    assert project.sql("crypto_perp", "SELECT count(*) FROM crypto_perp") == [(6,)]
    assert project.judge("crypto_asset", "crypto_pair", "crypto_perp").success
