"""`crypto-assets gaps collect`, `leave` and `undo`, and the holes that `gaps` shows: arguments and output.

What a decision leads to belongs to `quality.gaps.deciding`, what a hole takes to `collect.holes`. Called by the
command.
"""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from crypto_assets.cli.misuse import Misuse
from crypto_assets.composition import database_of, has_bulk_files, policy_of
from crypto_assets.settings import Settings, load_settings

if TYPE_CHECKING:
    from crypto_assets.collect.holes import PricedHole
    from crypto_assets.database.engines import Database


def priced_holes(database: Database, settings: Settings) -> list[PricedHole]:
    """The long holes of all tables, waiting or decided about, with what collecting them takes."""
    from crypto_assets.cli.plan import our_time  # noqa: PLC0415
    from crypto_assets.collect.holes import all_priced  # noqa: PLC0415 - loads pandas

    return all_priced(database, policy_of(settings), our_time(), has_archive=has_bulk_files(settings))


def show_holes(holes: list[PricedHole], *, as_json: bool, console: Console) -> None:
    """Prints them; as a table with what can be done about those that wait."""
    from crypto_assets.cli.show import show_rows  # noqa: PLC0415

    if not holes and not as_json:
        click.echo("Nothing lies between collected partitions that was not collected.")
        return
    show_rows([hole.as_row() for hole in holes], as_json=as_json, console=console)
    if not as_json:
        hint(holes)


def hint(holes: list[PricedHole], *, err: bool = False) -> None:
    """What waits for a decision, in a sentence, and how it is made; nothing where nothing waits."""
    from crypto_assets.collect.holes import said_of, waiting  # noqa: PLC0415

    undecided = waiting(holes)
    if undecided:
        click.echo(said_of(undecided), err=err)
        click.echo(
            "See crypto-assets gaps --uncollected; decide with crypto-assets gaps collect TABLE, or leave TABLE.",
            err=err,
        )


def _deciding(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print as JSON."),
        click.option("--end", default="", help="Last day or time, UTC, its whole partition included."),
        click.option("--start", default="", help="First day or time, UTC; its whole partition is meant."),
        click.option("--symbols", default="", metavar="SYMBOL[,SYMBOL]", help="ccxt symbols; all by default."),
        click.argument("table"),
    ):
        command = option(command)
    return command


@click.command()
@_deciding
def collect(table: str, **options: Any) -> None:
    """Have long holes of TABLE collected: they are owed from now on.

    Those that wait for a decision; with symbols or times also those that were left.
    With the daemon running, gap_backfill_sensor asks for them, a hundred partitions a run.
    """
    _decide(table, "collect", "Owed from now on", **options)


@click.command()
@_deciding
def leave(table: str, **options: Any) -> None:
    """Let long holes of TABLE be: they wait for a decision no more.

    Those that wait for a decision; with symbols or times also those that were to be collected.
    """
    _decide(table, "leave", "Left from now on", **options)


@click.command()
@_deciding
def undo(table: str, **options: Any) -> None:
    """Take back what was decided about long holes of TABLE.

    What was to be collected is owed no more, unless it came. Runs that are under way or queued go on: end them first.
    """
    _decide(table, "undo", "Waiting for a decision again", **options)


def _decide(table: str, verdict: str, then: str, *, symbols: str, start: str, end: str, as_json: bool) -> None:
    from crypto_assets.cli.plan import our_time  # noqa: PLC0415
    from crypto_assets.cli.show import show_rows  # noqa: PLC0415 - loads pandas
    from crypto_assets.collect.holes import decide_by_name, priced  # noqa: PLC0415
    from crypto_assets.domain.durations import counted  # noqa: PLC0415
    from crypto_assets.exchange.errors import UnknownSymbol  # noqa: PLC0415
    from crypto_assets.exchange.venues import venue_of  # noqa: PLC0415
    from crypto_assets.quality.gaps.deciding import Verdict  # noqa: PLC0415
    from crypto_assets.quality.gaps.ledger import our_clock  # noqa: PLC0415

    settings = load_settings()
    policy = policy_of(settings)
    database = database_of(settings)
    by = f"crypto-assets gaps {verdict}, {_who()}"
    names = [each.strip() for each in symbols.split(",") if each.strip()]
    try:
        changed = decide_by_name(
            database, table, Verdict(verdict), our_clock(), by, policy, symbols=names, start=start, end=end
        )
    except UnknownSymbol as error:
        raise Misuse(str(error)) from error
    finally:
        database.dispose()
    shown = priced(changed, venue_of(database.provider), our_time(), has_archive=has_bulk_files(settings))
    if as_json:
        show_rows([hole.as_row() for hole in shown], as_json=True, console=Console())
        return
    if not changed:
        is_rest = verdict != "undo" and not (names or start or end)
        raise click.ClickException(
            f"There is no such hole in {table}{' that waits for a decision' if is_rest else ''};"
            " crypto-assets gaps --uncollected lists those there are"
            f"{', and --symbols, --start or --end decide anew about those decided' if is_rest else ''}."
        )
    for hole in shown:
        row = hole.as_row()
        click.echo(
            f"{row['first']} to {row['last']}, {row['symbols']}: {counted(hole.candles, 'candle')},"
            f" {counted(hole.requests, 'request')}"
        )
    click.echo(f"{then}: {counted(len(changed), 'hole')} of {table}.")


def _who() -> str:
    try:
        return f"{getpass.getuser()} at {socket.gethostname()}"
    except (KeyError, OSError):  # a user without a name, as in some containers
        return f"a user at {socket.gethostname()}"
