"""The asset, the check and the schedule that keep the database in order."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg
import pytest
from sqlalchemy import func, select

from crypto_assets.database.engines import open_database
from crypto_assets.database.migrations import migrate
from crypto_assets.database.tables import TABLES
from crypto_assets.definitions import build_definitions
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets.orchestration.assets.operations import (
    crypto_operational_metrics,
    healthy,
    make_partitions_ahead,
    verdict,
)
from crypto_assets.orchestration.jobs.assets import maintenance_schedule
from crypto_assets.orchestration.resources import DatabaseResource, LedgerResource
from crypto_assets.quality.vitals import Vital
from crypto_assets.settings import Settings
from crypto_assets_tests.database.database_frames import assets, pairs
from crypto_assets_tests.database.filled_tables import store_candles, store_entities

METRICS = "crypto_operational_metrics"


def run(url):
    resources = {"database": DatabaseResource(url=url, environment="sandbox"), "ledger": LedgerResource()}
    return dg.materialize([crypto_operational_metrics, healthy], resources=resources, raise_on_error=False)


def test_a_run_tidies_measures_and_shows_figures_over_time(any_database, database_url):
    store_entities(any_database, 10)
    store_candles(any_database, "cryptopair_1h_kdata", each=50)
    done = run(database_url)
    assert done.success
    metadata = done.asset_materializations_for_node(METRICS)[0].metadata
    figures = {name: value.value for name, value in metadata.items()}
    assert figures["total_bytes"] > figures["bytes/cryptopair_1h_kdata"] > 0
    assert figures["bytes_per_row/cryptopair_1h_kdata"] == figures["bytes/cryptopair_1h_kdata"] / 250
    assert "bytes/cryptoperp_1h_kdata" not in figures
    assert figures["index_use_share"] == 1.0
    assert {record.data["table"] for record in metadata["tables"].records} == set(TABLES)
    with any_database.connect(METRICS) as connection:
        table = TABLES[METRICS]
        stored = connection.execute(select(table.c.metric_name, func.count()).group_by(table.c.metric_name)).all()
        assert {name for name, _ in stored} == {"table_bytes", "table_rows", "bytes_per_row", "index_use_share"}
        assert dict(map(tuple, stored))["table_bytes"] == len(TABLES)
        assert sum(count for _, count in stored) == figures["metrics_stored"]
    check = done.get_asset_check_evaluations()[0]
    assert check.passed, check.description
    assert {"references", "integrity", "query_time", "size", "connections", "index_use"} <= set(check.metadata)


def test_a_run_thins_old_scores_and_says_how_many_went(any_database, database_url):
    log = TABLES["crypto_data_quality_log"]
    row = {
        "entity_id": "cryptopair_binance_btcusdt",
        "provider": "binance",
        "validation_type": "integrity",
        "validation_result": {"table": "cryptopair_1h_kdata"},
        "quality_score": 1.0,
        "issues_detected": [],
    }
    moments = [datetime(2024, 3, day) for day in (1, 2, 3)]  # noqa: DTZ001 - stored times are naive UTC
    name = "integrity_cryptopair_1h_kdata_cryptopair_binance_btcusdt"
    with any_database.begin(log.name) as connection:
        rows = [{"id": f"{name}_{moment:%Y%m%dT%H%M%S%f}", "timestamp": moment} for moment in moments]
        connection.execute(log.insert(), [row | each for each in rows])
    resources = {
        "database": DatabaseResource(url=database_url, environment="sandbox", history_days=92),
        "ledger": LedgerResource(),
    }
    done = dg.materialize([crypto_operational_metrics], resources=resources)
    assert done.asset_materializations_for_node(METRICS)[0].metadata["scores_forgotten"].value == 2


def test_an_unresolved_reference_makes_the_check_red_and_not_the_run(any_database, database_url):
    if any_database.engine != "sqlite":
        pytest.skip("a server's foreign keys let none in")
    store_candles(any_database, "cryptopair_1h_kdata", each=3, symbols=("NEW",))
    done = run(database_url)
    assert done.success
    check = done.get_asset_check_evaluations()[0]
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.ERROR
    assert "references: unresolved: 3 in cryptopair_1h_kdata" in check.description
    assert check.metadata["references"].value == 3


def test_partitions_are_made_for_what_is_collected_and_for_nothing_else(any_database):
    with any_database.begin("crypto_meta") as connection:
        connection.execute(TABLES["crypto_asset"].insert(), assets("BTC", "USDT").to_dict("records"))
        connection.execute(TABLES["crypto_pair"].insert(), pairs("BTC").to_dict("records"))
    moment = datetime(2031, 12, 31, 23, tzinfo=UTC)
    assert make_partitions_ahead(any_database, moment) == 0
    covered = {
        "entity_id": "cryptopair_binance_btcusdt",
        "provider": "binance",
        "level": "5m",
        "partition": "2031-12-01",
        "expected": 1,
        "present": 1,
        "verified_at": moment.replace(tzinfo=None),
        "digest": "",
    }
    with any_database.begin("crypto_quality") as connection:
        connection.execute(TABLES["crypto_kdata_coverage"].insert(), [covered])
    made = make_partitions_ahead(any_database, moment)
    assert (made == 0) == (any_database.engine == "sqlite")
    assert make_partitions_ahead(any_database, moment) == 0
    if any_database.engine == "postgresql":
        with any_database.connect("crypto_pair") as connection:
            names = connection.exec_driver_sql("SELECT relname FROM pg_class WHERE relname ~ 'kdata_203[12]_..$'")
            months = [name.removeprefix("cryptopair_5m_kdata_") for name in sorted(names.scalars())]
            assert months == ["2031_12", "2032_01", "2032_02"]


def test_a_verdict_shows_every_figure():
    found = [Vital("size", passed=True, figure="12 bytes", value=12.0), Vital("schema", passed=False, figure="at 0001")]
    result = verdict(found)
    assert (result.passed, result.description) == (False, "schema: at 0001")
    assert result.metadata["size"].value == 12.0
    assert result.metadata["schema"].value == "at 0001"


def tick(directory):
    database = DatabaseResource(url=f"sqlite:///{directory}", environment="testnet")
    return maintenance_schedule(dg.build_schedule_context(resources={"database": database}))


def test_a_maintenance_run_is_skipped_with_its_reason_while_there_is_no_database(tmp_path):
    skipped = tick(tmp_path)
    assert isinstance(skipped, dg.SkipReason)
    assert "bootstrap" in str(skipped.skip_message)
    migrate(open_database(f"sqlite:///{tmp_path}", "testnet"), ["crypto_meta"])
    assert isinstance(tick(tmp_path), dg.RunRequest)


def test_the_job_is_that_asset_with_its_check_every_sunday():
    repository = build_definitions(Settings(environment="sandbox")).get_repository_def()
    layer = repository.get_job("maintenance").asset_layer
    assert {key.to_user_string() for key in layer.selected_asset_keys} == {METRICS}
    assert {key.name for key in layer.asset_graph.asset_check_keys} == {"healthy"}
    schedule = repository.get_schedule_def("maintenance_schedule")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 3 * * 0", "UTC")
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    assert len(KDATA_TABLES) == 14
