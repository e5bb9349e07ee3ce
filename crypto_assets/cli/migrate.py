"""`crypto-assets migrate`: arguments and output; what a migration does belongs to `database.migrations`.

Called by the command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from crypto_assets.cli.question import ask
from crypto_assets.cli.rollback import backup_sentence
from crypto_assets.composition import database_of
from crypto_assets.settings import load_settings

if TYPE_CHECKING:
    from crypto_assets.database.engines import Database
    from crypto_assets.database.migrations import MigrationResult


@click.group(invoke_without_command=True)
@click.option("--to", "revision", default="head", show_default=True, help="A revision, head or base.")
@click.option("--sql", "as_sql", is_flag=True, help="Print the SQL instead of running it.")
@click.option("--dry-run", is_flag=True, help="Print what would be done, and do nothing.")
@click.option("--yes", is_flag=True, help="Do not ask before going back.")
@click.option("--json", "as_json", is_flag=True, help="Print the revisions as JSON.")
@click.pass_context
def migrate(context: click.Context, revision: str, *, as_sql: bool, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Bring every database to a schema revision.

    `migrate status` says where they stand. Going back to an older one deletes what that has no place for: quality log,
    price consistency, gap ledger and metrics are copied before.
    """
    if context.invoked_subcommand is not None:
        return
    from crypto_assets.database.migrations import known_revision, migration_sql, plan_migration  # noqa: PLC0415
    from crypto_assets.database.migrations import migrate as run  # noqa: PLC0415
    from crypto_assets.database.removal.downgrades import goes_back  # noqa: PLC0415 - loads SQLAlchemy
    from crypto_assets.database.revisions import HEAD  # noqa: PLC0415

    partitioned = [interval.value for interval in load_settings().partitioned_intervals]
    database = _database()
    try:
        if as_sql:
            click.echo(migration_sql(database, revision=revision, partitioned=partitioned), nl=False)
            return
        results = plan_migration(database, revision=revision) if dry_run or known_revision(revision) != HEAD else []
        if goes_back(results):
            _go_back(database, revision, results, dry_run=dry_run, yes=yes, as_json=as_json)
            return
        if not dry_run:
            results = run(database, revision=revision, partitioned=partitioned)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    finally:
        database.dispose()
    _show(_rows(results), database, as_json=as_json)


def _go_back(
    database: Database, revision: str, planned: list[MigrationResult], *, dry_run: bool, yes: bool, as_json: bool
) -> None:
    from crypto_assets.cli.show import show_rows  # noqa: PLC0415 - loads pandas
    from crypto_assets.database.removal.downgrades import DowngradeOutcome, downgrade, plan_downgrade  # noqa: PLC0415

    losses = plan_downgrade(database, revision)
    tables = [loss for loss in losses if not loss.columns and loss.rows]
    columns = sum(len(loss.columns) for loss in losses)
    lost = f"{sum(loss.rows for loss in tables):,} rows of {len(tables)} tables, and {columns} columns of others,"
    if not (dry_run or yes):
        ask(database, f"Go back to revision {revision} and delete {lost}")
    outcome = DowngradeOutcome(None, planned) if dry_run else downgrade(database, revision)
    shown: list[dict[str, Any]] = [
        {"table": loss.table, "columns": ", ".join(loss.columns) or "all", "rows": loss.rows} for loss in losses
    ]
    if as_json:
        of_unit = {
            unit.name: [row for row, loss in zip(shown, losses, strict=True) if loss.unit == unit.name]
            for unit in planned
        }
        rows = [row | {"backup": outcome.backup, "deleted": of_unit[row["database"]]} for row in _rows(outcome.results)]
        show_rows(rows, as_json=True, console=Console())
        return
    show_rows(_rows(outcome.results), as_json=False, console=Console())
    show_rows(shown, as_json=False, console=Console())
    backup_note = "" if outcome.backup is None else f"; {backup_sentence(outcome.backup)}"
    click.echo(f"{'would delete' if dry_run else 'deleted'} {lost} in {database.location}{backup_note}")


@migrate.command()
@click.option("--json", "as_json", is_flag=True, help="Print the revisions as JSON.")
def status(*, as_json: bool) -> None:
    """Print where every database stands and since when."""
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


def _rows(results: list[MigrationResult]) -> list[dict[str, Any]]:
    return [
        {"database": result.name, "before": result.before, "after": result.after, "seconds": round(result.seconds, 3)}
        for result in results
    ]


_UNRECORDED = {"changed": None, "version": None, "seconds": None}


def _database() -> Database:

    settings = load_settings()
    return database_of(settings)


def _show(rows: list[dict[str, Any]], database: Database, *, as_json: bool) -> None:
    from crypto_assets.cli.show import show_rows  # noqa: PLC0415 - loads pandas

    show_rows(rows, as_json=as_json, console=Console())
    if not as_json:
        click.echo(f"in {database.location}")
