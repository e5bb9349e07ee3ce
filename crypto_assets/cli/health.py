"""What `crypto-assets health` looks at: identity, revisions, tables. Reads the database only. Called by the command."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from crypto_assets.database.engines import Database, open_database
from crypto_assets.database.errors import DatabaseError
from crypto_assets.database.migrations import current_revisions
from crypto_assets.database.revisions import HEAD
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.entities import KDATA_TABLES
from crypto_assets.settings import Settings


@dataclass(frozen=True)
class Vital:
    """One thing looked at: what, whether it is as it should be, and its figure."""

    what: str
    passed: bool
    figure: str

    def as_dict(self) -> dict[str, object]:
        """The vital as a row of the report."""
        return {"what": self.what, "passed": self.passed, "figure": self.figure}


def examine(settings: Settings) -> list[Vital]:
    """The vitals of the environment's database; one that cannot be read fails instead of raising."""
    database = open_database(settings.database_url, settings.environment)
    try:
        database.check_identity()
    except DatabaseError as error:
        return [Vital("database", passed=False, figure=str(error))]
    vitals = [Vital("database", passed=True, figure=f"{settings.environment.value} at {database.location}")]
    vitals.append(_schema(database))
    return vitals + [
        _readable(database, name) for name in ("crypto_asset", "crypto_pair", "crypto_perp", *KDATA_TABLES)
    ]


def _schema(database: Database) -> Vital:
    try:
        revisions = current_revisions(database)
    except DatabaseError as error:
        return Vital("schema", passed=False, figure=str(error))
    behind = sorted(name for name, revision in revisions.items() if revision != HEAD)
    figure = f"not at {HEAD}: {', '.join(behind)}" if behind else f"{HEAD} in {len(revisions)} databases"
    return Vital("schema", not behind, figure)


def _readable(database: Database, name: str) -> Vital:
    table = TABLES[name]
    try:
        with database.connect(name) as connection:
            rows = connection.scalar(select(func.count()).select_from(table)) or 0
    except (DatabaseError, SQLAlchemyError) as error:
        return Vital(name, passed=False, figure=str(error).splitlines()[0])
    return Vital(name, passed=True, figure=f"{rows:,} rows")
