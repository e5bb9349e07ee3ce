"""Downgrades: the schema back to an older revision, after the loss was listed and the backup made.

    plan_downgrade(database, "0001")  # [PlannedLoss("crypto_quality", "crypto_kdata_gap", (), 12), ...]
    downgrade(database, "0001")       # DowngradeOutcome(backup, results)

How a schema is changed belongs to `migrations`, the copies to `backups`, asking the user to `cli`, which calls this.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import column, func, inspect, select, table

from crypto_assets.database.errors import DatabaseError
from crypto_assets.database.migrations import MigrationResult, migrate, migration_sql, plan_migration, position
from crypto_assets.database.removal.backups import back_up, naming_backup
from crypto_assets.database.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crypto_assets.database.engines import Database

ARCHIVE = "crypto_kdata_archive"
_NAME = r'(?:\S+\.)?["`]?(\w+)["`]?'
_DROPPED = re.compile(
    rf'^(?:DROP TABLE (?:IF EXISTS )?{_NAME}|ALTER TABLE {_NAME} DROP COLUMN ["`]?(\w+)["`]?);', re.MULTILINE
)


@dataclass(frozen=True)
class PlannedLoss:
    """What one table of a unit loses: these columns, or all of itself where none is named. `rows` is what it holds."""

    unit: str
    table: str
    columns: tuple[str, ...]
    rows: int


@dataclass(frozen=True)
class DowngradeOutcome:
    """What was done: the stamp of the backup (None where there was nothing to copy), and what became of each unit."""

    backup: str | None
    results: list[MigrationResult]


def goes_back(planned: Iterable[MigrationResult]) -> bool:
    """Whether a migration takes a unit to an older revision."""
    return any(position(unit.before) > position(unit.after) for unit in planned)


def plan_downgrade(database: Database, revision: str) -> list[PlannedLoss]:
    """What going back to `revision` would delete, unit by unit; changes nothing.

    Read from the SQL that would be run. Raises as `plan_migration`, and DatabaseError where archived months would be
    forgotten: their candles would vanish from all queries.
    """
    losses = [
        loss
        for planned in plan_migration(database, revision=revision)
        if goes_back([planned])
        for loss in _losses(database, planned.name, revision)
    ]
    if any(loss.table == ARCHIVE and loss.rows for loss in losses):
        _refuse_to_forget(database, revision)
    return losses


def downgrade(database: Database, revision: str) -> DowngradeOutcome:
    """Copies the tables worth keeping, then migrates back to `revision`.

    Raises as `plan_downgrade` and `back_up`, with everything as it was; where migrating fails, the error names the
    copies.
    """
    plan_downgrade(database, revision)
    stamp = back_up(database)
    with naming_backup(stamp):
        return DowngradeOutcome(stamp, migrate(database, revision=revision))


def _losses(database: Database, unit: str, revision: str) -> list[PlannedLoss]:
    lost: dict[str, list[str]] = {}
    dropped = set()
    for whole, changed, name in _DROPPED.findall(migration_sql(database, [unit], revision)):
        lost.setdefault(whole or changed, []).append(name)
        dropped |= {whole} if whole else set()
    schema = database.schemas.get(unit)
    with database.migrating(unit) as connection:
        # What a run before was interrupted at is gone already.
        there = set(inspect(connection).get_table_names(schema))
        return [
            PlannedLoss(
                unit,
                name,
                () if name in dropped else tuple(columns),
                connection.scalar(select(func.count()).select_from(table(name, schema=schema))) or 0,
            )
            for name, columns in lost.items()
            if name in TABLES and name in there
        ]


def _refuse_to_forget(database: Database, revision: str) -> None:
    unit = database.unit(ARCHIVE)
    manifest = table(ARCHIVE, column("entity_id"), column("level"), schema=database.schemas.get(unit))
    with database.migrating(unit) as connection:
        archived = connection.execute(select(manifest.c.entity_id, manifest.c.level)).all()
    commands = sorted(
        {f"crypto-assets archive restore {row.entity_id.split('_')[0]}_{row.level}_kdata" for row in archived}
    )
    raise DatabaseError(
        f"{len(archived):,} months of candles are archived in {database.location}, of which revision {revision} knows"
        f" nothing; put them back first: {', '.join(commands)}."
    )
