"""`crypto-assets plan`: what a backfill would ask, take and store. Output only.

The arithmetic belongs to `collect.estimate`. Shown by `backfill`, too, before it begins. Called by the
command.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from crypto_assets.cli.misuse import Misuse
from crypto_assets.cli.selection import Selection, choose, selecting
from crypto_assets.composition import database_of, has_bulk_files
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import format_time, to_milliseconds
from crypto_assets.domain.series import CandleTable
from crypto_assets.settings import Settings, load_settings

if TYPE_CHECKING:
    from crypto_assets.collect.estimate import SymbolPlan, TablePlan
    from crypto_assets.database.engines import Database

_WIDTH = 1000
"""As wide as the figures are. A narrower terminal breaks the lines; a figure that is cut would be another figure."""


@click.command()
@selecting
def plan(*, select: str, start: str, end: str | None, symbols: str | None, only_missing: bool, as_json: bool) -> None:
    """Say what a backfill would ask, take and store. Asks nobody."""
    settings, clock = load_settings(), our_time()
    chosen = choose(settings, clock, select=select, start=start, end=end, symbols=symbols)
    document = planned(settings, chosen, clock, only_missing=only_missing)
    if as_json:
        print_json(document)
    else:
        print_plan(document)


def our_time() -> int:
    """This machine's clock in ms UTC: the exchange's is not asked for a plan."""
    return to_milliseconds(datetime.now(UTC))


def planned(settings: Settings, selection: Selection, clock: int, *, only_missing: bool) -> dict[str, Any]:
    """The plan of a selection as a document for JSON. Raises the errors of the database, and UnknownSymbol."""
    from crypto_assets.collect.estimate import plan_table  # noqa: PLC0415 - loads pandas

    database = database_of(settings)
    try:
        plans = [
            plan_table(
                database,
                table,
                _symbols(database, settings, selection, table),
                selection.window(table.partition_scheme),
                clock - round(settings.close_margin_seconds * 1000),
                only_missing=only_missing,
                has_archive=has_bulk_files(settings),
            )
            for table in selection.tables
        ]
    finally:
        database.dispose()
    tables = [_row(each, settings) for each in plans]
    added = ("owed", "stored", "absent", "rows", "requests", "weight", "minutes", "bytes", "archive_rows", "rest_rows")
    return {
        "location": database.location,
        "environment": settings.environment.value,
        "clock": format_time(clock - clock % 60_000),
        "only_missing": only_missing,
        "weight_reserve": settings.weight_reserve,
        "tables": tables,
        "total": {name: sum(table[name] for table in tables) for name in added},
    }


def _symbols(
    database: Database, settings: Settings, selection: Selection, candle_table: CandleTable
) -> tuple[str, ...]:
    from crypto_assets.collect.symbols import tracked_now  # noqa: PLC0415 - loads pandas

    market_type = candle_table.market_type
    if selection.symbols is not None:
        return selection.symbols[market_type]
    configured = settings.pairs if market_type is MarketType.SPOT else settings.perps
    if not configured:
        name = "CRYPTO_ASSETS_PAIRS" if market_type is MarketType.SPOT else "CRYPTO_ASSETS_PERPS"
        raise Misuse(f"{candle_table.name}: no symbol is configured; set {name}, or name some with --symbols.")
    return tracked_now(database, market_type, configured)


def _row(table: TablePlan, settings: Settings) -> dict[str, Any]:
    archived = sum(each.archived_rows for each in table.symbols)
    return {
        "table": table.candle_table.name,
        "partitions": list(table.partitions),
        "owed": sum(each.owed for each in table.symbols),
        "stored": sum(each.stored for each in table.symbols),
        "absent": sum(each.absent for each in table.symbols),
        "rows": table.rows,
        "requests": table.requests,
        "weight": table.weight,
        "minutes": round(table.minutes(settings.weight_reserve), 3),
        "bytes": table.new_bytes,
        "archive_rows": archived,
        "rest_rows": table.rows - archived,
        "symbols": [_of_symbol(each) for each in table.symbols],
    }


def _of_symbol(each: SymbolPlan) -> dict[str, Any]:
    return {
        "symbol": each.symbol,
        "owed": each.owed,
        "stored": each.stored,
        "absent": each.absent,
        "rows": each.rows,
        "requests": each.requests,
        "archive_rows": each.archived_rows,
        "archive_files": each.archive_files,
        "listing_known": each.listing_known,
    }


def print_plan(document: dict[str, Any]) -> None:
    """The plan for reading: a line a table, and what the columns do not say."""
    console = Console(width=_WIDTH)
    grid = Table(box=SIMPLE)
    for head in ("table", "symbols", "stored", "to ask", "requests", "weight", "minutes", "MB", "in archive"):
        grid.add_column(head, justify="left" if head == "table" else "right", no_wrap=True)
    for table in document["tables"]:
        grid.add_row(table["table"], str(len(table["symbols"])), *_figures(table))
    if len(document["tables"]) > 1:
        grid.add_section()
        grid.add_row("all", "", *_figures(document["total"]))
    console.print(grid)
    for line in _remarks(document):
        console.print(line, highlight=False, soft_wrap=True)


def _figures(row: dict[str, Any]) -> list[str]:
    share = f"{100 * row['archive_rows'] / row['rows']:.0f} %" if row["rows"] else ""
    counts = [f"{row[name]:,}" for name in ("stored", "rows", "requests", "weight")]
    return [*counts, f"{row['minutes']:,.1f}", f"{row['bytes'] / 1e6:,.1f}", share]


def _remarks(document: dict[str, Any]) -> list[str]:
    ranges = dict.fromkeys((table["partitions"][0], table["partitions"][1]) for table in document["tables"])
    lines = [f"Partitions: {'; '.join(f'{first} to {last}' for first, last in ranges)}."]
    if document["total"]["absent"]:
        lines.append(f"The exchange is known to have none of {document['total']['absent']:,} more candles.")
    lines.append(
        f"Minutes are the weight at the exchange's limits less {document['weight_reserve']:.0%}; candles are taken to"
        f" close by this machine's clock, {document['clock']} UTC."
    )
    files = sum(each["archive_files"] for table in document["tables"] for each in table["symbols"])
    if files:
        lines.append(f"What the archive has comes in {files:,} files beside that, where it has them all.")
    unlisted = dict.fromkeys(
        each["symbol"] for table in document["tables"] for each in table["symbols"] if not each["listing_known"]
    )
    if unlisted:
        lines.append(f"Since when {', '.join(unlisted)} can be had is not known yet; it may be less.")
    return lines


def print_json(document: dict[str, Any]) -> None:
    """A document as JSON on stdout."""
    import orjson  # noqa: PLC0415 - only where something is printed

    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
