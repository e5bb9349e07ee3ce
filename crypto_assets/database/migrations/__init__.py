"""Brings every file of a database to a revision of the schema, and takes it back.

    migrate(database)                       # everything to the newest revision; creates what is missing
    migrate(database, revision="0001")      # back (or forth) to 0001
    current_revisions(database)             # {"crypto_meta": "0002", "cryptopair_1m_kdata": None, ...}

Here belongs the walk over the files. What a revision does is written in `versions/`: frozen scripts that do not import
the tables of today. alembic is loaded only where a file has to be changed. Called by `cli`, `orchestration` and tests.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from crypto_assets.database.engines import Database, open_file, use_explicit_transactions
from crypto_assets.database.errors import DatabaseError
from crypto_assets.database.revisions import BASE, HEAD, REVISIONS
from crypto_assets.database.tables import META, PHYSICAL_DATABASES, physical_database

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

LOCK_TIMEOUT_SECONDS = 300.0


@dataclass(frozen=True)
class MigrationResult:
    """What became of one database: its revision `before` and `after`, None where it has none."""

    name: str
    path: Path
    before: str | None
    after: str | None

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        return self.before != self.after


def migrate(database: Database, names: Iterable[str] | None = None, revision: str = "head") -> list[MigrationResult]:
    """Upgrades or downgrades the databases of `names` (tables or databases; all by default) to `revision`.

    `revision` is an id, `head` or `base`. Each file is changed in one transaction or not at all; processes that start
    at once wait for each other. Downgrading deletes what the older revision has no place for. Raises
    EnvironmentMismatch before anything is touched, DatabaseError where the directory cannot be used, ValueError for an
    unknown name or revision.
    """
    from filelock import FileLock  # noqa: PLC0415 - readers of a migrated database never need it

    target = _known_revision(revision)
    chosen = PHYSICAL_DATABASES if names is None else dict.fromkeys(physical_database(name) for name in names)
    try:
        (database.directory / database.provider).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatabaseError(f"The directory {database.directory} cannot be used: {error.strerror}.") from error
    with FileLock(database.directory / ".migrate.lock", timeout=LOCK_TIMEOUT_SECONDS):
        database.check_identity()
        results = [_migrate_file(database, name, target) for name in sorted(chosen, key=PHYSICAL_DATABASES.index)]
    database.dispose()
    return results


def current_revisions(database: Database) -> dict[str, str | None]:
    """The revision of every database by name; None where there is no file yet or it was never migrated."""
    return {name: _revision(path) for name, path in database.files().items()}


def _known_revision(revision: str) -> str | None:
    if revision == BASE:
        return None
    if revision in ("head", HEAD):
        return HEAD
    if revision not in REVISIONS:
        raise ValueError(f"{revision!r} is no revision; there are {', '.join(REVISIONS)}, head and base")
    return revision


def _revision(path: Path) -> str | None:
    if not path.exists():
        return None
    with closing(open_file(path)) as connection:
        has_version = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'alembic_version'"
        if connection.execute(has_version).fetchone() is None:
            return None
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(row[0]) if row else None


def _migrate_file(database: Database, name: str, target: str | None) -> MigrationResult:
    path = database.path(name)
    before = _revision(path)
    if before is not None and before not in REVISIONS:
        raise DatabaseError(
            f"The database at {path} stands at revision {before}, which this version of crypto-assets does not know;"
            " use the version that made it."
        )
    if before != target:
        _run_scripts(database, name, before, target)
    return MigrationResult(name, path, before, target)


def _run_scripts(database: Database, name: str, before: str | None, target: str | None) -> None:
    from alembic import command  # noqa: PLC0415 - slow to import
    from alembic.config import Config  # noqa: PLC0415
    from sqlalchemy import create_engine  # noqa: PLC0415
    from sqlalchemy.pool import NullPool  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    path = database.path(name)
    engine = create_engine("sqlite://", creator=lambda: open_file(path, create=True), poolclass=NullPool)
    use_explicit_transactions(engine, "BEGIN IMMEDIATE")
    position = _position(before)
    with engine.begin() as connection:
        config.attributes.update(connection=connection, database=name)
        if _position(target) > position:
            command.upgrade(config, target or BASE)
        else:
            command.downgrade(config, target or BASE)
        if name == META and target == HEAD:
            _remember_environment(connection, database.environment)
    engine.dispose()


def _position(revision: str | None) -> int:
    return -1 if revision is None else REVISIONS.index(revision)


def _remember_environment(connection: Connection, environment: str) -> None:
    if connection.exec_driver_sql("SELECT 1 FROM crypto_database_identity").first() is None:
        now = datetime.now(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
        connection.exec_driver_sql("INSERT INTO crypto_database_identity VALUES (?, ?)", (environment, now))
