"""`crypto-assets demo`: the main job against an exchange on this machine, through the project's own definitions.

Here belong the choice of what to collect and the progress bars; the summary belongs to `summary`, asking again about
gaps to `confirmation`. Nothing is collected or checked in a way of its own: it runs the jobs `bootstrap`,
`backfill_*_kdata` and `integrity` in this process. Called by the command.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import dagster as dg
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from crypto_assets.cli.confirmation import confirm_gaps
from crypto_assets.cli.history_home import prepare_home
from crypto_assets.cli.runs import project_instance, run_job, telling
from crypto_assets.cli.summary import print_summary, summarise
from crypto_assets.collect.progress import Tell, now_and_then
from crypto_assets.composition import database_of, resources_of
from crypto_assets.database.engines import Database
from crypto_assets.database.entity_names import entities_called
from crypto_assets.database.tables import TABLES
from crypto_assets.definitions import build_definitions
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.environments import Environment
from crypto_assets.domain.intervals import (
    PartitionScheme,
    partition_key,
    partition_span,
    to_datetime,
    to_milliseconds,
    whole_partitions,
)
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets.domain.spans import Span, merge
from crypto_assets.exchange.client import Exchange
from crypto_assets.exchange.venues import venue_of
from crypto_assets.orchestration.jobs.assets import backfills
from crypto_assets.orchestration.resources import ExchangeResource
from crypto_assets.sandbox.process import SandboxProcess
from crypto_assets.settings import Settings

_GAP_SPACING = timedelta(seconds=1)
"""Between two answers of the demo's own exchange that count: it never has an outage."""


def run_demo(given: Settings, data: Path | None, days: int, *, as_json: bool) -> int:
    """Runs the demo and prints its summary. The exit code: 0, or 1 if a check is red.

    `given` decides the symbols and, where they are set, the database and the first day; the environment is always the
    sandbox. Raises the errors of the runs.
    """
    console = Console(stderr=as_json)
    prepare_home()
    arguments = [] if data is None else ["--data", str(data)]
    with _sandbox(arguments) as url, project_instance() as instance, progress_bars(console) as progress:
        with closing(venue_of(given.provider).connect(Environment.SANDBOX, spot_url=url, futures_url=url)) as exchange:
            clock = exchange.server_time(MarketType.SPOT)
            settings = _demo_settings(given, url, data, days, exchange)
        bars: dict[str, Any] = {}
        definitions = build_definitions(
            settings,
            exchange=ExchangeResource(environment="sandbox", spot_url=url, futures_url=url),
            progress=telling([_shown(console, progress, bars)]),
        )
        run_job(definitions, instance, "bootstrap")
        database = database_of(settings)
        listed = _listed_spans(database, settings, clock)
        figures: dict[str, list[dict[str, Any]]] = {}
        for table, candle_table in KDATA_TABLES.items():
            total = sum(candle_table.interval.count(*span) for span in listed[candle_table.market_type])
            bars[table] = progress.add_task(table, total=total)
        for scheme in PartitionScheme:
            for market_type in MarketType:
                tables = [
                    table
                    for table, candle_table in KDATA_TABLES.items()
                    if candle_table.market_type is market_type and candle_table.partition_scheme is scheme
                ]
                for first, last in _partition_ranges(scheme, listed[market_type]):
                    missing = {table: {"only_missing": True} for table in tables}
                    result = run_job(definitions, instance, backfills[scheme].name, missing, (first, last))
                    for table in tables:
                        event = result.asset_materializations_for_node(table)[0]
                        figures.setdefault(table, []).append(
                            {name.removeprefix("run_"): each.value for name, each in event.metadata.items()}
                        )
                for table in tables:
                    progress.update(bars[table], completed=progress.tasks[bars[table]].total)
        _confirm_gaps(settings, database, instance)
        checked = run_job(definitions, instance, "integrity", raise_on_error=False)
        run_job(definitions, instance, "quality_report")
    summary = summarise(database, figures, checked.get_asset_check_evaluations())
    database.dispose()
    print_summary(summary, settings, data, as_json=as_json)
    return 1 if summary.red else 0


@contextmanager
def _sandbox(arguments: list[str]) -> Iterator[str]:
    """The URL of a sandbox in a process of its own; what keeps it from starting becomes one sentence."""
    with ExitStack() as stack:
        try:
            sandbox = stack.enter_context(SandboxProcess(arguments))
        except RuntimeError as error:
            raise click.ClickException(str(error)) from error
        yield sandbox.url


def _demo_settings(given: Settings, url: str, data: Path | None, days: int, exchange: Exchange) -> Settings:
    """The settings of the demo's definitions; recorded data decides symbols and first day by what it holds."""
    chosen: dict[str, Any] = {
        "environment": Environment.SANDBOX,
        "database": given.database or f"sqlite:///data/{_dataset_name(data)}",
        "spot_url": url,
        "futures_url": url,
        "gap_spacing": _GAP_SPACING,
        "start": to_datetime(exchange.server_time(MarketType.SPOT)).date() - timedelta(days=days),
    }
    if data is not None:
        markets = {market_type: exchange.markets(market_type) for market_type in MarketType}
        firsts = [
            exchange.first_candle_time(market_type, market.exchange_id)
            for market_type, listed in markets.items()
            for market in listed
        ]
        chosen["pairs"] = tuple(market.symbol for market in markets[MarketType.SPOT])
        chosen["perps"] = tuple(market.symbol for market in markets[MarketType.SWAP])
        chosen["start"] = to_datetime(min(first for first in firsts if first is not None)).date()
    if "start" in given.model_fields_set:
        chosen["start"] = given.start
    return given.model_copy(update=chosen)


def _dataset_name(data: Path | None) -> str:
    """The directory below data/ for generated candles, or one of its own for each set of recordings."""
    if data is None:
        return Environment.SANDBOX.value
    files = sorted((str(file.relative_to(data)), file.stat().st_size) for file in data.glob("*/klines/*-1m.parquet"))
    return f"{Environment.SANDBOX.value}-{hashlib.blake2b(repr(files).encode(), digest_size=4).hexdigest()}"


def _confirm_gaps(settings: Settings, database: Database, instance: dg.DagsterInstance) -> None:
    """Asks the exchange about what is missing until it is known to have none."""
    definitions = build_definitions(settings)
    ledger = resources_of(settings)["ledger"]

    def carry_out(request: dg.RunRequest) -> None:
        assets = {table: step["config"] for table, step in request.run_config["ops"].items()}
        first, last = (request.tags[f"dagster/asset_partition_range_{end}"] for end in ("start", "end"))
        run_job(definitions, instance, str(request.job_name), assets, (first, last))

    confirm_gaps(database, ledger, instance, settings.start, carry_out)


def _listed_spans(database: Database, settings: Settings, clock: int) -> dict[MarketType, list[Span]]:
    """For every market, the span of each collected symbol between the first day asked for and the exchange's clock."""
    asked = Span(partition_span(PartitionScheme.DAILY, settings.start.isoformat()).start, clock)
    spans: dict[MarketType, list[Span]] = {}
    for market_type, symbols in ((MarketType.SPOT, settings.pairs), (MarketType.SWAP, settings.perps)):
        table = TABLES[market_type.entity_table]
        with database.connect(table.name) as connection:
            called = entities_called(connection, table, symbols).values()
        spans[market_type] = [
            Span(to_milliseconds(row.list_date), to_milliseconds(row.end_date) if row.end_date else clock).intersect(
                asked
            )
            for row in called
            if row.list_date is not None
        ]
    return spans


def _partition_ranges(scheme: PartitionScheme, spans: list[Span]) -> list[tuple[str, str]]:
    """The first and last key of every run of adjacent partitions in which something was listed."""
    whole = merge(whole_partitions(scheme, span) for span in spans if span.start < span.end)
    return [(partition_key(scheme, span.start), partition_key(scheme, span.end - 1)) for span in whole]


def _shown(console: Console, progress: Progress, bars: dict[str, TaskID]) -> Tell:
    """What shows a step: the table's bar in a terminal, else a line on stderr now and then."""
    if console.is_terminal:
        return lambda step: progress.advance(bars[step.candle_table.name], step.came)
    return now_and_then(lambda line: click.echo(line, err=True))


def progress_bars(console: Console) -> Progress:
    """A bar a table, with candles, time passed and time left; nothing where there is no terminal."""
    return Progress(
        TextColumn("{task.description:<22}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
