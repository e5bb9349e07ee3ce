"""`crypto-assets backfill`: the jobs `backfill_*_kdata` run here, with the plan before and bars meanwhile.

Nothing is collected in a way of its own: history, metadata and partitions show in the UI as those of any run. Called by
the command.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click
import dagster as dg
from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from crypto_assets.cli.misuse import Misuse
from crypto_assets.cli.plan import our_time, planned, print_json, print_plan
from crypto_assets.cli.runs import failures, project_instance, run_job, telling
from crypto_assets.cli.selection import Selection, choose
from crypto_assets.collect.progress import Progress, Tell, now_and_then
from crypto_assets.definitions import build_definitions
from crypto_assets.domain.durations import counted
from crypto_assets.domain.intervals import PartitionScheme
from crypto_assets.domain.series import CandleTable
from crypto_assets.orchestration.jobs.assets import backfills
from crypto_assets.settings import Settings

_INTERRUPTED = 130
_FIGURES = (
    *("rows_received", "rows_inserted", "rows_changed", "rows_rejected", "rows_missing", "source_candles"),
    *("requests", "seconds"),
)


def run_backfill(settings: Settings, *, only_missing: bool, as_json: bool, yes: bool, **options: str | None) -> int:
    """Collects what the options select, and prints what came of it. The exit code: 0, 1 if anything failed, or 130."""
    clock = our_time()
    selection = choose(settings, clock, **options)  # type: ignore[arg-type] # click has seen to what is required
    document = planned(settings, selection, clock, only_missing=only_missing)
    if not as_json:
        print_plan(document)
    if document["total"]["rows"] and not yes:
        _ask(document["total"]["rows"])
    try:
        with project_instance() as instance, _shown(document) as shown:
            definitions = build_definitions(settings, progress=telling([shown]))
            results = [
                run_job(
                    definitions,
                    instance,
                    backfills[scheme].name,
                    {table.name: _config(selection, table, only_missing=only_missing) for table in tables},
                    selection.partitions(scheme),
                    raise_on_error=False,
                )
                for scheme in PartitionScheme
                if (tables := [each for each in selection.tables if each.partition_scheme is scheme])
            ]
    except KeyboardInterrupt:
        click.echo("Error: stopped; what came is stored, and the same command goes on from there.", err=True)
        return _INTERRUPTED
    failed = [sentence for result in results for sentence in failures(result)]
    outcome = {table: figures for result in results for table, figures in _figures(result).items()}
    if as_json:
        print_json({"plan": document, "outcome": outcome, "failed": failed})
    else:
        for table, figures in outcome.items():
            for line in _came(table, figures):
                click.echo(line)
    for sentence in failed:
        click.echo(f"Error: {sentence}", err=True)
    return 1 if failed else 0


def _came(table: str, figures: dict[str, Any]) -> Iterator[str]:
    """What came of a table, and what did not, with where to look."""
    yield (
        f"{table}: {figures['rows_received']:,} candles came, {figures['rows_inserted']:,} new,"
        f" {figures['rows_changed']:,} changed, in {figures['requests']:,} requests and {figures['seconds']:,.1f} s"
    )
    if refused := figures["rows_rejected"]:
        yield (
            f"{table}: {refused:,} of them were refused, each with its reasons in the log:"
            f" crypto-assets query crypto_data_quality_log --order desc --limit {refused}"
        )
    if missing := figures["rows_missing"]:
        yield (
            f"{table}: {counted(missing, 'candle')} of the range {'is' if missing == 1 else 'are'} missing,"
            " and asked for again while the daemon runs: crypto-assets gaps --open"
        )
    if absent := figures["source_candles"]:
        yield f"{table}: of {counted(absent, 'candle')} the exchange is known to have none: crypto-assets gaps --source"
    if left := figures["not_collected"]:
        yield (
            f"{table}: {counted(left, 'candle')} between this range and what was collected before were not asked for,"
            " and wait for a decision: crypto-assets gaps --uncollected"
        )


def _ask(rows: int) -> None:
    """Raises ClickException unless a person agrees."""
    if not sys.stdin.isatty():
        raise Misuse("There is no terminal to ask at; say --yes to begin without being asked.")
    if not click.confirm(f"Ask the exchange for {rows:,} candles?", default=True, err=True):
        raise click.ClickException("Nothing was asked for.")


def _config(selection: Selection, candle_table: CandleTable, *, only_missing: bool) -> dict[str, Any]:
    symbols = {} if selection.symbols is None else {"symbols": list(selection.symbols[candle_table.market_type])}
    return {"only_missing": only_missing, **symbols}


def _figures(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    """What the runs over the tables did, from the metadata they end with, those that failed in part included."""
    found: dict[str, dict[str, Any]] = {}
    for event in result.all_events:
        if event.is_step_materialization and event.asset_key is not None:
            metadata = event.step_materialization_data.materialization.metadata
            found.setdefault(event.asset_key.path[-1], _figures_of(metadata))
        elif event.is_step_failure and event.step_failure_data.user_failure_data and event.step_key:
            metadata = event.step_failure_data.user_failure_data.metadata
            if metadata:
                found[event.step_key] = _figures_of(metadata)
    return found


def _figures_of(metadata: Mapping[str, dg.MetadataValue[Any]]) -> dict[str, Any]:
    """The figures of a run over one table; without a long hole beside its range it has none of what waits there."""
    holes = metadata.get("run_not_collected")
    figures = {name: metadata[f"run_{name}"].value for name in _FIGURES}
    return figures | {"not_collected": 0 if holes is None else holes.value}


class _Rate(ProgressColumn):
    """Candles a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:,.0f} rows/s", style="progress.data.speed")


@contextmanager
def _shown(plan: dict[str, Any]) -> Iterator[Tell]:
    """What shows progress on stderr: a bar a table in a terminal, else a line now and then."""
    # Dagster keeps what a step writes to stderr in the run's log, and shows it when the step has ended.
    with os.fdopen(os.dup(2), "w") as stderr:
        console = Console(file=stderr)
        if not console.is_terminal:
            yield now_and_then(lambda line: print(line, file=stderr, flush=True))
            return
        columns = (
            TextColumn("{task.description:<22}"),
            BarColumn(),
            TaskProgressColumn(),
            _Rate(),
            TimeRemainingColumn(),
        )
        with Bars(*columns, console=console) as bars:
            tasks = {table["table"]: bars.add_task(table["table"], total=table["rows"]) for table in plan["tables"]}

            def show(progress: Progress) -> None:
                bars.update(tasks[progress.candle_table.name], completed=progress.all_done, total=progress.all_planned)

            yield show
