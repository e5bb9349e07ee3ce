"""The job `rollback`: `crypto-assets rollback` for those who work in the UI, with the question as a part of its config.

Which rows go belongs to `database.removal.rollback`, the copies to `database.removal.backups`. Called by `definitions`.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of the functions it decorates at runtime.

from datetime import datetime

import dagster as dg
from pydantic import Field

from crypto_assets.database.engines import Database
from crypto_assets.database.errors import DatabaseError
from crypto_assets.database.removal.backups import backup_of, restore
from crypto_assets.database.removal.rollback import ARCHIVE, Depth, carry_out, plan_rollback
from crypto_assets.domain.entities import PROVIDER
from crypto_assets.domain.intervals import parse_time, to_datetime
from crypto_assets.orchestration.failures import stating_user_errors
from crypto_assets.orchestration.metadata import table_value
from crypto_assets.orchestration.resources import DatabaseResource


class RollbackConfig(dg.Config):
    """What is removed or restored: `depth` or `restore` says what, `confirm` that it is meant."""

    depth: str = Field(
        default="", description="schema: everything; data: all rows; provider: one provider's rows; empty to restore."
    )
    provider: str = Field(default="", description=f"With depth provider: whose rows, such as {PROVIDER}.")
    tables: list[str] = Field(default=[], description="With depth provider: only these tables; all where empty.")
    since: str = Field(default="", description="With depth provider: only rows from this time on, UTC: 2024-08-01.")
    restore: str = Field(default="", description="The stamp of a backup to bring back: 20261122T231000Z.")
    confirm: str = Field(default="", description="The environment's name, typed out: without it this is a dry run.")
    dry_run: bool | None = Field(default=None, description="Whether only to show what would be done, confirmed or not.")

    @property
    def only_shows(self) -> bool:
        """Whether nothing is to be changed."""
        return not self.confirm if self.dry_run is None else self.dry_run


@dg.op(name="rollback_database", out=dg.Out(dg.Nothing))
def rollback_database(context: dg.OpExecutionContext, config: RollbackConfig, database: DatabaseResource) -> None:
    """Copies the tables worth keeping, then removes what the config says; or brings such copies back."""
    with stating_user_errors(), database.open() as db:
        if not config.only_shows and config.confirm != db.environment:
            raise DatabaseError(
                f"Nothing was done: confirm is {config.confirm!r}, and must be {db.environment!r}, the environment"
                " of this database, unless dry_run."
            )
        if bool(config.depth) == bool(config.restore):
            raise DatabaseError("Say either depth (schema, data or provider) or restore (a backup's stamp).")
        backup, rows = _restored(db, config) if config.restore else _removed(context, db, config)
    total = sum(rows.values())
    done = ("would be " if config.only_shows else "") + ("brought back" if config.restore else "removed")
    context.log.info("%s rows %s in %s; backup: %s", f"{total:,}", done, db.location, backup or "none")
    if rows.get(ARCHIVE) and not config.restore:
        context.log.info("%s Parquet files of archived candles stay on disk", rows[ARCHIVE])
    shown = {"rows": total, "dry_run": config.only_shows, "backup": backup or "", "location": db.location}
    if rows:
        shown["tables"] = table_value([{"table": name, "rows": count} for name, count in rows.items()])
    context.add_output_metadata(shown)


@dg.job(
    name="rollback",
    description="Removes the schema, all rows or one provider's rows, or brings a backup back; a dry run unless its"
    " config confirms it with the environment's name. Like crypto-assets rollback.",
    executor_def=dg.in_process_executor,
)
def rollback() -> None:
    """One op; collect nothing while it runs."""
    rollback_database()


def _restored(database: Database, config: RollbackConfig) -> tuple[str | None, dict[str, int]]:
    if config.only_shows:
        return config.restore, {each.table: each.rows for each in backup_of(database, config.restore)}
    return config.restore, restore(database, config.restore)


def _removed(
    context: dg.OpExecutionContext, database: Database, config: RollbackConfig
) -> tuple[str | None, dict[str, int]]:
    if config.depth not in Depth.__members__.values():
        raise DatabaseError(f"{config.depth!r} is no depth; there are {', '.join(Depth)}.")
    chosen = Depth(config.depth), config.provider or None, config.tables, _moment(config.since)
    plan = plan_rollback(database, *chosen)
    for each in plan:
        context.log.info("%s: %s rows", each.table, f"{each.rows:,}")
    if config.only_shows:
        return None, {each.table: each.rows for each in plan}
    outcome = carry_out(database, *chosen)
    return outcome.backup, outcome.removed


def _moment(text: str) -> datetime | None:
    try:
        return to_datetime(parse_time(text)) if text else None
    except ValueError as error:
        raise DatabaseError(str(error)) from None
