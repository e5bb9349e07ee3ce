"""`crypto-assets archive`: arguments and output; what is moved and how belongs to `quality.retention` and `archives`.

Called by the command.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from crypto_assets.cli.completion import SymbolNames, TableName
from crypto_assets.cli.misuse import Misuse, named, stating_misuse
from crypto_assets.composition import database_of
from crypto_assets.domain.intervals import parse_time, to_milliseconds
from crypto_assets.settings import load_settings

if TYPE_CHECKING:
    from sqlalchemy import Table

    from crypto_assets.database.archive.manifest import ArchivedMonth
    from crypto_assets.database.engines import Database

_JSON = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")


@click.group(invoke_without_command=True)
@click.option("--older-than", "days", type=click.IntRange(1), metavar="DAYS", help="Instead of the setting.")
@click.option("--dry-run", is_flag=True, help="Print what would be moved, and do nothing.")
@_JSON
@click.pass_context
def archive(context: click.Context, days: int | None, *, dry_run: bool, as_json: bool) -> None:
    """Move whole months of old candles into Parquet files.

    Queries read them as before.
    """
    if context.invoked_subcommand is not None:
        return
    from crypto_assets.quality.retention import apply_retention, plan_retention  # noqa: PLC0415 - loads SQLAlchemy

    settings = load_settings()
    keep = days or settings.retention_days
    if not keep:
        raise click.UsageError("Nothing is old: set CRYPTO_ASSETS_RETENTION_DAYS, or say --older-than DAYS.")
    before = to_milliseconds(datetime.now(UTC) - timedelta(days=keep))
    longest_hole = timedelta(days=settings.hole_days)
    with _open_database() as database:
        if dry_run:
            rows = [
                {"table": candle_table.name, "entity_id": entity_id, "month": month}
                for candle_table, months in plan_retention(database, before, longest_hole).items()
                for entity_id, month in months
            ]
        else:
            moved = apply_retention(database, settings.archive_directory, before, longest_hole)
            rows = [_row(month) for month in moved]
    _show(rows, "nothing to archive", as_json=as_json)


@archive.command("list")
@_JSON
def list_months(*, as_json: bool) -> None:
    """Print what is archived."""
    from crypto_assets.database.archive.manifest import archived_months  # noqa: PLC0415
    from crypto_assets.domain.series import KDATA_TABLES  # noqa: PLC0415

    rows = []
    with _open_database() as database:
        for name, candle_table in KDATA_TABLES.items():
            with database.connect(name) as connection:
                rows += [_row(month) for month in archived_months(connection, candle_table, database.provider)]
    _show(rows, "nothing is archived", as_json=as_json)


@archive.command()
@click.argument("table", type=TableName(candles=True))
@click.option("--codes", type=SymbolNames(), help="Comma separated, e.g. btcusdt,ETH/USDT or */USDT; all by default.")
@click.option("--start", help="Only months with a candle from this time on, UTC.")
@click.option("--end", help="Only months with a candle before this time, UTC.")
@_JSON
def restore(table: str, codes: str | None, start: str | None, end: str | None, *, as_json: bool) -> None:
    """Put archived months of TABLE back into the database."""
    from crypto_assets.database.archive.move import restore_candles  # noqa: PLC0415
    from crypto_assets.database.tables import find_table  # noqa: PLC0415
    from crypto_assets.domain.series import KDATA_TABLES  # noqa: PLC0415

    with stating_misuse():
        found = find_table(table)
        name = found.name
        if name not in KDATA_TABLES:
            raise Misuse(f"{name} is no candle table; only candles are archived")
        texts = named("--codes", codes)
        span = [None if text is None else parse_time(text) for text in (start, end)]
    with _open_database() as database:
        ids = None if texts is None else _archived_ids(database, found, texts)
        counts = restore_candles(database, load_settings().archive_directory, KDATA_TABLES[name], ids, *span)
    row = {"table": name, "months": counts.months, "restored": counts.restored, "kept": counts.kept}
    _show([row], "", as_json=as_json)


def _archived_ids(database: Database, table: Table, texts: list[str]) -> list[str]:
    """The entity ids of the symbols that are meant, of those listed and those archived."""
    from crypto_assets.database.archive.manifest import archived_months  # noqa: PLC0415
    from crypto_assets.database.symbols import symbols_meant  # noqa: PLC0415
    from crypto_assets.domain.series import KDATA_TABLES  # noqa: PLC0415

    candle_table = KDATA_TABLES[table.name]
    with database.connect(table.name) as connection, stating_misuse():
        archived = [month.entity_id for month in archived_months(connection, candle_table, database.provider)]
        return [each.entity_id for each in symbols_meant(connection, table, texts, dict.fromkeys(archived))]


def _row(month: ArchivedMonth) -> dict[str, Any]:
    return {
        "table": month.path.split("/")[0],
        "entity_id": month.entity_id,
        "month": month.month,
        "rows": month.rows,
        "bytes": month.bytes,
        "path": month.path,
    }


def _show(rows: list[dict[str, Any]], nothing: str, *, as_json: bool) -> None:
    from crypto_assets.cli.show import show_rows  # noqa: PLC0415 - loads pandas

    if rows or as_json:
        show_rows(rows, as_json=as_json, console=Console())
    else:
        click.echo(nothing)


@contextmanager
def _open_database() -> Iterator[Database]:

    settings = load_settings()
    database = database_of(settings)
    try:
        yield database
    finally:
        database.dispose()
