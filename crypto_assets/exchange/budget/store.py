"""Where the ledgers are kept, so that every process of this machine spends from the same one.

Here belongs that one at a time changes a ledger, and that a change is kept. What a change is belongs to `account`. The
store that several machines share is in `collect.shared_budget`: this package knows no database server. Made by
`exchange.<venue>`.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Protocol, TypeVar

from crypto_assets.exchange.budget.account import FORMAT, Ledger

_T = TypeVar("_T")

FILE_NAME = f"weight-{FORMAT}.db"

# A transaction takes 0.05 ms. Who holds the file longer than this is stopped or stuck.
_LOCKED_S = 5.0

_log = logging.getLogger(__name__)


class LedgerStore(Protocol):
    """Ledgers by host. For any number of threads."""

    def change(self, host: str, apply: Callable[[Ledger], _T]) -> _T:
        """What `apply` returns for the host's ledger, which nobody else has meanwhile; what it changed is kept.

        `apply` may be called again on another ledger if this one could not be kept.
        """

    def close(self) -> None:
        """Give files and connections back; the store can be used again afterwards."""


class OwnStore:
    """Ledgers in memory: for one process, or for a test."""

    def __init__(self) -> None:
        self._ledgers: dict[str, Ledger] = {}
        self._lock = threading.Lock()

    def change(self, host: str, apply: Callable[[Ledger], _T]) -> _T:
        """See `LedgerStore`."""
        with self._lock:
            return apply(self._ledgers.setdefault(host, Ledger()))

    def close(self) -> None:
        """See `LedgerStore`."""


class FileStore:
    """Ledgers in a SQLite file in `directory`, made when first needed, for all processes that name the same one.

    Raises sqlite3.Error, OSError or ValueError when the file cannot be used.
    """

    def __init__(self, directory: Path, *, locked_s: float = _LOCKED_S) -> None:
        self.path = directory / FILE_NAME
        self._locked_s = locked_s
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._opened: tuple[int, int, int] | None = None

    def change(self, host: str, apply: Callable[[Ledger], _T]) -> _T:
        """See `LedgerStore`."""
        with self._lock:
            connection = self._connected()
            connection.execute("BEGIN IMMEDIATE")
            try:
                row = connection.execute("SELECT state FROM ledger WHERE host = ?", (host,)).fetchone()
                ledger = Ledger.from_json(row[0]) if row else Ledger()
                result = apply(ledger)
                state = ledger.to_json()
                if row is None or state != row[0]:  # who has to wait changes nothing
                    connection.execute("REPLACE INTO ledger VALUES (?, ?)", (host, state))
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
            return result

    def _connected(self) -> sqlite3.Connection:
        """The connection, a new one if the file was deleted or this process forked: the old one sees another file."""
        if self._connection is None or self._identity() != self._opened:
            if self._connection is not None:
                self._connection.close()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                self.path, timeout=self._locked_s, isolation_level=None, check_same_thread=False
            )
            # No write-ahead log: its shared-memory file would outlive a deleted database and mislead the next one.
            # Nothing is synced: after a power failure these figures are worth nothing anyway.
            self._connection.execute("PRAGMA journal_mode = PERSIST")
            self._connection.execute("PRAGMA synchronous = OFF")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS ledger (host TEXT PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID"
            )
            self._opened = self._identity()
        return self._connection

    def _identity(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self.path)  # noqa: PTH116 - a third of Path.stat's time, on every request
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino, os.getpid()

    def close(self) -> None:
        """See `LedgerStore`."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


class SharedStore:
    """The file of `directory`; when it cannot be used, a warning, and ledgers of this store's own from then on."""

    def __init__(self, directory: Path, *, locked_s: float = _LOCKED_S) -> None:
        self._file: FileStore | None = FileStore(directory, locked_s=locked_s)
        self._own = OwnStore()

    def change(self, host: str, apply: Callable[[Ledger], _T]) -> _T:
        """See `LedgerStore`. Never fails because of the file."""
        file = self._file
        if file is not None:
            try:
                return file.change(host, apply)
            except (sqlite3.Error, OSError, ValueError) as error:
                self._file = None
                with suppress(sqlite3.Error):
                    file.close()
                _warn(
                    f"the request budget is not shared with other processes, because {file.path} cannot be used "
                    f"({error}); delete it if it is damaged, or set CRYPTO_ASSETS_STATE_DIRECTORY to a directory that "
                    "can be written"
                )
        return self._own.change(host, apply)

    def close(self) -> None:
        """See `LedgerStore`."""
        if self._file is not None:
            self._file.close()


@cache
def _warn(message: str) -> None:
    """Once a process: every run opens a store of its own."""
    _log.warning(message)
