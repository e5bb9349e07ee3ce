"""Backups: copies of the tables that no exchange can be asked for again, made before anything is removed.

    stamp = back_up(database)        # "20261122T231000Z", a time in UTC; None where there is nothing to copy
    list_backups(database)           # [StoredBackup("20261122T231000Z", "crypto_kdata_gap", 12), ...]
    restore(database, stamp)         # {"crypto_kdata_gap": 12, ...}

Here belong the four tables' copies, `<table>_backup_<stamp>`, in a place that no rollback and no migration touches: on
SQLite a file `{provider}_crypto_backup.db`, on a server the schema `crypto_backup`. Rows never pass through Python.
What is removed afterwards is decided in `rollback`. Called by that
module, by `downgrades`, `cli.rollback` and `orchestration.jobs.rollback`.

Beside the four the environment is copied, so that no backup is brought back into another environment's database.
"""

from __future__ import annotations

import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import column, delete, func, insert, inspect, select, table
from sqlalchemy.exc import DBAPIError

from crypto_assets.database.engines.base import BACKUP
from crypto_assets.database.errors import DatabaseError, EnvironmentMismatch
from crypto_assets.database.tables import TABLES, key_columns, logical_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from crypto_assets.database.engines import Database

KEPT = ("crypto_data_quality_log", "crypto_price_consistency", "crypto_kdata_gap", "crypto_operational_metrics")
"""The tables that are copied before anything is removed: no exchange can be asked for them again."""

_IDENTITY = "crypto_database_identity"
_NAME = re.compile(r"(?P<table>crypto_\w+)_backup_(?P<stamp>\d{8}T\d{6}Z)", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class StoredBackup:
    """One table's copy: when it was made (UTC, as a stamp), of what, and how many rows it holds."""

    stamp: str
    table: str
    rows: int


def back_up(database: Database) -> str | None:
    """Copies the tables of KEPT that are there, at whatever revision, empty ones too; the stamp of the copies.

    None if none of them is there. Each copy holds one moment; what is written after it is in no copy. Raises
    DatabaseError where that fails (a full disk, a missing right), and then leaves no copy of this attempt behind.
    """
    units: dict[str, list[str]] = {}
    for name in (_IDENTITY, *KEPT):
        units.setdefault(database.unit(logical_database(name)), []).append(name)
    units = {unit: names for unit, names in units.items() if database.revision(unit) is not None}
    # One at a time, or two would choose the same stamp.
    with database.migration_lock():
        stamp = _free_stamp(database)
        copied: list[str] = []
        try:
            for unit, names in units.items():
                with database.backups(unit) as connection:
                    copied += [name for name in names if _copy(connection, database, name, stamp)]
        except BaseException:
            # The first error is the one that is raised, also where removing the copies fails as well.
            with suppress(DatabaseError, DBAPIError):
                _drop(database, stamp)
            raise
        if not set(copied) & set(KEPT):
            _drop(database, stamp)
            return None
        return stamp


@contextmanager
def naming_backup(stamp: str | None) -> Iterator[None]:
    """What is removed after `back_up`: a DatabaseError in between also says which copies there are."""
    try:
        yield
    except DatabaseError as error:
        if stamp is None:
            raise
        raise DatabaseError(
            f"{error} Backup {stamp} was made before; crypto-assets rollback --restore {stamp} brings it back."
        ) from error


def list_backups(database: Database) -> list[StoredBackup]:
    """Every copy there is, oldest first. Makes nothing; needs no migrated database.

    Raises EnvironmentMismatch where another environment's data is stored.
    """
    database.check_identity()
    with database.backups() as connection:
        found = _copies(connection, database)
        rows = {
            (stamp, name): connection.scalar(
                select(func.count()).select_from(table(copy, schema=_schema(database, BACKUP)))
            )
            for (stamp, name), copy in found.items()
            if name in KEPT
        }
    return [StoredBackup(*each, rows[each] or 0) for each in sorted(rows)]


def backup_of(database: Database, stamp: str) -> list[StoredBackup]:
    """The copies of one stamp. Raises DatabaseError with the stamps there are where it is none of them."""
    stored = list_backups(database)
    chosen = [each for each in stored if each.stamp == stamp.upper()]
    if not chosen:
        known = ", ".join(dict.fromkeys(each.stamp for each in stored))
        raise DatabaseError(
            f"There is no backup {stamp!r} in {database.location}; " + (f"there are {known}." if known else "none is.")
        )
    return chosen


def restore(database: Database, stamp: str) -> dict[str, int]:
    """Brings the copies of a stamp back; the number of rows by table. One transaction for each table.

    Rows whose key is stored are replaced, missing ones inserted, all others left alone; columns that only the copy or
    only the table has are left out. The copies stay. Raises DatabaseError for an unknown stamp and where a table is not
    there, EnvironmentMismatch for another environment's, all of them before any row is written.
    """
    chosen = backup_of(database, stamp)
    _check_environment(database, chosen[0].stamp)
    for each in chosen:
        if database.revision(database.unit(logical_database(each.table))) is None:
            raise DatabaseError(f"{each.table} is not in {database.location}; run crypto-assets migrate first.")
    for each in chosen:
        _restore_table(database, each.table, each.stamp)
    return {each.table: each.rows for each in chosen}


def _restore_table(database: Database, name: str, stamp: str) -> None:
    schema = logical_database(name)
    with database.backups(database.unit(schema)) as connection:
        copy_name = _copies(connection, database)[stamp, name]
        stored = _columns(connection, database, schema, name)
        names = [each for each in _columns(connection, database, BACKUP, copy_name) if each in stored]
        target = table(name, *map(column, names), schema=_schema(database, schema))
        copy = table(copy_name, *map(column, names), schema=_schema(database, BACKUP))
        # By key on both sides: each of them has one column. SQLite cannot delete by a join, the others are slow
        # without one where the copy has no index.
        (key,) = key_columns(TABLES[name])
        joined = target.c[key] == copy.c[key]
        connection.execute(
            delete(target).where(target.c[key].in_(select(copy.c[key])) if database.engine == "sqlite" else joined)
        )
        connection.execute(insert(target).from_select(names, select(*copy.c)))


def _copy(connection: Connection, database: Database, name: str, stamp: str) -> bool:
    """Copies one table with its column types, without indexes; False if there is no such table."""
    schema = logical_database(name)
    if not inspect(connection).has_table(name, _schema(database, schema)):
        return False
    # The key is said to MySQL, many of whose servers take no table without one.
    key = f" (PRIMARY KEY ({key_columns(TABLES[name])[0]}))" if database.engine == "mysql" else ""
    copy = _quoted(connection, database, BACKUP, f"{name}_backup_{stamp}")
    source = _quoted(connection, database, schema, name)
    connection.exec_driver_sql(f"CREATE TABLE {copy}{key} AS SELECT * FROM {source}")
    return True


def _drop(database: Database, stamp: str) -> None:
    """Removes every copy of a stamp."""
    unit = next((each for each in database.units if database.revision(each) is not None), None)
    if unit is None:
        return
    with database.backups(unit) as connection:
        for (found, _), copy in _copies(connection, database).items():
            if found == stamp:
                connection.exec_driver_sql(f"DROP TABLE {_quoted(connection, database, BACKUP, copy)}")


def _check_environment(database: Database, stamp: str) -> None:
    """Refuses a backup of another environment; one made before databases had an identity is accepted."""
    with database.backups() as connection:
        copy = _copies(connection, database).get((stamp, _IDENTITY))
        if copy is None:
            return
        found = connection.scalar(
            select(column("environment")).select_from(table(copy, schema=_schema(database, BACKUP)))
        )
    if found is not None and found != database.environment:
        raise EnvironmentMismatch(
            f"The backup {stamp} holds {found} data and cannot be used for {database.environment}."
        )


def _free_stamp(database: Database) -> str:
    """This second, or the next one that no backup has: two rollbacks may happen within a second."""
    with database.backups() as connection:
        taken = {stamp for stamp, _ in _copies(connection, database)}
    moment = datetime.now(UTC)
    while (stamp := f"{moment:%Y%m%dT%H%M%SZ}") in taken:
        moment += timedelta(seconds=1)
    return stamp


def _copies(connection: Connection, database: Database) -> dict[tuple[str, str], str]:
    """The names of all copies by (stamp, table)."""
    # A new inspector each time: it remembers what it saw.
    inspector, schema = inspect(connection), _schema(database, BACKUP)
    if schema not in inspector.get_schema_names():
        return {}
    # Some servers write all names in lower case.
    matches = [match for name in inspector.get_table_names(schema) if (match := _NAME.fullmatch(name))]
    return {(match["stamp"].upper(), match["table"]): match[0] for match in matches}


def _columns(connection: Connection, database: Database, schema: str, name: str) -> list[str]:
    """The columns of a table, empty where there is none."""
    return [each["name"] for each in inspect(connection).get_columns(name, _schema(database, schema))]


def _quoted(connection: Connection, database: Database, schema: str, name: str) -> str:
    quote = connection.dialect.identifier_preparer.quote
    return f"{quote(_schema(database, schema))}.{quote(name)}"


def _schema(database: Database, name: str) -> str:
    """The schema as a server, or SQLite with its files attached, names it; nothing translates it here."""
    return database.schemas.get(name, name)
