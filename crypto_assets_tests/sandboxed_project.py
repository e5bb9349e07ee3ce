"""The whole project against a sandbox over real HTTP: definitions, database and exchange of one test.

Nothing here replaces code of ours: the sandbox is chosen by the settings, the clock and the retry policy by
constructors. For tests of what runs of jobs do; what candles become is tested on paper (`paper_exchange`).
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg

from crypto_assets.database.engines import open_database
from crypto_assets.definitions import build_definitions
from crypto_assets.domain.environments import Environment
from crypto_assets.domain.intervals import Interval, parse_time
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets.exchange.binance.archive import BinanceArchive
from crypto_assets.exchange.binance.client import BinanceExchange
from crypto_assets.exchange.client import Exchange
from crypto_assets.exchange.retrying import RetryPolicy
from crypto_assets.orchestration.checks.definitions import HOURLY_CHECKS, KDATA_CHECKS
from crypto_assets.orchestration.jobs.assets import backfills
from crypto_assets.orchestration.resources import ArchiveResource, DatabaseResource, ExchangeResource, LedgerResource
from crypto_assets.quality.gaps.ledger import our_clock
from crypto_assets.sandbox.generated import GeneratedDataset
from crypto_assets.sandbox.server import RunningSandbox
from crypto_assets.settings import Settings

GENESIS = parse_time("2023-03-17")
CLOCK = parse_time("2023-03-22T12:00") + 30_000
START = date(2023, 3, 20)
BTC, ETH = "cryptopair_binance_btcusdt", "cryptopair_binance_ethusdt"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass
class Clock:
    """The exchange's clock, moved by the test alone."""

    now: int = CLOCK

    def __call__(self) -> int:
        return self.now


@dataclass
class OurClock:
    """Our own clock, ahead of the machine's by what the test says: Dagster's history goes by the machine's."""

    ahead: timedelta = timedelta(0)

    def now(self) -> datetime:
        """Naive UTC."""
        return our_clock() + self.ahead


def ledger_at(clock: OurClock) -> LedgerResource:
    """The project's ledger rules by a clock that the test moves."""

    class MovedLedger(LedgerResource):
        def now(self) -> datetime:
            return clock.now()

    return MovedLedger()


@dataclass
class HastyTime:
    """The machine's clock, and sleeps that take no time but count on it."""

    slept: float = 0.0

    def sleep(self, seconds: float) -> None:
        self.slept += seconds

    def clock(self) -> float:
        return time.time() + self.slept


class ImpatientExchange(ExchangeResource):
    """The project's exchange with few attempts and no waiting between them."""

    attempts: int = 2
    pages_in_flight: int = 1

    @contextmanager
    def open(self) -> Iterator[Exchange]:
        hasty = HastyTime()
        made = BinanceExchange(
            "sandbox",
            spot_url=self.spot_url,
            futures_url=self.futures_url,
            in_flight=self.pages_in_flight,
            close_margin_s=self.close_margin_seconds,
            retry=RetryPolicy(attempts=self.attempts),
            sleep=hasty.sleep,
            clock=hasty.clock,
        )
        with closing(made) as exchange:
            yield exchange


class ImpatientArchive(ArchiveResource):
    """The project's archive with two attempts and no waiting between them."""

    def _at(self, host: str) -> BinanceArchive:
        return impatient_archive(host)


def impatient_archive(host: str, **options: Any) -> BinanceArchive:
    """An archive that is asked twice, without waiting in between."""
    return BinanceArchive(host, retry=RetryPolicy(attempts=2), sleep=HastyTime().sleep, **options)


@contextmanager
def running_sandbox(clock: Clock, genesis: int = GENESIS, **options: Any) -> Iterator[RunningSandbox]:
    """A sandbox with a few days of generated history, without weight limits."""
    dataset = GeneratedDataset(genesis_ms=genesis, clock=clock, **options)
    with RunningSandbox(dataset, spot_budget=None, futures_budget=None) as sandbox:
        yield sandbox


@dataclass
class Project:
    """A project whose runs happen in this process, with a Dagster history in memory."""

    directory: Path
    url: str
    clock: Clock = field(default_factory=Clock)
    our_clock: OurClock = field(default_factory=OurClock)
    pairs: tuple[str, ...] = ("BTC/USDT", "ETH/USDT")
    perps: tuple[str, ...] = ("BTC/USDT:USDT",)
    spot_url: str | None = None
    database: str = ""
    start: date = START
    exchange: ExchangeResource | None = None
    archive_url: str | None = None
    attempts: int = 2
    in_flight: int = 1
    close_margin_seconds: float = 15.0

    @cached_property
    def settings(self) -> Settings:
        """What the environment would say."""
        return Settings(
            environment=Environment.SANDBOX,
            database=self.database or f"sqlite:///{self.directory}",
            pairs=self.pairs,
            perps=self.perps,
            start=self.start,
            spot_url=self.spot_url or self.url,
            futures_url=self.url,
            archive_url=self.archive_url,
            close_margin_seconds=self.close_margin_seconds,
        )

    @cached_property
    def definitions(self) -> dg.Definitions:
        """The project's own definitions, with an exchange that does not wait."""
        exchange = self.exchange or ImpatientExchange(
            environment="sandbox",
            spot_url=self.settings.spot_url,
            futures_url=self.settings.futures_url,
            attempts=self.attempts,
            pages_in_flight=self.in_flight,
            close_margin_seconds=self.close_margin_seconds,
        )
        archive = ImpatientArchive(environment="sandbox", url=self.settings.archive_url)
        ledger = ledger_at(self.our_clock)
        return build_definitions(self.settings, exchange=exchange, archive=archive, ledger=ledger)

    @cached_property
    def instance(self) -> dg.DagsterInstance:
        """A history of its own, in memory."""
        return dg.DagsterInstance.ephemeral()

    def run(self, job: str, **options: Any) -> dg.ExecuteInProcessResult:
        """Runs a job; a failing one is returned, not raised."""
        options = {"run_config": QUIET, "raise_on_error": False, **options}
        return self.definitions.resolve_job_def(job).execute_in_process(instance=self.instance, **options)

    def record(self, request: dg.RunRequest, status: dg.DagsterRunStatus) -> None:
        """A run of a request in the history that never did anything."""
        run = self.instance.create_run_for_job(
            self.definitions.resolve_job_def(request.job_name),
            run_config=request.run_config,
            tags=request.tags,
            status=status,
            asset_selection=frozenset(request.asset_selection) if request.asset_selection else None,
        )
        if status is dg.DagsterRunStatus.FAILURE:
            self.instance.report_run_failed(run)

    def check(self, table: str, *, deep: bool = False) -> dg.ExecuteInProcessResult:
        """Runs the job `integrity` over the checks of one candle table: a tenth of the whole job's time."""
        names = KDATA_CHECKS | (HOURLY_CHECKS if KDATA_TABLES[table].interval is Interval.H1 else {})
        keys = frozenset(dg.AssetCheckKey(dg.AssetKey(table), name) for name in names)
        job = "deep_integrity" if deep else "integrity"
        chosen = self.definitions.resolve_job_def(job).get_subset(asset_check_selection=keys)
        result = chosen.execute_in_process(instance=self.instance, run_config=QUIET, raise_on_error=False)
        assert len(result.get_asset_check_evaluations()) == len(names)
        return result

    def judge(self, *assets: str) -> dg.ExecuteInProcessResult:
        """Runs the job `integrity` over the checks of some assets that are no candle tables."""
        found = self.definitions.resolve_asset_graph().asset_check_keys
        keys = frozenset(key for key in found if key.asset_key.to_user_string() in assets)
        chosen = self.definitions.resolve_job_def("integrity").get_subset(asset_check_selection=keys)
        return chosen.execute_in_process(instance=self.instance, run_config=QUIET, raise_on_error=False)

    def collect(
        self,
        table: str,
        first: str,
        last: str | None = None,
        *,
        symbols: Sequence[str] | None = None,
        only_missing: bool = False,
    ) -> dg.ExecuteInProcessResult:
        """Materializes a range of partitions of one candle table, as a backfill would."""
        scheme = KDATA_TABLES[table].partition_scheme
        job = self.definitions.resolve_job_def(backfills[scheme].name)
        chosen = job.get_subset(asset_selection=frozenset([dg.AssetKey(table)]), asset_check_selection=frozenset())
        config: dict[str, Any] = {"only_missing": only_missing}
        if symbols is not None:
            config["symbols"] = list(symbols)
        return chosen.execute_in_process(
            instance=self.instance,
            run_config=QUIET | {"ops": {table: {"config": config}}},
            tags={"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last or first},
            raise_on_error=False,
        )

    def tick(self, sensor: str = "gap_backfill_sensor") -> list[dg.RunRequest | dg.SkipReason]:
        """What a sensor asks for on its next tick."""
        found = self.definitions.resolve_sensor_def(sensor)
        resources = {"database": self.database_resource, "ledger": ledger_at(self.our_clock)}
        with dg.build_sensor_context(instance=self.instance, resources=resources) as context:
            said = found(context)
        return [said] if isinstance(said, (dg.RunRequest, dg.SkipReason)) else list(said)

    @property
    def database_resource(self) -> DatabaseResource:
        """What sensors and checks open."""
        return DatabaseResource(url=self.settings.database_url, environment="sandbox")

    def carry_out(self, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        """Runs what a sensor asked for, as the daemon would, here and now."""
        chosen = self.definitions.resolve_job_def(request.job_name)
        if request.asset_selection is not None:
            checks = None if request.asset_check_keys is None else frozenset(request.asset_check_keys)
            chosen = chosen.get_subset(asset_selection=frozenset(request.asset_selection), asset_check_selection=checks)
        return chosen.execute_in_process(
            instance=self.instance,
            run_config=QUIET | request.run_config,
            tags={**request.tags, "dagster/run_key": request.run_key},
            raise_on_error=False,
        )

    def path(self, name: str) -> Path:
        """The file of a table or database."""
        return open_database(f"sqlite:///{self.directory}", "sandbox").path(name)

    def sql(self, name: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """What a user's own SQLite client reads or damages in the file that holds `name`."""
        with closing(sqlite3.connect(self.path(name))) as connection, connection:
            return connection.execute(statement, values).fetchall()

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        """Everything in a table, in order of the key."""
        return self.sql(table, f"SELECT * FROM {table} ORDER BY 1, 4")

    def file_bytes(self) -> dict[str, bytes]:
        """Every database file, byte for byte."""
        files = sorted(self.directory.rglob("*.db*"))
        return {str(file.relative_to(self.directory)): file.read_bytes() for file in files}

    def copy(self, directory: Path, **changes: Any) -> Project:
        """A project of its own over a copy of the files, with an empty Dagster history."""
        shutil.copytree(self.directory, directory, dirs_exist_ok=True)
        kept = {"url": self.url, "clock": self.clock, "pairs": self.pairs, "perps": self.perps}
        return Project(directory, **{**kept, **changes})


def figures(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    """The metadata of an asset's (first) materialization in a run; what is the whole run's without its `run_`."""
    for shown in partition_figures(result, asset).values():
        return {name.removeprefix("run_"): value for name, value in shown.items()}
    raise AssertionError(f"{asset} was not materialized in this run")


def partition_figures(result: dg.ExecuteInProcessResult, asset: str) -> dict[str | None, dict[str, Any]]:
    """The metadata of an asset's materializations in a run, by partition."""
    return {
        event.partition: {
            name: value.value for name, value in event.step_materialization_data.materialization.metadata.items()
        }
        for event in result.all_events
        if event.is_step_materialization and event.asset_key == dg.AssetKey(asset)
    }


def red_checks(result: dg.ExecuteInProcessResult) -> set[str]:
    """The checks that did not pass, as `asset: check`."""
    return {
        f"{each.asset_key.to_user_string()}: {each.check_name}"
        for each in result.get_asset_check_evaluations()
        if not each.passed
    }


def evaluation(result: dg.ExecuteInProcessResult, asset: str, check: str) -> dg.AssetCheckEvaluation:
    """One check's verdict in a run."""
    return next(
        each
        for each in result.get_asset_check_evaluations()
        if (each.asset_key, each.check_name) == (dg.AssetKey(asset), check)
    )


def sample(verdict: dg.AssetCheckEvaluation) -> list[dict[str, Any]]:
    """The rows a red check shows."""
    return [dict(record.data) for record in verdict.metadata["sample"].records]


def failure_sentence(result: dg.ExecuteInProcessResult) -> str:
    """What the first failed step of a run says."""
    for event in result.all_events:
        if event.is_step_failure:
            failure = event.step_failure_data
            described = failure.user_failure_data
            return (described.description if described else None) or failure.error.message
    raise AssertionError("no step failed")
