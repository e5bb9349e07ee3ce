"""The demo's last page: what is stored, what every check says, and where to go from there. Called by `demo`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import dagster as dg
import orjson
from rich.console import Console
from rich.table import Table
from sqlalchemy import func, select

from crypto_assets.cli.dev import dev_command
from crypto_assets.database.engines import Database
from crypto_assets.database.engines.sqlite import SqliteDatabase
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets.orchestration.checks.definitions import entity_tables
from crypto_assets.settings import Settings


@dataclass(frozen=True)
class AssetSummary:
    """One asset after the demo: its rows, what this run fetched, and its checks' verdicts by name.

    `gaps` are those that may still be filled, `source_gaps` those of which the exchange has no candles.
    """

    asset: str
    rows: int
    first: datetime | None
    last: datetime | None
    gaps: int | None
    missing: int | None
    gap_spans: list[dict[str, Any]]
    source_gaps: int | None
    source_candles: int | None
    source_spans: list[dict[str, Any]]
    checks: dict[str, bool]
    fetched: int
    seconds: float
    rows_per_second: int


@dataclass(frozen=True)
class Summary:
    """All assets, and where they are stored."""

    location: str
    example: str
    assets: list[AssetSummary]

    @property
    def red(self) -> list[str]:
        """The checks that did not pass, as `asset: check`."""
        return [
            f"{asset.asset}: {check}" for asset in self.assets for check, passed in asset.checks.items() if not passed
        ]


def summarise(
    database: Database, figures: Mapping[str, list[dict[str, Any]]], evaluations: Sequence[dg.AssetCheckEvaluation]
) -> Summary:
    """The summary of the stored tables, the runs' metadata by table and the checks' evaluations.

    Raises ClickException if an asset was not checked at all: a check that did not run is not green.
    """
    verdicts: dict[str, dict[str, dg.AssetCheckEvaluation]] = {}
    for evaluation in evaluations:
        verdicts.setdefault(evaluation.asset_key.to_user_string(), {})[evaluation.check_name] = evaluation
    assets = []
    for table in [*entity_tables(), *KDATA_TABLES]:
        if table not in verdicts:
            raise click.ClickException(
                f"the checks of {table} did not run; see the run of job integrity in `crypto-assets dev`"
            )
        assets.append(_summarise_asset(database, table, figures.get(table, []), verdicts[table]))
    return Summary(database.location, _example(database), assets)


def _summarise_asset(
    database: Database,
    name: str,
    runs: list[dict[str, Any]],
    verdicts: Mapping[str, dg.AssetCheckEvaluation],
) -> AssetSummary:
    table = TABLES[name]
    with database.connect(name) as connection:
        if name in KDATA_TABLES:
            times = [func.min(table.c.timestamp), func.max(table.c.timestamp)]
            rows, first, last = connection.execute(select(func.count(), *times).select_from(table)).one()
        else:
            rows, first, last = connection.scalar(select(func.count()).select_from(table)) or 0, None, None
    no_gaps = verdicts["no_gaps"].metadata if "no_gaps" in verdicts else None
    fetched, seconds = sum(run["rows_received"] for run in runs), sum(run["seconds"] for run in runs)
    return AssetSummary(
        asset=name,
        rows=rows,
        first=first,
        last=last,
        gaps=_figure(no_gaps, "gaps"),
        missing=_figure(no_gaps, "count"),
        gap_spans=_records(no_gaps, "sample"),
        source_gaps=_figure(no_gaps, "source_gaps"),
        source_candles=_figure(no_gaps, "source_candles"),
        source_spans=_records(no_gaps, "source"),
        checks={check: evaluation.passed for check, evaluation in verdicts.items()},
        fetched=fetched,
        seconds=round(seconds, 2),
        rows_per_second=round(fetched / seconds) if seconds else 0,
    )


def _figure(metadata: Mapping[str, dg.MetadataValue] | None, name: str) -> int | None:
    return None if metadata is None else int(str(metadata[name].value))


def _records(metadata: Mapping[str, dg.MetadataValue] | None, name: str) -> list[dict[str, Any]]:
    value = (metadata or {}).get(name)
    return [dict(record.data) for record in value.records] if isinstance(value, dg.TableMetadataValue) else []


def _example(database: Database) -> str:
    """A command that shows the newest candles."""
    if isinstance(database, SqliteDatabase):
        return (
            f'sqlite3 {database.path("cryptopair_1m_kdata")} "SELECT code, timestamp, close, volume, change_pct FROM '
            'cryptopair_1m_kdata ORDER BY timestamp DESC LIMIT 5"'
        )
    return "crypto-assets query cryptopair_1m_kdata --order desc --limit 5"


def print_summary(summary: Summary, settings: Settings, data: Path | None, *, as_json: bool) -> None:
    """Prints the summary as a table with its next steps, or as JSON. `data` is where recordings were served from."""
    if as_json:
        document = {
            "location": summary.location,
            "assets": [asdict(asset) for asset in summary.assets],
            "red": summary.red,
        }
        click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
        return
    # A pipe has no width of its own; rich would take 80 and cut the figures off.
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(_table(summary.assets))
    total, seconds = sum(asset.rows for asset in summary.assets), sum(asset.seconds for asset in summary.assets)
    console.print(f"{total:,} rows stored; collecting took {seconds:.1f} s.", highlight=False)
    for red in summary.red:
        console.print(f"[red]red[/red] {red}", highlight=False)
    for asset in summary.assets:
        for gaps, whose in ((asset.gap_spans, ""), (asset.source_spans, "; the exchange has none either")):
            for gap in gaps:
                console.print(
                    f"{asset.asset}: {gap['entity_id']} lacks {gap['missing']} candles, {gap['first_missing']} to "
                    f"{gap['last_missing']} UTC{whose}",
                    highlight=False,
                )
    click.echo(f"\nThe database: {summary.location}")
    click.echo(f"Try: {summary.example}")
    click.echo(f"What is complete, missing and late, as a page: {settings.report_file.absolute()}")
    click.echo(f"See it: {_dev_command(settings, data)}")


def _table(assets: list[AssetSummary]) -> Table:
    table = Table(title="What is stored, and what the checks say")
    for column in (
        "asset",
        "rows",
        "first candle",
        "last candle",
        "gaps",
        "source gaps",
        "checks",
        "seconds",
        "rows/s",
    ):
        table.add_column(
            column, justify="left" if column in ("asset", "checks") else "right", no_wrap=column != "checks"
        )
    for asset in assets:
        table.add_row(
            asset.asset,
            f"{asset.rows:,}",
            f"{asset.first:%Y-%m-%d %H:%M}" if asset.first else "",
            f"{asset.last:%Y-%m-%d %H:%M}" if asset.last else "",
            "" if asset.gaps is None else str(asset.gaps),
            "" if asset.source_gaps is None else str(asset.source_gaps),
            " ".join(_verdict(check, passed=passed) for check, passed in asset.checks.items()),
            f"{asset.seconds:.1f}" if asset.asset in KDATA_TABLES else "",
            f"{asset.rows_per_second:,}" if asset.asset in KDATA_TABLES else "",
        )
    return table


def _verdict(check: str, *, passed: bool) -> str:
    """`✓gaps`, or `✗gaps` in red: the check's name without the words all of them share."""
    word = check.removeprefix("no_").removeprefix("valid_").removesuffix("_ohlc")
    return f"[green]✓{word}[/green]" if passed else f"[red]✗{word}[/red]"


def _dev_command(settings: Settings, data: Path | None) -> str:
    """The command that opens the UI on the demo's database; no partition is offered before its first candle."""
    variables = {
        "CRYPTO_ASSETS_ENVIRONMENT": settings.environment.value,
        "CRYPTO_ASSETS_START": settings.start.isoformat(),
    }
    if data is not None:
        variables |= {
            "CRYPTO_ASSETS_DATABASE": settings.database_url,
            "CRYPTO_ASSETS_PAIRS": ",".join(settings.pairs),
            "CRYPTO_ASSETS_PERPS": ",".join(settings.perps),
        }
    return dev_command(variables, data)
