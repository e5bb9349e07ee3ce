"""What Dagster shows of the project: assets, checks, jobs, schedules, partitions, and that it loads."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.remote_representation.external_data import RepositorySnap
from sqlalchemy import select

from crypto_assets.database.engines import open_database
from crypto_assets.database.tables import TABLES
from crypto_assets.definitions import build_definitions
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets.exchange.budget.store import FILE_NAME
from crypto_assets.orchestration.checks.definitions import HOURLY_CHECKS, KDATA_CHECKS
from crypto_assets.orchestration.resources import whole_url
from crypto_assets.sandbox.generated import GeneratedDataset
from crypto_assets.sandbox.server import RunningSandbox
from crypto_assets.settings import Settings

ROOT = Path(__file__).parents[1]
ENTITIES = ["crypto_asset", "crypto_pair", "crypto_perp"]
METRICS = "crypto_operational_metrics"
REPORT = "crypto_quality_report"
SCHEMAS = [f"crypto_{name}_schema" for name in ("meta", "kdata", "tick", "quality", "operations")]
INTERVALS = ("1m", "5m", "15m", "30m", "1h", "4h", "1d")
CANDLES = [f"{entity}_{interval}_kdata" for entity in ("cryptopair", "cryptoperp") for interval in INTERVALS]
DAILY = {table for table in CANDLES if table.split("_")[1] in ("1m", "5m")}

# The columns that SQL users were promised, in every candle table.
CANDLE_COLUMNS = {
    "id",
    "entity_id",
    "provider",
    "code",
    "name",
    "level",
    "timestamp",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "turnover",
    "change_pct",
    "turnover_rate",
    "volume_base",
    "volume_quote",
    "trade_count",
    "vwap",
    "is_high_volatility",
    "is_high_volume",
}
COMMON_COLUMNS = {"id", "entity_id", "entity_type", "exchange", "code", "name", "list_date", "end_date", "timestamp"}
ENTITY_COLUMNS = {
    "crypto_asset": "symbol full_name description max_supply circulating_supply total_supply market_cap is_stablecoin"
    " consensus_mechanism blockchain contract_address data_quality_score last_validation_timestamp",
    "crypto_pair": "base_symbol quote_symbol base_asset_id quote_asset_id price_step qty_step min_notional"
    " max_order_size maker_fee taker_fee is_active margin_enabled",
    "crypto_perp": "underlying_symbol settlement_symbol underlying_asset_id settlement_asset_id contract_size"
    " price_step qty_step min_notional max_order_size maker_fee taker_fee funding_interval_hours max_leverage"
    " default_leverage position_modes maintenance_margin_rate initial_margin_rate is_active",
}


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return build_definitions(
        Settings(environment="sandbox", start=date(2023, 3, 20), pairs=("BTC/USDT",), perps=("BTC/USDT:USDT",))
    )


@pytest.fixture(scope="module")
def repository(definitions):
    return definitions.get_repository_def()


@pytest.fixture(scope="module")
def graph(repository):
    return repository.asset_graph


def node(graph, name):
    return graph.get(dg.AssetKey(name))


def job_nodes(repository, name):
    return {each.name for each in repository.get_job(name).nodes}


def test_assets_are_the_tables_and_the_schemas(graph):
    groups: dict[str, set[str]] = {}
    for key in graph.get_all_asset_keys():
        groups.setdefault(node(graph, key.path[-1]).group_name, set()).add(key.to_user_string())
    assert groups == {
        "schema": set(SCHEMAS),
        "entities": set(ENTITIES),
        "kdata": set(CANDLES),
        "quality": {REPORT},
        "operations": {METRICS},
    }


def test_every_asset_says_what_it_is_whose_and_of_what_kind(graph):
    for name in [*SCHEMAS, *ENTITIES, *CANDLES, METRICS, REPORT]:
        asset = node(graph, name)
        assert len(asset.description) > 20, name
        assert asset.owners == ["team:market-data"], name
        assert asset.kinds, name
        assert asset.code_version, name


def test_every_table_shows_all_promised_columns_with_their_meaning(graph):
    promised = dict.fromkeys(CANDLES, CANDLE_COLUMNS)
    promised |= {table: COMMON_COLUMNS | set(own.split()) for table, own in ENTITY_COLUMNS.items()}
    for table, columns in promised.items():
        metadata = node(graph, table).metadata
        shown = metadata["dagster/column_schema"].columns
        assert columns <= {column.name for column in shown}, table
        assert all(column.description for column in shown), table
        assert metadata["dagster/table_name"] == TABLES[table].fullname


def test_lineage_says_what_derived_columns_are_made_of(graph):
    lineage = node(graph, "cryptopair_1m_kdata").metadata["dagster/column_lineage"].deps_by_column
    assert {source.column_name for source in lineage["vwap"]} == {"volume_quote", "volume"}
    assert {"turnover", "volume_base", "change_pct", "is_high_volume"} <= set(lineage)


def test_candles_depend_on_their_schema_and_their_symbols(graph):
    parents = {table: {key.to_user_string() for key in node(graph, table).parent_keys} for table in CANDLES}
    assert parents["cryptopair_1d_kdata"] == {"crypto_kdata_schema", "crypto_pair"}
    assert parents["cryptoperp_1m_kdata"] == {"crypto_kdata_schema", "crypto_perp"}
    assert {key.to_user_string() for key in node(graph, "crypto_pair").parent_keys} >= {"crypto_asset"}


def test_candle_tables_have_a_freshness_policy_and_one_run_per_range(graph):
    for table in CANDLES:
        asset = node(graph, table)
        assert asset.freshness_policy is not None
        assert asset.backfill_policy == dg.BackfillPolicy.single_run()
        assert asset.pools == {"binance"}


def test_partitions_are_days_or_months_and_begin_with_the_one_that_holds_the_start(graph):
    now = datetime(2023, 5, 2, 0, 0, 30, tzinfo=UTC)
    for table in CANDLES:
        partitions = node(graph, table).partitions_def
        keys = partitions.get_partition_keys(current_time=now)
        assert keys[0] == ("2023-03-20" if table in DAILY else "2023-03-01")
        # The running day or month included.
        assert keys[-1] == ("2023-05-02" if table in DAILY else "2023-05-01")
        assert len(keys) == (44 if table in DAILY else 3)
        assert partitions.timezone == "UTC"


def test_checks_are_named_alike_on_every_table_and_those_of_data_block(graph):
    names: dict[str, set[str]] = {}
    for key in graph.asset_check_keys:
        names.setdefault(key.asset_key.to_user_string(), set()).add(key.name)
        assert graph.get(key).blocking == (key.name not in ("healthy", "plausible"))
        assert graph.get(key).description
    candle_checks = set(KDATA_CHECKS)
    hourly = {table: {*KDATA_CHECKS, *HOURLY_CHECKS} for table in ("cryptopair_1h_kdata", "cryptoperp_1h_kdata")}
    assert {"no_duplicates", "no_null_ohlc", "valid_ohlc", "no_gaps", "on_grid", "known_entities"} <= candle_checks
    assert names == dict.fromkeys(CANDLES, candle_checks) | hourly | {
        "crypto_asset": {"unique_ids", "no_null_ids"},
        "crypto_pair": {"unique_ids", "no_null_ids", "references_resolve"},
        "crypto_perp": {"unique_ids", "no_null_ids", "references_resolve"},
        METRICS: {"healthy"},
    }


def test_jobs_select_what_their_names_say(repository):
    assert {
        "bootstrap",
        "refresh_kdata",
        "integrity",
        "maintenance",
        "refresh_archive_files",
        "backfill_daily_kdata",
        "backfill_monthly_kdata",
    } <= {job.name for job in repository.get_all_jobs()}
    assert {name for name in job_nodes(repository, "bootstrap") if not name.endswith("_checks")} == {
        *SCHEMAS,
        *ENTITIES,
    }
    assert job_nodes(repository, "integrity") == {
        f"{METRICS}_healthy",
        *(f"{table}_checks" for table in [*ENTITIES, *CANDLES]),
    }
    assert job_nodes(repository, "maintenance") == {METRICS, f"{METRICS}_healthy"}
    assert job_nodes(repository, "backfill_daily_kdata") == DAILY
    assert job_nodes(repository, "backfill_monthly_kdata") == set(CANDLES) - DAILY
    assert job_nodes(repository, "refresh_kdata") == {
        f"refresh_{table}" for table in [*CANDLES, "crypto_pair", "crypto_perp"]
    }


def test_backfills_run_no_checks_and_integrity_nothing_else(repository):
    for name in ("backfill_daily_kdata", "backfill_monthly_kdata"):
        assert repository.get_job(name).asset_layer.asset_graph.asset_check_keys == set()
    integrity = repository.get_job("integrity").asset_layer
    assert integrity.selected_asset_keys == set()
    assert len(integrity.asset_graph.asset_check_keys) == 8 * len(CANDLES) + 2 + 8 + 1


def test_every_job_runs_its_steps_in_one_process(repository):
    for name in ("bootstrap", "refresh_kdata", "integrity", "backfill_daily_kdata", "backfill_monthly_kdata"):
        assert repository.get_job(name).executor_def is dg.in_process_executor


def test_integrity_runs_every_six_hours_by_default(repository):
    schedule = repository.get_schedule_def("integrity_schedule")
    assert schedule.cron_schedule == "0 */6 * * *"
    assert schedule.execution_timezone == "UTC"
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    assert schedule.job_name == "integrity"


def test_archive_files_are_compared_every_day_by_default(repository):
    schedule = repository.get_schedule_def("archive_schedule")
    assert schedule.cron_schedule == "30 7 * * *"
    assert schedule.execution_timezone == "UTC"
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    assert schedule.job_name == "refresh_archive_files"


def test_only_the_live_market_has_an_archive_unless_one_is_named():
    def host(**settings) -> str | None:
        with build_definitions(Settings(**settings)).resources["archive"].open() as archive:
            return archive and archive.url

    assert host(environment="live") == "https://data.binance.vision"
    assert host(environment="live", archive_url="none") is None
    assert host(environment="testnet") is host(environment="demo") is host(environment="sandbox") is None
    assert host(environment="sandbox", archive_url="http://127.0.0.1:9") == "http://127.0.0.1:9"


def test_overrides_replace_the_resources_by_name():
    class Marked(dg.ConfigurableResource):
        mark: str

    definitions = build_definitions(Settings(environment="sandbox"), exchange=Marked(mark="mine"))
    assert definitions.resources["exchange"].mark == "mine"
    assert definitions.resources["database"].environment == "sandbox"


def test_without_symbols_the_same_assets_load(graph):
    empty = build_definitions(Settings(environment="sandbox", pairs=(), perps=()))
    assert empty.get_repository_def().asset_graph.get_all_asset_keys() == graph.get_all_asset_keys()


def test_the_domain_names_the_same_tables():
    assert list(KDATA_TABLES) == CANDLES


def test_workspace_and_pyproject_give_the_location_the_same_name():
    workspace = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    names = {each["python_module"]["location_name"] for each in workspace}
    modules = {each["python_module"]["module_name"] for each in workspace}
    assert (
        names
        == {project["dagster"]["code_location_name"]}
        == {project["dg"]["project"]["code_location_name"]}
        == {"crypto_assets"}
    )
    assert modules == {project["dagster"]["module_name"]} == {"crypto_assets.definitions"}


def test_dagster_itself_finds_the_definitions_valid(tmp_path):
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("CRYPTO_ASSETS_", "DAGSTER_"))
    }
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-m", "crypto_assets.definitions"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "BetaWarning" not in done.stderr


def test_the_exchange_spends_from_the_budget_that_the_settings_name(tmp_path):
    state = tmp_path / "state"
    with RunningSandbox(GeneratedDataset(), spot_budget=100, futures_budget=None) as sandbox:
        made = Settings(environment="sandbox", spot_url=sandbox.url, state_directory=state, weight_reserve=0.25)
        exchange = build_definitions(made).resources["exchange"]
        assert exchange.weight_reserve == 0.25
        with exchange.open() as opened:
            opened.server_time(MarketType.SPOT)
    assert (state / FILE_NAME).exists()


def test_with_a_server_the_exchange_spends_from_the_databases_budget_too(database_url, engine, tmp_path):
    with RunningSandbox(GeneratedDataset(), spot_budget=100, futures_budget=None) as sandbox:
        made = Settings(
            environment="sandbox",
            database=database_url,
            spot_url=sandbox.url,
            state_directory=tmp_path / "state",
            outgoing_address="office",
        )
        with build_definitions(made).resources["exchange"].open() as opened:
            opened.server_time(MarketType.SPOT)
    database = open_database(database_url, "sandbox")
    with database.connect("crypto_weight_ledger") as connection:
        hosts = connection.scalars(select(TABLES["crypto_weight_ledger"].c.host)).all()
    database.dispose()
    host = sandbox.url.removeprefix("http://")
    assert hosts == ([] if engine == "sqlite" else [f"1 spot {host} from office"])
    assert (tmp_path / "state" / FILE_NAME).exists()


def test_the_password_of_a_database_is_in_nothing_that_dagster_shows_or_stores():
    url = "postgresql+psycopg://me:hunter2@db/market"
    definitions = build_definitions(Settings(environment="sandbox", database=url))
    resources = [definitions.resources[name] for name in ("database", "exchange")]
    shown = dg.serialize_value(RepositorySnap.from_def(definitions.get_repository_def()))
    assert "me:***@db/market" in shown
    assert "hunter2" not in f"{shown} {resources}"
    assert whole_url(resources[0].url) == whole_url(resources[1].shared_database) == url
