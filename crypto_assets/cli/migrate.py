"""`crypto-assets migrate`: arguments and output; what a migration does belongs to `database.migrations`.

Called by the command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from crypto_assets.settings import load_settings

if TYPE_CHECKING:
    from crypto_assets.database.engines import Database


@click.group(invoke_without_command=True)
@click.option("--to", "revision", default="head", show_default=True, help="A revision, head or base.")
@click.option("--sql", "as_sql", is_flag=True, help="Print the SQL instead of running it.")
@click.option("--dry-run", is_flag=True, help="Print what would be done, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the revisions as JSON.")
@click.pass_context
def migrate(context: click.Context, revision: str, *, as_sql: bool, dry_run: bool, as_json: bool) -> None:
    """Bring every database of the environment to a schema revision; `migrate status` says where they stand."""
    if context.invoked_subcommand is not None:
        return
    from crypto_assets.database.migrations import migrate as run  # noqa: PLC0415 - loads SQLAlchemy
    from crypto_assets.database.migrations import migration_sql, plan_migration  # noqa: PLC0415

    partitioned = [interval.value for interval in load_settings().partitioned_intervals]
    database = _database()
    try:
        if as_sql:
            click.echo(migration_sql(database, revision=revision, partitioned=partitioned), nl=False)
            return
        if dry_run:
            results = plan_migration(database, revision=revision)
        else:
            results = run(database, revision=revision, partitioned=partitioned)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    finally:
        database.dispose()
    rows: list[dict[str, Any]] = [
        {"database": result.name, "before": result.before, "after": result.after, "seconds": round(result.seconds, 3)}
        for result in results
    ]
    _show(rows, database, as_json=as_json)


@migrate.command()
@click.option("--json", "as_json", is_flag=True, help="Print the revisions as JSON.")
def status(*, as_json: bool) -> None:
    """Print where every database stands, and when which version brought it there."""
    from crypto_assets.database.migrations import current_revisions, last_changes  # noqa: PLC0415
    from crypto_assets.database.revisions import HEAD  # noqa: PLC0415

    database = _database()
    try:
        database.check_identity()
        revisions, changes = current_revisions(database), last_changes(database)
    finally:
        database.dispose()
    rows: list[dict[str, Any]] = [
        {"database": unit, "revision": revision, "newest": HEAD, **changes.get(unit, _UNRECORDED)}
        for unit, revision in revisions.items()
    ]
    _show(rows, database, as_json=as_json)


_UNRECORDED = {"changed": None, "version": None, "seconds": None}


def _database() -> Database:
    from crypto_assets.database.engines import open_database  # noqa: PLC0415

    settings = load_settings()
    return open_database(settings.database_url, settings.environment)


def _show(rows: list[dict[str, Any]], database: Database, *, as_json: bool) -> None:
    from crypto_assets.cli.show import show_rows  # noqa: PLC0415 - loads pandas

    show_rows(rows, as_json=as_json, console=Console())
    if not as_json:
        click.echo(f"in {database.location}")
