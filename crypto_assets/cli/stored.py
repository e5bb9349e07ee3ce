"""`crypto-assets tables`, `schema` and `coverage`: what can be stored, and what is.

Arguments and output; the figures belong to `quality.inventory`, the words to `database.dictionary`. Called by the
command.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console

from crypto_assets.cli.completion import SymbolNames, TableName
from crypto_assets.cli.misuse import Misuse, named, stating_misuse
from crypto_assets.composition import database_of
from crypto_assets.domain.entities import class_name
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets.domain.symbols import find_listed
from crypto_assets.settings import load_settings

if TYPE_CHECKING:
    from datetime import datetime

    from crypto_assets.database.engines import Database
    from crypto_assets.quality.inventory import Stored

_JSON = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
_Result = TypeVar("_Result")


@click.command()
@_JSON
def tables(*, as_json: bool) -> None:
    """List every table, its rows and what it is for.

    Rows of candle tables are those counted when they were verified; others are counted now.
    """
    from crypto_assets.database.tables import TABLES  # noqa: PLC0415 - loads SQLAlchemy
    from crypto_assets.quality.inventory import table_sizes  # noqa: PLC0415 - loads pandas

    sizes = _in_database(table_sizes)
    rows = [
        {"table": name, "rows": sizes[name], "class": class_name(name), "for": table.comment}
        for name, table in TABLES.items()
    ]
    _show(rows, as_json=as_json)


@click.command()
@click.argument("table", type=TableName())
@_JSON
def schema(table: str, *, as_json: bool) -> None:
    """Print the columns of TABLE, their types and what they mean."""
    from crypto_assets.database.dictionary import column_kind  # noqa: PLC0415 - loads SQLAlchemy
    from crypto_assets.database.tables import find_table, key_columns  # noqa: PLC0415 - likewise

    with stating_misuse():
        found = find_table(table)
    key = key_columns(found)
    rows: list[dict[str, Any]] = [
        {
            "column": column.name,
            "type": column_kind(column),
            "null": bool(column.nullable),
            "key": key.index(column.name) + 1 if column.name in key else None,
            "meaning": column.comment,
        }
        for column in found.columns
    ]
    if not as_json:
        click.echo(f"{found.name}: {found.comment}. Database {found.schema}, class {class_name(found.name)}.\n")
        rows = [row | {"null": "null" if row["null"] else ""} for row in rows]
    _show(rows, as_json=as_json)


@click.command()
@click.argument("tables", nargs=-1, type=TableName(candles=True), metavar="[TABLE]...")
@click.option("--symbols", type=SymbolNames(), help="Only these, in either spelling, e.g. ETH/USDT,btcusdt or */USDT.")
@_JSON
def coverage(tables: tuple[str, ...], symbols: str | None, *, as_json: bool) -> None:
    """Show what is stored of each symbol and how complete it is.

    `source` are candles that the exchange is known not to have, `missing` those that it may have; `unverified` are
    partitions that are being collected, or whose run was ended: job integrity verifies them, or the next run over
    them. Complete is the stored share of what exists, rounded down.
    """
    from crypto_assets.database.tables import find_table  # noqa: PLC0415 - loads SQLAlchemy
    from crypto_assets.quality.inventory import stored_series  # noqa: PLC0415 - loads pandas

    with stating_misuse():
        chosen = list(dict.fromkeys(find_table(name).name for name in tables)) or list(KDATA_TABLES)
        texts = named("--symbols", symbols)
        for name in chosen:
            if name not in KDATA_TABLES:
                raise Misuse(f"{name} is no candle table; crypto-assets tables has the rows of the others.")
        found = _in_database(lambda database: stored_series(database, [KDATA_TABLES[name] for name in chosen]))
        if texts is not None:
            meant = {each.entity_id for each in find_listed(texts, {each.symbol for each in found}, "what is stored")}
            found = [each for each in found if each.symbol.entity_id in meant]
    if not found and not as_json:
        click.echo("nothing was collected yet")
        return
    _show([_row(each, as_json=as_json) for each in found], as_json=as_json)


def _row(each: Stored, *, as_json: bool) -> dict[str, Any]:
    # Rounded down: 100 means all.
    complete = each.complete if as_json else f"{math.floor(each.complete * 10_000) / 100:.2f} %"
    return {
        "table": each.candle_table.name,
        "symbol": each.symbol.name,
        "code": each.symbol.code,
        "first": _moment(each.first),
        "last": _moment(each.last),
        "rows": each.rows,
        "missing": each.missing,
        "source": each.source,
        "unverified": each.unverified,
        "complete": complete,
    }


def _moment(time: datetime | None) -> str | None:
    return None if time is None else f"{time:%Y-%m-%d %H:%M}"


def _show(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    from crypto_assets.cli.show import show_rows  # noqa: PLC0415 - loads pandas

    show_rows(rows, as_json=as_json, console=Console())


def _in_database(find: Callable[[Database], _Result]) -> _Result:

    settings = load_settings()
    database = database_of(settings)
    try:
        return find(database)
    finally:
        database.dispose()
