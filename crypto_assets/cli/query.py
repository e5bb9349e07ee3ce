"""`crypto-assets query`: arguments and output; which rows these are belongs to `database.queries`.

Called by the command.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crypto_assets.cli.completion import SymbolNames, TableName
from crypto_assets.cli.misuse import Misuse, named, stating_misuse
from crypto_assets.composition import database_of
from crypto_assets.domain.entities import PROVIDER
from crypto_assets.domain.intervals import parse_time, to_datetime
from crypto_assets.domain.symbols import Listed
from crypto_assets.settings import load_settings

if TYPE_CHECKING:
    from sqlalchemy import Table

    from crypto_assets.database.engines import Database


@click.command()
@click.argument("table", type=TableName())
@click.option(
    "--codes", type=SymbolNames(), help="Comma separated, in either spelling, e.g. btcusdt,ETH/USDT or */USDT."
)
@click.option("--entity-ids", help=f"Comma separated, e.g. cryptopair_{PROVIDER}_btcusdt.")
@click.option("--start", help="First timestamp, UTC.")
@click.option("--end", help="Last timestamp, UTC, included.")
@click.option("--limit", type=click.IntRange(1, 2**63 - 1), help="At most this many rows.")
@click.option("--columns", help="Comma separated; all by default.")
@click.option("--order", type=click.Choice(["asc", "desc"]), default="asc", show_default=True)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json", "parquet"]),
    help="By the ending of --output, else a table, by default.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file instead of stdout.")
def query(
    table: str,
    codes: str | None,
    entity_ids: str | None,
    start: str | None,
    end: str | None,
    limit: int | None,
    columns: str | None,
    order: str,
    form: str | None,
    output: Path | None,
    *,
    as_json: bool,
) -> None:
    """Print rows of TABLE, named like its asset or its class.

    For example cryptopair_1m_kdata or CryptoPair1mKdata; `crypto-assets tables` lists them.
    """
    from crypto_assets.cli.show import chosen_format, show_frame  # noqa: PLC0415
    from crypto_assets.database.queries import query_data  # noqa: PLC0415 - loads pandas
    from crypto_assets.database.tables import find_table  # noqa: PLC0415

    form = chosen_format("json" if as_json else form, output)
    settings = load_settings()
    with stating_misuse():
        found = find_table(table)
        first, last, shown = _moment(start), _moment(end), named("--columns", columns)
        database = database_of(settings)
        try:
            meant, ids = (
                _meant(database, found, named(option, text))
                for option, text in (("--codes", codes), ("--entity-ids", entity_ids))
            )
            frame = query_data(
                table,
                codes=None if meant is None else [each.code for each in meant],
                entity_ids=None if ids is None else [each.entity_id for each in ids],
                start_timestamp=first,
                end_timestamp=last,
                columns=shown,
                limit=limit,
                order=order,
                database=database,
                archive_directory=settings.archive_directory,
            )
        finally:
            database.dispose()
    show_frame(frame, form, output)


def _meant(database: Database, table: Table, texts: list[str] | None) -> list[Listed] | None:
    """The symbols that are meant. Raises NoSuchSymbol for what is neither listed nor stored, and Ambiguous."""
    from crypto_assets.database.queries import entity_ids  # noqa: PLC0415 - loads pandas
    from crypto_assets.database.symbols import symbols_meant  # noqa: PLC0415

    if texts is None:
        return None
    if "entity_id" not in table.columns:
        raise Misuse(f"{table.name} has no symbols to choose by.")
    with database.connect(table.name) as connection:
        return symbols_meant(connection, table, texts, entity_ids(connection, table))


def _moment(text: str | None) -> datetime | None:
    return None if text is None else to_datetime(parse_time(text))
