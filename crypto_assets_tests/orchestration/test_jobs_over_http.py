"""The jobs of the project, run by Dagster in this process against a sandbox over HTTP: what they leave behind."""

from __future__ import annotations

import dagster as dg
import pytest

from crypto_assets.domain.intervals import DAY_MS, MINUTE_MS, parse_time
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets_tests.sandboxed_project import (
    BTC,
    CLOCK,
    ETH,
    Clock,
    Project,
    failure_sentence,
    figures,
    red_checks,
    running_sandbox,
)

PAIR_COLUMNS = "name, is_active, list_date, end_date, maker_fee, taker_fee"


def entities(project: Project, table: str, columns: str) -> dict[str, tuple]:
    return {row[0]: row[1:] for row in project.sql(table, f"SELECT id, {columns} FROM {table}")}


def test_bootstrap_lists_every_symbol_as_the_exchange_describes_it(listed_project):
    currencies = entities(listed_project, "crypto_asset", "symbol, is_stablecoin, circulating_supply")
    pairs = entities(listed_project, "crypto_pair", f"{PAIR_COLUMNS}, base_asset_id, quote_asset_id")
    perps = entities(
        listed_project, "crypto_perp", "name, is_active, end_date, unit_multiplier, funding_interval_hours"
    )
    assert (len(currencies), len(pairs), len(perps)) == (12, 10, 6)
    assert {row[0] for row in currencies.values() if row[1]} == {"USDT", "USDC"}
    assert {row[2] for row in currencies.values()} == {None}
    # Tracked, so its first candle was asked for; its fees are no part of a public endpoint.
    assert pairs[BTC] == (
        "BTC/USDT",
        1,
        "2023-03-17 00:00:00.000000",
        None,
        None,
        None,
        "crypto_binance_btc",
        "crypto_binance_usdt",
    )
    assert pairs["cryptopair_binance_solusdt"][2] is None
    assert pairs["cryptopair_binance_币安人生usdt"][0] == "币安人生/USDT"
    assert pairs["cryptopair_binance_lunausdt"][1] == 0
    assert perps["cryptoperp_binance_1000pepeusdt"] == ("1000PEPE/USDT:USDT", 1, None, 1000, 4)
    assert perps["cryptoperp_binance_oceanusdt"] == ("OCEAN/USDT:USDT", 0, "2023-03-18 12:00:00.000000", 1, 8)


def test_a_delivery_contract_is_no_perpetual(listed_project):
    assert {row[0] for row in listed_project.sql("crypto_perp", "SELECT name FROM crypto_perp")} == {
        "BTC/USDT:USDT",
        "ETH/USDT:USDT",
        "SOL/USDT:USDT",
        "1000PEPE/USDT:USDT",
        "OCEAN/USDT:USDT",
        "币安人生/USDT:USDT",
    }


def test_bootstrap_again_changes_nothing(listed_project, tmp_path):
    project = listed_project.copy(tmp_path)
    before = {table: project.rows(table) for table in ("crypto_asset", "crypto_pair", "crypto_perp")}
    result = project.run("bootstrap")
    assert {table: project.rows(table) for table in before} == before
    for table in before:
        assert {name: figures(result, table)[name] for name in ("rows_inserted", "rows_changed", "vanished")} == {
            "rows_inserted": 0,
            "rows_changed": 0,
            "vanished": 0,
        }
    assert figures(result, "crypto_kdata_schema")["databases"] == len(KDATA_TABLES)
    assert figures(result, "crypto_kdata_schema")["databases_changed"] == 0


def test_a_symbol_delisted_under_our_eyes_ends_with_its_last_candle(listed_project, sandbox, tmp_path):
    project = listed_project.copy(tmp_path, url=sandbox.url)
    for symbol in ("SOLUSDT", "ETHUSDT"):
        sandbox.faults.add(f"delisted_symbol:symbol={symbol},market=spot,start=2023-03-22T09:30")
    project.run("bootstrap")
    listed = entities(project, "crypto_pair", PAIR_COLUMNS)
    assert listed[ETH][1:4] == (0, "2023-03-17 00:00:00.000000", "2023-03-22 09:30:00.000000")
    # Nobody tracks it, so that nobody asks for its last candle.
    assert listed["cryptopair_binance_solusdt"] == ("SOL/USDT", 0, None, None, None, None)


def test_a_symbol_that_vanished_from_the_listing_stays_inactive_and_keeps_its_candles(
    collected_project, sandbox, tmp_path
):
    project = collected_project.copy(tmp_path, url=sandbox.url)
    sandbox.faults.add("vanished_symbol:symbol=ETHUSDT,market=spot")
    candles = project.rows("cryptopair_5m_kdata")
    result = project.run("bootstrap")
    assert figures(result, "crypto_pair")["vanished"] == 1
    eth = entities(project, "crypto_pair", PAIR_COLUMNS)[ETH]
    assert eth == ("ETH/USDT", 0, "2023-03-17 00:00:00.000000", "2023-03-22 12:00:30.000000", None, None)
    assert project.rows("cryptopair_5m_kdata") == candles
    assert project.check("cryptopair_5m_kdata").success


def test_a_tracked_symbol_that_ended_before_is_collected_until_its_end(shared_sandbox, tmp_path):
    project = Project(tmp_path, shared_sandbox.url, pairs=("LUNA/USDT",), perps=())
    assert project.run("bootstrap").success
    luna = entities(project, "crypto_pair", PAIR_COLUMNS)["cryptopair_binance_lunausdt"]
    assert luna[1:4] == (0, "2023-03-17 00:00:00.000000", "2023-03-18 12:00:00.000000")
    assert project.sql("crypto_perp", "SELECT count(*) FROM crypto_perp") == [(0,)]
    result = project.collect("cryptopair_4h_kdata", "2023-03-01")
    assert figures(result, "cryptopair_4h_kdata")["rows_inserted"] == 9
    assert project.check("cryptopair_4h_kdata").success


def test_a_run_collects_the_range_of_its_tags_and_the_symbols_of_its_config(listed_project, tmp_path):
    project = listed_project.copy(tmp_path)
    table = "cryptopair_1m_kdata"
    result = project.collect(table, "2023-03-20", "2023-03-21", symbols=["ETH/USDT"])
    assert result.success
    counted = project.sql(table, f"SELECT entity_id, count(*), min(timestamp), max(timestamp) FROM {table} GROUP BY 1")
    assert counted == [(ETH, 2880, "2023-03-20 00:00:00.000000", "2023-03-21 23:59:00.000000")]
    shown = figures(result, table)
    expected = {
        "window_start": "2023-03-20 00:00",
        "window_end": "2023-03-22 00:00",
        "rows_received": 2880,
        "rows_inserted": 2880,
        "rows_changed": 0,
        "rows_unchanged": 0,
        "rows_rejected": 0,
        "dagster/row_count": 2880,
        "exchange_clock": CLOCK / 1000,
    }
    assert {name: shown[name] for name in expected} == expected
    assert [record.data for record in shown["symbols"].records] == [
        {
            "symbol": "ETH/USDT",
            "received": 2880,
            "inserted": 2880,
            "changed": 0,
            "rejected": 0,
            "first": "2023-03-20 00:00",
            "last": "2023-03-21 23:59",
        }
    ]
    partitions = project.instance.get_materialized_partitions(dg.AssetKey(table))
    assert partitions == {"2023-03-20", "2023-03-21"}


def test_the_running_partition_holds_closed_candles_only(listed_project, tmp_path):
    project = listed_project.copy(tmp_path)
    assert project.collect("cryptopair_1h_kdata", "2023-03-01", symbols=["BTC/USDT"]).success
    counted = project.sql("cryptopair_1h_kdata", "SELECT count(*), max(timestamp) FROM cryptopair_1h_kdata")
    assert counted == [(5 * 24 + 12, "2023-03-22 11:00:00.000000")]


@pytest.mark.parametrize("only_missing", [False, True])
def test_a_second_run_changes_nothing(collected_project, tmp_path, only_missing):
    project = collected_project.copy(tmp_path)
    before = project.rows("cryptopair_5m_kdata")
    assert len(before) == 2 * (288 + 288 + 144)
    result = project.collect("cryptopair_5m_kdata", "2023-03-20", "2023-03-22", only_missing=only_missing)
    shown = figures(result, "cryptopair_5m_kdata")
    assert (shown["rows_inserted"], shown["rows_changed"]) == (0, 0)
    assert shown["rows_unchanged"] == (0 if only_missing else len(before))
    assert project.rows("cryptopair_5m_kdata") == before


def test_every_check_is_green_over_what_was_collected(collected_project):
    result = collected_project.run("integrity")
    assert result.success
    assert red_checks(result) == set()
    assert len(result.get_asset_check_evaluations()) == 8 * len(KDATA_TABLES) + 2 + 3 * 2 + 2 + 1


def test_a_symbol_that_is_not_listed_fails_the_run_with_its_nearest_names(listed_project, tmp_path):
    project = listed_project.copy(tmp_path)
    before = project.file_bytes()
    result = project.collect("cryptopair_1h_kdata", "2023-03-01", symbols=["BTC/USTD"])
    assert not result.success
    assert "'BTC/USTD'; did you mean BTC/USDT" in failure_sentence(result)
    assert project.file_bytes() == before


def test_before_anything_was_migrated_the_run_says_what_to_do(shared_sandbox, tmp_path):
    project = Project(tmp_path, shared_sandbox.url)
    result = project.collect("cryptopair_1h_kdata", "2023-03-01")
    assert not result.success
    assert "run crypto-assets migrate" in failure_sentence(result)
    assert project.file_bytes() == {}


def test_refresh_collects_what_closed_since_and_reports_the_partitions(listed_project, tmp_path):
    clock = Clock()
    with running_sandbox(clock) as sandbox:
        project = listed_project.copy(tmp_path, url=sandbox.url, clock=clock)
        assert project.collect("cryptopair_5m_kdata", "2023-03-21", "2023-03-22").success
        assert project.collect("cryptopair_1h_kdata", "2023-03-01").success
        clock.now = CLOCK + DAY_MS + 60 * MINUTE_MS
        result = project.run("refresh_kdata")
        assert result.success
        counted = "SELECT entity_id, count(*), max(timestamp) FROM {0} GROUP BY 1"
        assert project.sql("cryptopair_5m_kdata", counted.format("cryptopair_5m_kdata")) == [
            (entity, 288 + 288 + 13 * 12, "2023-03-23 12:55:00.000000") for entity in (BTC, ETH)
        ]
        assert project.sql("cryptopair_1h_kdata", counted.format("cryptopair_1h_kdata")) == [
            (entity, 6 * 24 + 13, "2023-03-23 12:00:00.000000") for entity in (BTC, ETH)
        ]
        shown = figures(result, "cryptopair_5m_kdata")
        assert (shown["rows_inserted"], shown["window_start"]) == (2 * 300, "2023-03-22 00:00")
        partitions = project.instance.get_materialized_partitions
        assert partitions(dg.AssetKey("cryptopair_5m_kdata")) == {"2023-03-21", "2023-03-22", "2023-03-23"}
        assert partitions(dg.AssetKey("cryptopair_1h_kdata")) == {"2023-03-01"}
        # A table never collected starts with the running partition.
        assert partitions(dg.AssetKey("cryptoperp_1m_kdata")) == {"2023-03-23"}
        assert project.sql("cryptoperp_1m_kdata", "SELECT min(timestamp), count(*) FROM cryptoperp_1m_kdata") == [
            ("2023-03-23 00:00:00.000000", 13 * 60)
        ]
        assert project.check("cryptopair_5m_kdata").success
        again = project.run("refresh_kdata")
        assert {figures(again, table)["rows_inserted"] for table in KDATA_TABLES} == {0}
        assert {figures(again, table)["rows_received"] for table in KDATA_TABLES} == {0}


def test_candles_revised_by_the_exchange_replace_ours_with_all_that_derives_from_them(
    collected_project, sandbox, tmp_path
):
    project = collected_project.copy(tmp_path / "revised", url=sandbox.url)
    sandbox.faults.add("revised:symbol=BTCUSDT,start=2023-03-20T23:55,end=2023-03-21")
    result = project.collect("cryptopair_5m_kdata", "2023-03-20")
    shown = figures(result, "cryptopair_5m_kdata")
    assert shown["rows_inserted"] == 0
    assert 2 <= shown["rows_changed"] <= 21
    fresh = collected_project.copy(tmp_path / "fresh", url=sandbox.url)
    fresh.sql("cryptopair_5m_kdata", "DELETE FROM cryptopair_5m_kdata")
    fresh.collect("cryptopair_5m_kdata", "2023-03-20", "2023-03-22")
    assert project.rows("cryptopair_5m_kdata") == fresh.rows("cryptopair_5m_kdata")
    assert project.rows("cryptopair_5m_kdata") != collected_project.rows("cryptopair_5m_kdata")


def test_a_symbol_listed_within_the_collected_days_owes_nothing_before(shared_sandbox, tmp_path):
    # NEW/USDT is listed five days before the clock's day, at 08:00.
    project = Project(tmp_path, shared_sandbox.url, pairs=("NEW/USDT",), perps=())
    assert project.run("bootstrap").success
    assert project.collect("cryptopair_1h_kdata", "2023-03-01").success
    assert project.sql("cryptopair_1h_kdata", "SELECT min(timestamp), count(*) FROM cryptopair_1h_kdata") == [
        ("2023-03-17 08:00:00.000000", (CLOCK - parse_time("2023-03-17T08:00")) // (60 * MINUTE_MS))
    ]
    assert project.check("cryptopair_1h_kdata").success


def test_refresh_is_not_held_back_by_a_symbol_that_is_no_longer_configured(collected_project, tmp_path):
    project = collected_project.copy(tmp_path)
    assert project.collect("cryptopair_5m_kdata", "2023-03-20", symbols=["SOL/USDT"]).success
    shown = figures(project.run("refresh_kdata"), "cryptopair_5m_kdata")
    assert shown["window_start"] == "2023-03-22 00:00"
