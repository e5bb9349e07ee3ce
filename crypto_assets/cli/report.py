"""`crypto-assets report`: arguments and output; what is shown and how belongs to `crypto_assets.report`.

Called by the command.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import orjson

from crypto_assets.composition import database_of
from crypto_assets.settings import load_settings


@click.command()
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write; by default report.html beside the database's files, or in data/<environment>.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the page's place and its figures as JSON.")
def report(output: Path | None, *, as_json: bool) -> None:
    """Write the quality of the data as one HTML page.

    Completeness by symbol and month, gaps, quality over time, freshness.
    """
    from crypto_assets.cli.holes import priced_holes  # noqa: PLC0415
    from crypto_assets.database.errors import DatabaseNotReady  # noqa: PLC0415
    from crypto_assets.report.figures import Hole, quality_figures  # noqa: PLC0415 - loads pandas
    from crypto_assets.report.page import PageNotWritten, write_page  # noqa: PLC0415

    settings = load_settings()
    path = (output or settings.report_file).absolute()
    database = database_of(settings)
    try:
        if not database.exists():
            raise DatabaseNotReady(f"There is no database at {database.location}; run crypto-assets migrate.")
        margin = timedelta(seconds=settings.close_margin_seconds)
        figures = quality_figures(database, datetime.now(UTC), margin)
        if figures.tables:
            holes = priced_holes(database, settings)
            figures = replace(figures, holes=tuple(Hole(**hole.as_row()) for hole in holes))
    finally:
        database.dispose()
    try:
        write_page(figures, path)
    except PageNotWritten as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        shown = {"page": str(path), "figures": figures}
        click.echo(orjson.dumps(shown, option=orjson.OPT_INDENT_2 | orjson.OPT_NAIVE_UTC).decode())
    else:
        click.echo(f"The report is {path}")
