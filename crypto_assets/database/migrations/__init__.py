"""Brings every database of an environment to a revision of the schema, and takes it back.

    migrate(database)                       # everything to the newest revision; creates what is missing
    migrate(database, revision="0001")      # back (or forth) to 0001
    current_revisions(database)             # {"crypto_meta": "0003", "cryptopair_1m_kdata": None, ...}

Here belongs the walk over the units (files of SQLite, schemas of a server). What a revision does is written in
`versions/`: frozen scripts that do not import the tables of today. alembic is loaded only where something has to be
changed. Called by `cli`, `orchestration` and tests.

A unit stands at a revision only when all of it is done. SQLite changes a file in one transaction; a server commits
each statement, and an interrupted revision is run again, leaving alone what is there (`operations`).
"""

from __future__ import annotations

import io
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crypto_assets.database.errors import DatabaseError
from crypto_assets.database.revisions import BASE, HEAD, REVISIONS
from crypto_assets.database.tables import META, TABLES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from alembic.config import Config
    from sqlalchemy import Connection, Table

    from crypto_assets.database.engines import Database

PARTITIONED = ("1m", "5m")
"""The intervals whose tables a server partitions by month unless told otherwise."""

_RECORDED_SINCE = "0003"
_IDENTIFIED_SINCE = "0002"


@dataclass(frozen=True)
class MigrationResult:
    """What became of one unit: its revision `before` and `after`, None where it has none."""

    name: str
    before: str | None
    after: str | None
    seconds: float = 0.0

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        return self.before != self.after


def migrate(
    database: Database,
    names: Iterable[str] | None = None,
    revision: str = "head",
    *,
    partitioned: Iterable[str] = PARTITIONED,
) -> list[MigrationResult]:
    """Upgrades or downgrades the units of `names` (tables or databases; all by default) to `revision`.

    `revision` is an id, `head` or `base`. Processes that start at once wait for each other. Downgrading deletes what
    the older revision has no place for, without a copy: `database.removal.downgrades` makes one. `partitioned` names
    the intervals whose tables a server partitions by month when it makes them. Raises EnvironmentMismatch before
    anything is touched, DatabaseError where the database cannot be used, ValueError for an unknown name or revision.
    """
    target = known_revision(revision)
    with database.migration_lock():
        plan = plan_migration(database, names, revision)
        results = []
        for planned in plan:
            started, clock = datetime.now(UTC), time.monotonic()
            if planned.changed:
                _run_scripts(database, planned, target, tuple(partitioned))
            result = MigrationResult(planned.name, planned.before, planned.after, time.monotonic() - clock)
            results.append(result)
            if planned.changed:
                _record(database, result, started)
        if META in {planned.name for planned in plan} and position(target) >= position(_IDENTIFIED_SINCE):
            _remember_environment(database)
    database.dispose()
    return results


def plan_migration(
    database: Database, names: Iterable[str] | None = None, revision: str = "head"
) -> list[MigrationResult]:
    """What `migrate` would do, unit by unit. Changes nothing; raises as it does."""
    target = known_revision(revision)
    chosen = database.units if names is None else dict.fromkeys(database.unit(name) for name in names)
    database.check_identity()
    planned = [
        MigrationResult(unit, database.revision(unit), target) for unit in sorted(chosen, key=database.units.index)
    ]
    for unit in planned:
        if unit.before is not None and unit.before not in REVISIONS:
            raise DatabaseError(
                f"The database {unit.name} in {database.location} stands at revision {unit.before}, which this version"
                " of crypto-assets does not know; use the version that made it, or a newer one."
            )
    goes_down = any(position(unit.before) > position(target) for unit in planned)
    # In the other direction then: what refers to another schema goes before it.
    return planned[::-1] if goes_down else planned


def migration_sql(
    database: Database,
    names: Iterable[str] | None = None,
    revision: str = "head",
    *,
    partitioned: Iterable[str] = PARTITIONED,
) -> str:
    """The SQL that `migrate` would run, for those who run it themselves. Changes nothing."""
    texts = []
    for planned in plan_migration(database, names, revision):
        if planned.changed:
            output = io.StringIO()
            _run_scripts(database, planned, known_revision(revision), tuple(partitioned), output)
            made = database.schema_sql(planned.name) if planned.before is None else ""
            texts += [
                f"-- {planned.name}: {planned.before or BASE} to {planned.after or BASE}",
                f"{made};\n" if made else "",
                output.getvalue(),
                _identity_sql(database) if planned.name == META and _gains_identity(planned) else "",
            ]
    return "\n".join(text for text in texts if text)


def current_revisions(database: Database) -> dict[str, str | None]:
    """The revision of every unit by name; None where there is nothing yet or it was never migrated."""
    return {unit: database.revision(unit) for unit in database.units}


def last_changes(database: Database) -> dict[str, dict[str, Any]]:
    """The newest record of each unit: `changed` (text, UTC), `version`, `seconds`; empty where none was kept."""
    if position(database.revision(META)) < position(_RECORDED_SINCE):
        return {}
    table = TABLES["crypto_schema_migration"]
    # At whatever revision the database stands: it is asked where it stands.
    with database.migrating(META) as connection:
        recorded = _in_schema(database, table.name)
        rows = connection.execute(recorded.select().order_by(recorded.c.started_at)).all()
    return {
        row.database: {
            "changed": f"{row.started_at:%Y-%m-%d %H:%M:%S}",
            "version": row.version,
            "seconds": round(row.seconds, 3),
        }
        for row in rows
    }


def known_revision(revision: str) -> str | None:
    """The id that `revision` (an id, head or base) means; None for base. Raises ValueError for an unknown one."""
    if revision == BASE:
        return None
    if revision in ("head", HEAD):
        return HEAD
    if revision not in REVISIONS:
        raise ValueError(f"{revision!r} is no revision; there are {', '.join(REVISIONS)}, head and base")
    return revision


def position(revision: str | None) -> int:
    """Where a revision comes in their order; -1 for none."""
    return -1 if revision is None else REVISIONS.index(revision)


def _run_scripts(
    database: Database,
    planned: MigrationResult,
    target: str | None,
    partitioned: tuple[str, ...],
    output: io.StringIO | None = None,
) -> None:
    from alembic import command  # noqa: PLC0415 - slow to import
    from alembic.config import Config  # noqa: PLC0415

    config = Config(output_buffer=output)
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    options: dict[str, Any] = {
        "unit": planned.name,
        "schemas": dict(database.schemas),
        "partitioned": partitioned,
        "stored": database.stores_generated_columns(),
        "version_table_schema": database.schemas.get(planned.name),
        # SQLite's transaction is opened and committed by `migrating`, and a server's statements are their own.
        "transactional_ddl": database.engine == "sqlite",
    }
    upgrades = position(target) > position(planned.before)
    step = command.upgrade if upgrades else command.downgrade
    if output is not None:
        # With names for parameters a dialect leaves the percent signs of its texts alone.
        config.attributes.update(
            options=options | {"dialect_name": database.engine, "dialect_opts": {"paramstyle": "named"}}
        )
        step(config, f"{planned.before or BASE}:{target or BASE}", sql=True)
        return
    with database.migrating(planned.name) as connection:
        if upgrades or database.engine == "sqlite":
            config.attributes.update(options=options | {"connection": connection})
            step(config, target or BASE)
        else:
            _downgrade_on_server(config, connection, options, planned)


def _downgrade_on_server(
    config: Config, connection: Connection, options: dict[str, Any], planned: MigrationResult
) -> None:
    """Takes revisions back, noting each as gone before it is: upgrading puts back what an interruption took."""
    from alembic.migration import MigrationContext  # noqa: PLC0415
    from alembic.operations import Operations  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    scripts = ScriptDirectory.from_config(config)
    context = MigrationContext.configure(connection, opts=options)
    for number in range(position(planned.before), position(planned.after), -1):
        context.stamp(scripts, REVISIONS[number - 1] if number else BASE)
        with Operations.context(context):
            scripts.get_revision(REVISIONS[number]).module.downgrade()


def _gains_identity(planned: MigrationResult) -> bool:
    return position(planned.before) < position(_IDENTIFIED_SINCE) <= position(planned.after)


def _remember_environment(database: Database) -> None:
    """Notes whose data this is, unless it is known: also where a run before was interrupted between the two."""
    with database.migrating(META) as connection:
        table = _in_schema(database, "crypto_database_identity")
        if connection.execute(table.select()).first() is None:
            connection.execute(table.insert(), {"environment": database.environment, "created_at": datetime.now(UTC)})


def _identity_sql(database: Database) -> str:
    from sqlalchemy import exists, literal, select  # noqa: PLC0415 - only where SQL is printed
    from sqlalchemy.engine import make_url  # noqa: PLC0415

    table = _in_schema(database, "crypto_database_identity")
    values = literal(database.environment), literal(datetime.now(UTC), table.c.created_at.type)
    # Known already where the database was at this revision before.
    unless_known = table.insert().from_select(list(table.c), select(*values).where(~exists(select(table))))
    kind: Any = make_url(f"{database.engine}://").get_dialect()
    dialect = kind(paramstyle="named")
    compiled = unless_known.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
    return f"{compiled};\n"


def _record(database: Database, result: MigrationResult, started: datetime) -> None:
    """Notes a finished change in `crypto_schema_migration`, where that is (still) there."""
    if position(database.revision(META)) < position(_RECORDED_SINCE):
        return
    table = _in_schema(database, "crypto_schema_migration")
    with database.migrating(META) as connection:
        connection.execute(
            table.insert(),
            {
                "id": uuid.uuid4().hex,
                "database": result.name,
                "revision_before": result.before,
                "revision_after": result.after,
                "version": version("crypto-assets"),
                "started_at": started,
                "seconds": result.seconds,
            },
        )


def _in_schema(database: Database, name: str) -> Table:
    """A table of `crypto_meta` under the name that a connection of `migrating` knows it by."""
    from sqlalchemy import MetaData  # noqa: PLC0415 - only where something has changed

    schema: Any = database.schemas.get(META)
    return TABLES[name].to_metadata(MetaData(), schema=schema)
