"""One SQLite file: how it is opened, attached, and told from another of the same name.

Which files there are belongs to `database.engines.sqlite`. Called by that module and by `database.care`.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sqlalchemy import Connection, Engine, event

from crypto_assets.database.engines.base import BUSY_TIMEOUT_SECONDS
from crypto_assets.database.errors import DatabaseError

_SENTENCES = {
    "database or disk is full": "The disk of {place} is full; make room and run this again.",
    "attempt to write a readonly database": "{where} is read-only; change the rights of its files and directory.",
    "unable to open database": "{where} cannot be opened; check that the directory is there and can be written.",
    "disk I/O error": "{where} cannot be read or written (disk I/O error); check whether the disk is full or damaged.",
    "is locked": f"Another process has been using {{place}} for {BUSY_TIMEOUT_SECONDS} seconds; try again.",
}


def open_file(path: Path, *, create: bool = False) -> sqlite3.Connection:
    """A connection to one file with our settings: WAL, 30 s of patience, foreign keys, no implicit transactions.

    Raises DatabaseError where it cannot be opened.
    """
    try:
        connection = sqlite3.connect(
            f"{path.as_uri()}?mode={'rwc' if create else 'rw'}",
            uri=True,
            timeout=BUSY_TIMEOUT_SECONDS,
            isolation_level=None,
            check_same_thread=False,  # the pool hands a connection to one thread at a time
        )
    except sqlite3.DatabaseError as error:
        raise unreadable(path, error) from error
    try:
        if create:
            connection.execute(
                "PRAGMA page_size = 8192"
            )  # heeded by an empty file only; rows cost a tenth less to write
        # Asked first: setting it needs a lock, and a file remembers it.
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
    except sqlite3.DatabaseError as error:
        connection.close()
        raise unreadable(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def attach(connection: sqlite3.Connection, schema: str, path: Path) -> None:
    """Attaches a file to a connection under a schema's name."""
    try:
        connection.execute(f'ATTACH ? AS "{schema}"', (f"{path.as_uri()}?mode=rw",))
        # Every file has its own, and remembers the one.
        if connection.execute(f'PRAGMA "{schema}".journal_mode').fetchone()[0] != "wal":
            connection.execute(f'PRAGMA "{schema}".journal_mode = WAL')
        connection.execute(f'PRAGMA "{schema}".synchronous = NORMAL')
    except sqlite3.DatabaseError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: BaseException) -> BaseException:
    """What a user can mend, as a sentence; `error` itself where that is nothing."""
    for part, sentence in _SENTENCES.items():
        if part in str(error):
            return DatabaseError(sentence.format(where=f"The database at {path}", place=f"the database at {path}"))
    # Of this very type are a damaged file and one that is no database.
    if type(error) is sqlite3.DatabaseError:
        return DatabaseError(f"{path} cannot be read ({error}); restore it from a backup.")
    return error


def use_explicit_transactions(engine: Engine, statement: str = "BEGIN") -> None:
    """Makes SQLAlchemy begin transactions itself: sqlite3's own would end them before DDL and skip them for reads."""

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(statement)


def file_revision(connection: sqlite3.Connection, schema: str) -> str | None:
    """The revision that a file attached as `schema` stands at; None where it was never migrated."""
    if not has_table(connection, schema, "alembic_version"):
        return None
    row = connection.execute(f'SELECT version_num FROM "{schema}".alembic_version').fetchone()
    return None if row is None else str(row[0])


def has_table(connection: sqlite3.Connection, schema: str, table: str) -> bool:
    """Whether a file attached as `schema` has a table of that name."""
    query = f"SELECT 1 FROM \"{schema}\".sqlite_master WHERE type = 'table' AND name = ?"
    return connection.execute(query, (table,)).fetchone() is not None


def file_ids(paths: list[Path]) -> list[tuple[int, int] | None]:
    """What tells files from others that had or will have their names; None where there is none."""
    ids: list[tuple[int, int] | None] = []
    for path in paths:
        try:
            status = path.stat()
            ids.append((status.st_dev, status.st_ino))
        except FileNotFoundError:
            ids.append(None)
    return ids
