"""The `crypto-assets` command. Here belong arguments, output and exit codes; the work is done elsewhere.

Dagster, ccxt and pandera are loaded by the commands that need them, so that `query` answers quickly.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from crypto_assets.cli.archive import archive
from crypto_assets.cli.dev import dev
from crypto_assets.cli.holes import collect, leave, undo
from crypto_assets.cli.migrate import migrate
from crypto_assets.cli.misuse import Misuse
from crypto_assets.cli.plan import plan
from crypto_assets.cli.query import query
from crypto_assets.cli.report import report
from crypto_assets.cli.rollback import rollback
from crypto_assets.cli.selection import selecting
from crypto_assets.cli.settings import settings
from crypto_assets.cli.stored import coverage, schema, tables
from crypto_assets.composition import database_of, policy_of
from crypto_assets.settings import SettingsError, load_settings


class _StatingErrors(click.Group):
    """Ends a command with the sentence of an expected error and exit code 1, or 2 where it was misused."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the command, as click has it; also what click prints itself may meet a full disk."""
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            _give_up_stdout()
            click.echo(f"Error: {error.filename or 'What is printed'} cannot be written: {error.strerror}.", err=True)
            sys.exit(1)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            raise Misuse(str(error)) from error
        except Exception as error:
            # Looked up here, not imported above: most commands need neither package.
            if not _is_expected(error):
                raise
            kind = Misuse if _names_nothing(error) else click.ClickException
            raise kind(str(error)) from error


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What a disk answers that takes no more. Of the files that the project writes, their own errors tell."""


def _give_up_stdout() -> None:
    """Lets go of what stdout still holds: the interpreter would try to write it once more as it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_expected(error: Exception) -> bool:
    from crypto_assets.database.errors import DatabaseError  # noqa: PLC0415 - cost only where something failed
    from crypto_assets.exchange.errors import ExchangeError  # noqa: PLC0415 - likewise

    return isinstance(error, (DatabaseError, ExchangeError))


def _names_nothing(error: Exception) -> bool:
    from crypto_assets.database.errors import MeansNothing  # noqa: PLC0415 - likewise

    return isinstance(error, MeansNothing)


@click.group(cls=_StatingErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="crypto-assets")
def main() -> None:
    """A crypto market database, built and kept true by Dagster."""


main.add_command(archive)
main.add_command(dev)
main.add_command(migrate)
main.add_command(plan)
main.add_command(query)
main.add_command(settings)
for _command in (tables, schema, coverage):
    main.add_command(_command)
main.add_command(report)
main.add_command(rollback)


@main.command()
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Serve recorded candles, DIR/<spot|usdm>/klines/<SYMBOL>-1m.parquet, instead of generated ones.",
)
@click.option("--days", type=click.IntRange(1, 1000), default=30, show_default=True, help="How much generated history.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def demo(data: Path | None, days: int, as_json: bool) -> None:
    """Build and check a database from an exchange on this machine."""
    from crypto_assets.cli.demo import run_demo  # noqa: PLC0415 - loads Dagster

    sys.exit(run_demo(load_settings(), data, days, as_json=as_json))


@main.command()
@selecting
@click.option("--yes", is_flag=True, help="Do not ask.")
def backfill(
    *, select: str, start: str, end: str | None, symbols: str | None, only_missing: bool, as_json: bool, yes: bool
) -> None:
    """Collect candles of a range, after showing what that takes. Exit code 1 if anything failed."""
    from crypto_assets.cli.backfill import run_backfill  # noqa: PLC0415 - loads Dagster

    options = {"select": select, "start": start, "end": end, "symbols": symbols}
    sys.exit(run_backfill(load_settings(), only_missing=only_missing, as_json=as_json, yes=yes, **options))


@main.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8730, show_default=True, help="0 picks a free one.")
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Serve recorded candles instead of generated ones.",
)
@click.option("--fault", "faults", multiple=True, help="A fault to serve, e.g. status_5xx:times=3,path=klines.")
@click.option("--latency-ms", type=click.IntRange(0), default=0, help="Delay of every answer.")
def sandbox(port: int, data: Path | None, faults: tuple[str, ...], latency_ms: int) -> None:
    """Serve an exchange on loopback that speaks Binance's format."""
    from crypto_assets.sandbox.__main__ import main as serve  # noqa: PLC0415 - loads the server

    arguments = ["--port", str(port), "--latency-ms", str(latency_ms)]
    arguments += [] if data is None else ["--data", str(data)]
    for fault in faults:
        arguments += ["--fault", fault]
    sys.exit(serve(arguments))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def health(as_json: bool) -> None:
    """Tell whether the database is sound and quick to answer.

    Also whether it is of this environment and at the newest revision, and whether the directories that the settings
    name can be written. Exit code 1 if not.
    """
    from crypto_assets.cli.health import examine  # noqa: PLC0415
    from crypto_assets.cli.show import show_rows  # noqa: PLC0415

    rows = examine(load_settings())
    show_rows([row.as_dict() for row in rows], as_json=as_json, console=Console())
    if not all(row.passed for row in rows):
        sys.exit(1)


@main.group(invoke_without_command=True)
@click.option("--open", "only", flag_value="open", help="Only those that may still be filled.")
@click.option("--source", "only", flag_value="source", help="Only those of which the exchange has no candles.")
@click.option("--repaired", "only", flag_value="repaired", help="Only those that were filled.")
@click.option("--uncollected", is_flag=True, help="The long holes between what was collected, and what they take.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON, with the evidence.")
@click.pass_context
def gaps(context: click.Context, only: str | None, uncollected: bool, as_json: bool) -> None:
    """List missing candles and when they are asked for again."""
    if context.invoked_subcommand is not None:
        return
    from crypto_assets.cli.gaps import gap_rows  # noqa: PLC0415 - loads SQLAlchemy
    from crypto_assets.cli.holes import hint, priced_holes, show_holes  # noqa: PLC0415
    from crypto_assets.cli.show import show_rows  # noqa: PLC0415

    settings = load_settings()
    database = database_of(settings)
    try:
        rows = gap_rows(database, [only] if only else ["open", "source"], policy_of(settings), with_evidence=as_json)
        holes = priced_holes(database, settings)
    finally:
        database.dispose()
    if uncollected:
        show_holes(holes, as_json=as_json, console=Console())
        return
    if rows or as_json:
        show_rows(rows, as_json=as_json, console=Console())
    else:
        click.echo("no gaps" if only is None else f"no gaps that are {only}")
    if only in (None, "open"):
        hint(holes, err=as_json)


for _decision in (collect, leave, undo):
    gaps.add_command(_decision)
