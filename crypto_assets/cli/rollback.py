"""`crypto-assets rollback`: arguments, the question before rows are removed, and output.

Which rows go belongs to `database.removal.rollback`, the copies made before and brought back to
`database.removal.backups`. Called by the command.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from crypto_assets.cli.misuse import stating_misuse
from crypto_assets.cli.question import ask
from crypto_assets.composition import database_of
from crypto_assets.domain.entities import PROVIDER
from crypto_assets.domain.intervals import parse_time, to_datetime
from crypto_assets.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from crypto_assets.database.engines import Database


@click.command()
@click.option("--schema", is_flag=True, help="Remove everything: rows, tables, files or schemas. Backups stay.")
@click.option("--data", is_flag=True, help="Remove every row and keep the schema.")
@click.option("--provider", help=f"Remove one provider's rows, e.g. {PROVIDER}.")
@click.option("--tables", help="With --provider: only these tables and what speaks of their candles, comma separated.")
@click.option("--since", help="With --provider: only rows from this time on, UTC, e.g. 2024-08-01T12:00.")
@click.option("--restore", "stamp", metavar="STAMP", help="Bring the backup of this stamp back.")
@click.option("--backups", is_flag=True, help="Print the backups there are.")
@click.option("--dry-run", is_flag=True, help="Print what would be done, and do nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan or outcome as JSON.")
def rollback(
    *,
    schema: bool,
    data: bool,
    provider: str | None,
    tables: str | None,
    since: str | None,
    stamp: str | None,
    backups: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Take data back, or bring a backup of it back.

    All of it with the schema, all rows, or one provider's. Quality log, price consistency, gap ledger and metrics are
    copied before anything is removed.
    """
    if [schema, data, provider is not None, stamp is not None, backups].count(True) != 1:
        raise click.UsageError("Choose one of --schema, --data, --provider, --restore and --backups.")
    if provider is None and (tables is not None or since is not None):
        raise click.UsageError("--tables and --since narrow --provider; name one.")
    with _open_database() as database:
        if backups:
            _list(database, as_json=as_json)
        elif stamp is not None:
            _restore(database, stamp, dry_run=dry_run, as_json=as_json)
        else:
            depth = "schema" if schema else "data" if data else "provider"
            _remove(database, depth, _chosen(provider, tables, since), dry_run=dry_run, yes=yes, as_json=as_json)


def _list(database: Database, *, as_json: bool) -> None:
    from crypto_assets.cli.show import show_rows  # noqa: PLC0415 - loads pandas
    from crypto_assets.database.removal.backups import list_backups  # noqa: PLC0415 - loads SQLAlchemy

    rows = [{"backup": each.stamp, "table": each.table, "rows": each.rows} for each in list_backups(database)]
    if not rows and not as_json:
        click.echo(f"no backups in {database.location}")
        return
    show_rows(rows, as_json=as_json, console=Console())


def _restore(database: Database, stamp: str, *, dry_run: bool, as_json: bool) -> None:
    from crypto_assets.database.removal.backups import backup_of, restore  # noqa: PLC0415 - loads SQLAlchemy

    rows = {each.table: each.rows for each in backup_of(database, stamp)} if dry_run else restore(database, stamp)
    sentence = f"{'would bring' if dry_run else 'brought'} {sum(rows.values()):,} rows of {stamp} back"
    _show(database, rows, sentence, {"depth": "restore", "dry_run": dry_run, "backup": stamp}, as_json=as_json)


def _remove(database: Database, depth: str, chosen: dict[str, Any], *, dry_run: bool, yes: bool, as_json: bool) -> None:
    from crypto_assets.database.removal.rollback import ARCHIVE, Depth, carry_out, plan_rollback  # noqa: PLC0415 - as above

    rows, backup = {}, None
    # Counting takes a while where much is stored: only for those who want to know before.
    if dry_run or not yes:
        plan = plan_rollback(database, Depth(depth), **chosen)
        rows = {each.table: each.rows for each in plan}
        if not dry_run and (plan or depth == "schema"):
            tables = sum(1 for each in plan if each.rows)
            also = ", and the schema with them," if depth == "schema" else ""
            ask(database, f"Remove {sum(rows.values()):,} rows of {tables} tables{also}")
    if not dry_run:
        outcome = carry_out(database, Depth(depth), **chosen)
        rows, backup = outcome.removed, outcome.backup
    sentence = f"{'would remove' if dry_run else 'removed'} {sum(rows.values()):,} rows"
    if backup is not None:
        sentence += f"; {backup_sentence(backup)}; candles come back by collecting them again"
    if rows.get(ARCHIVE):
        sentence += f"; {rows[ARCHIVE]:,} Parquet files of archived candles stay on disk"
    _show(database, rows, sentence, {"depth": depth, "dry_run": dry_run, "backup": backup}, as_json=as_json)


def _chosen(provider: str | None, tables: str | None, since: str | None) -> dict[str, Any]:
    moment: datetime | None = None
    if since is not None:
        with stating_misuse():
            moment = to_datetime(parse_time(since))
    names = [each.strip() for each in (tables or "").split(",") if each.strip()]
    if provider == "" or (tables is not None and not names):
        raise click.UsageError("--provider and --tables need a name.")
    return {"provider": provider, "tables": names, "since": moment}


def backup_sentence(stamp: str) -> str:
    """What was copied, and how it comes back."""
    return (
        f"backup {stamp} of the quality log, gaps, consistency and metrics, brought back by"
        f" crypto-assets rollback --restore {stamp}"
    )


def _show(database: Database, rows: dict[str, int], sentence: str, head: dict[str, Any], *, as_json: bool) -> None:
    import orjson  # noqa: PLC0415 - only where something is printed

    from crypto_assets.cli.show import show_rows  # noqa: PLC0415 - loads pandas

    listed: list[dict[str, Any]] = [{"table": name, "rows": count} for name, count in rows.items()]
    if as_json:
        where = {"location": database.location, "environment": database.environment}
        document = head | where | {"rows": sum(rows.values()), "tables": listed}
        click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
        return
    if listed:
        show_rows(listed, as_json=False, console=Console())
    click.echo(f"{sentence} in {database.location}")


@contextmanager
def _open_database() -> Iterator[Database]:

    settings = load_settings()
    database = database_of(settings)
    try:
        yield database
    finally:
        database.dispose()
