"""Tables broken by hand, the way a user's SQL client would: which checks turn red, what they say, what heals them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import pytest

from crypto_assets_tests.sandboxed_project import BTC, ETH, Project, evaluation, red_checks, sample

TABLE = "cryptopair_5m_kdata"
ENTITIES = ("crypto_asset", "crypto_pair", "crypto_perp")
NOON = "2023-03-21 12:00:00.000000"
DAMAGED = f"WHERE entity_id = '{BTC}' AND timestamp = '{NOON}'"
COPIED = (
    f"INSERT INTO {TABLE} (entity_id, provider, name, timestamp, open, high, low, close, volume, volume_quote,"
    " trade_count) SELECT {entity}, provider, name, {timestamp}, open, high, low, close, volume, volume_quote,"
    f" trade_count FROM {TABLE} {DAMAGED}"
)


@dataclass(frozen=True)
class Damage:
    """What is done to the table, the one check that must see it, how many rows it counts and what it shows first."""

    statement: str
    check: str
    count: int
    shown: dict


DAMAGES = {
    "three candles deleted": Damage(
        f"DELETE FROM {TABLE} WHERE entity_id = '{BTC}' AND timestamp >= '{NOON}' AND timestamp < '2023-03-21 12:15'",
        "no_gaps",
        3,
        {"entity_id": BTC, "first_missing": "2023-03-21 12:00", "last_missing": "2023-03-21 12:10", "missing": 3},
    ),
    "a whole day between collected days deleted": Damage(
        f"DELETE FROM {TABLE} WHERE entity_id = '{ETH}' AND timestamp LIKE '2023-03-21%'",
        "no_gaps",
        288,
        {"entity_id": ETH, "first_missing": "2023-03-21 00:00", "last_missing": "2023-03-21 23:55", "missing": 288},
    ),
    "the first and the last candle deleted": Damage(
        f"DELETE FROM {TABLE} WHERE timestamp IN ('2023-03-20 00:00:00.000000', '2023-03-22 11:55:00.000000')",
        "no_gaps",
        4,
        {"entity_id": BTC, "first_missing": "2023-03-20 00:00", "last_missing": "2023-03-20 00:00", "missing": 1},
    ),
    "everything deleted": Damage(
        f"DELETE FROM {TABLE}",
        "no_gaps",
        1440,
        {"entity_id": BTC, "first_missing": "2023-03-20 00:00", "last_missing": "2023-03-22 11:55", "missing": 720},
    ),
    "a close set to null": Damage(
        f"UPDATE {TABLE} SET close = NULL {DAMAGED}",
        "no_null_ohlc",
        1,
        {"entity_id": BTC, "timestamp": NOON, "close": None},
    ),
    "a high below the low": Damage(
        f"UPDATE {TABLE} SET high = low / 2 {DAMAGED}", "valid_ohlc", 1, {"entity_id": BTC, "timestamp": NOON}
    ),
    "a negative volume": Damage(
        f"UPDATE {TABLE} SET volume = -1 {DAMAGED}",
        "valid_ohlc",
        1,
        {"entity_id": BTC, "timestamp": NOON, "volume": -1.0},
    ),
    "prices of zero": Damage(
        f"UPDATE {TABLE} SET open = 0, high = 0, low = 0, close = 0 {DAMAGED}",
        "valid_ohlc",
        1,
        {"entity_id": BTC, "timestamp": NOON, "high": 0.0},
    ),
    "a candle of an unlisted entity": Damage(
        COPIED.format(entity="'cryptopair_binance_ghostusdt'", timestamp="timestamp"),
        "known_entities",
        1,
        {"entity_id": "cryptopair_binance_ghostusdt", "timestamp": NOON},
    ),
    "a candle off the grid": Damage(
        COPIED.format(entity="entity_id", timestamp="'2023-03-21 12:02:30.000000'"),
        "on_grid",
        1,
        {"entity_id": BTC, "timestamp": "2023-03-21 12:02:30.000000"},
    ),
    "a candle off the grid by a millisecond": Damage(
        COPIED.format(entity="entity_id", timestamp="'2023-03-21 12:05:00.001000'"),
        "on_grid",
        1,
        {"entity_id": BTC, "timestamp": "2023-03-21 12:05:00.001000"},
    ),
    "a timestamp that is no time": Damage(
        COPIED.format(entity="entity_id", timestamp="'2023-03-21 noon'"),
        "on_grid",
        1,
        {"entity_id": BTC, "timestamp": "2023-03-21 noon"},
    ),
    "one instant written with a T": Damage(
        COPIED.format(entity="entity_id", timestamp="'2023-03-21T12:00:00.000000'"),
        "no_duplicates",
        1,
        {"entity_id": BTC, "rows": 2},
    ),
    "one instant written without microseconds": Damage(
        COPIED.format(entity="entity_id", timestamp="'2023-03-21 12:00:00'"),
        "no_duplicates",
        1,
        {"entity_id": BTC, "rows": 2},
    ),
}


def broken(collected_project: Project, directory, damage: Damage) -> Project:
    project = collected_project.copy(directory)
    before = project.rows(TABLE)
    project.sql(TABLE, damage.statement)
    assert project.rows(TABLE) != before
    return project


def repair(project: Project, command: str) -> None:
    """Does what the command of a red check says: the asset run in this process, the statement in SQLite."""
    asked = re.fullmatch(
        r"dagster asset materialize -m crypto_assets\.definitions --select (\S+) --partition(?:-range)? (\S+)"
        r"(?: --config-json '(.*)')?",
        command,
    )
    if asked:
        first, _, last = asked[2].partition("...")
        config = json.loads(asked[3])["ops"][asked[1]]["config"] if asked[3] else {}
        assert project.collect(asked[1], first, last or first, **config).success
    else:
        statement = re.search(r"DELETE FROM (\S+) .*", command)
        assert statement, command
        project.sql(statement[1], statement[0])


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_exactly_the_check_that_is_about_the_damage_turns_red_and_its_repair_heals_it(
    collected_project, tmp_path, damage
):
    project = broken(collected_project, tmp_path, damage)
    # What is changed or deleted is marked, and found by the next six-hourly run; what is inserted, by the deep one.
    result = project.check(TABLE, deep=damage.statement.startswith("INSERT"))
    assert not result.success
    assert red_checks(result) == {f"{TABLE}: {damage.check}"}
    verdict = evaluation(result, TABLE, damage.check)
    assert verdict.metadata["count"].value == damage.count
    first = sample(verdict)[0]
    assert {name: first[name] for name in damage.shown} == damage.shown
    repair(project, str(verdict.metadata["repair"].value))
    assert red_checks(project.check(TABLE)) == set()
    assert project.rows(TABLE) == collected_project.rows(TABLE)


def test_a_gap_is_not_hidden_by_a_duplicate(collected_project, tmp_path):
    project = broken(collected_project, tmp_path, DAMAGES["one instant written with a T"])
    project.sql(TABLE, f"DELETE FROM {TABLE} WHERE entity_id = '{BTC}' AND timestamp = '2023-03-21 18:00:00.000000'")
    result = project.check(TABLE)
    assert red_checks(result) == {f"{TABLE}: no_duplicates", f"{TABLE}: no_gaps"}
    gaps = evaluation(result, TABLE, "no_gaps")
    assert gaps.metadata["count"].value == 1
    assert [row["first_missing"] for row in sample(gaps)] == ["2023-03-21 18:00"]


def test_a_sample_has_twenty_rows_and_the_count_is_exact(collected_project, tmp_path):
    project = collected_project.copy(tmp_path)
    project.sql(TABLE, f"UPDATE {TABLE} SET open = NULL WHERE timestamp LIKE '2023-03-21%'")
    verdict = evaluation(project.check(TABLE), TABLE, "no_null_ohlc")
    assert verdict.metadata["count"].value == 576
    assert verdict.metadata["rows"].value == 1440
    assert len(sample(verdict)) == 20


def test_damage_to_one_table_leaves_all_others_green_and_named(collected_project, tmp_path):
    project = collected_project.copy(tmp_path)
    project.sql("cryptopair_1h_kdata", "DELETE FROM cryptopair_1h_kdata WHERE timestamp = '2023-03-20 07:00:00.000000'")
    result = project.run("integrity")
    assert red_checks(result) == {"cryptopair_1h_kdata: no_gaps"}
    shown = evaluation(result, "cryptopair_1h_kdata", "no_gaps").metadata
    assert (shown["count"].value, shown["gaps"].value) == (2, 2)
    assert shown["expected"].value - shown["present"].value == 2
    assert "--select cryptopair_1h_kdata --partition 2023-03-01" in str(shown["repair"].value)
    percents = {row.data["entity_id"]: row.data["percent"] for row in shown["completeness"].records}
    assert percents == {BTC: 100 * 131 / 132, ETH: 100 * 131 / 132}


def test_a_market_whose_currency_is_gone_turns_references_red_and_bootstrap_heals_it(collected_project, tmp_path):
    project = collected_project.copy(tmp_path)
    project.sql("crypto_asset", "DELETE FROM crypto_asset WHERE id = 'crypto_binance_sol'")
    result = project.judge(*ENTITIES, "crypto_operational_metrics")
    assert not result.success
    assert red_checks(result) == {
        "crypto_pair: references_resolve",
        "crypto_perp: references_resolve",
        "crypto_operational_metrics: healthy",
    }
    verdict = evaluation(result, "crypto_pair", "references_resolve")
    assert verdict.metadata["count"].value == 1
    assert sample(verdict)[0]["id"] == "cryptopair_binance_solusdt"
    assert verdict.metadata["repair"].value == "dagster job execute -m crypto_assets.definitions -j bootstrap"
    assert project.run("bootstrap").success
    assert project.judge(*ENTITIES, "crypto_operational_metrics").success


def test_an_empty_name_turns_no_null_ids_red(collected_project, tmp_path):
    project = collected_project.copy(tmp_path)
    project.sql("crypto_pair", "UPDATE crypto_pair SET name = '' WHERE id = 'cryptopair_binance_solusdt'")
    result = project.judge(*ENTITIES)
    assert red_checks(result) == {"crypto_pair: no_null_ids"}
    assert project.run("bootstrap").success
    assert project.judge(*ENTITIES).success


def test_a_database_of_another_environment_is_refused_by_every_check(collected_project, tmp_path):
    project = collected_project.copy(tmp_path)
    project.sql("crypto_meta", "UPDATE crypto_database_identity SET environment = 'live'")
    before = project.file_bytes()
    result = project.run("integrity")
    assert not result.success
    # All that judge data stop; the one that judges the database says why.
    (healthy,) = result.get_asset_check_evaluations()
    assert (healthy.check_name, healthy.passed) == ("healthy", False)
    assert "live data and cannot be used for sandbox" in healthy.description
    assert not project.collect(TABLE, "2023-03-21").success
    assert project.file_bytes() == before


def test_a_row_broken_in_two_ways_turns_both_checks_red_and_stops_none(collected_project, tmp_path):
    project = collected_project.copy(tmp_path)
    project.sql(TABLE, COPIED.format(entity="entity_id", timestamp="'2023-03-21 noon'"))
    project.sql(TABLE, f"UPDATE {TABLE} SET close = NULL WHERE timestamp = '2023-03-21 noon'")
    assert red_checks(project.check(TABLE)) == {f"{TABLE}: on_grid", f"{TABLE}: no_null_ohlc"}


def test_a_gap_of_a_symbol_that_is_not_configured_can_be_repaired_by_its_command(collected_project, tmp_path):
    project = collected_project.copy(tmp_path)
    # Collected by run config alone: the plain command would ask for the configured symbols only.
    assert project.collect(TABLE, "2023-03-21", symbols=["SOL/USDT"]).success
    project.sql(TABLE, f"DELETE FROM {TABLE} WHERE entity_id LIKE '%solusdt' AND timestamp = '{NOON}'")
    verdict = evaluation(project.check(TABLE), TABLE, "no_gaps")
    assert not verdict.passed
    repair(project, str(verdict.metadata["repair"].value))
    assert project.check(TABLE).success
