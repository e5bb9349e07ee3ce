"""Dagster's history in SQLite, with an event, or the events of a batch, in one transaction of each file.

Dagster hands over the events of a range of partitions together where DAGSTER_EVENT_BATCH_SIZE says so, and its own
SQLite storage then stores them one by one, each in up to five transactions. Here belongs when a file is opened and
committed; what is written stays Dagster's. Files and tables are those of `SqliteEventLogStorage`, so that either goes
on where the other stopped.
Named in dagster.yaml, and made by Dagster in every process that opens the history.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, NullPool, create_engine

from crypto_assets.orchestration.history_opening import opening

BATCH_SIZE = 200
"""Events of a transaction. So many take a third of a second, for which others who write wait; more gain nothing."""

_INDEXED = ASSET_EVENTS | ASSET_CHECK_EVENTS
"""Events that Dagster also writes to the index of all runs, in up to four steps."""

_BUSY_SECONDS = 30
"""As Dagster waits for others who write."""

_ENGINES = 8
"""Of so many files the compiled statements are kept. A process writes to the index and to the run it is in."""


def assumptions_hold() -> bool:
    """Whether Dagster opens its files through the one door, and with the one lock, that are widened here."""
    door = getattr(SqliteEventLogStorage._connect, "__wrapped__", None)  # noqa: SLF001 - what is asked about
    if door is None or door.__code__.co_varnames[: door.__code__.co_argcount] != ("self", "shard"):
        return False
    doors = (SqliteEventLogStorage.run_connection, SqliteEventLogStorage.index_connection)
    return "_db_lock" in door.__code__.co_names and all("_connect" in each.__code__.co_names for each in doors)


class BatchedSqliteEventLog(SqliteEventLogStorage):
    """`SqliteEventLogStorage` that commits an event, or a batch, once for the run's file and once for the index.

    A process that dies loses the batch it was storing, at most. Events of a run's status are in no batch.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._turn = threading.RLock()
        self._held: dict[str, Connection] = {}
        self._tables_there: set[str] = set()
        self._engine = lru_cache(_ENGINES)(self._make_engine)
        super().__init__(base_dir, inst_data)
        # Dagster takes this lock for every connection: the thread that stores a batch takes it for the second, too.
        self._db_lock = threading.RLock()  # type: ignore[assignment] # used as a context manager alone

    @classmethod
    def from_config_value(  # type: ignore[override] # Dagster's own class is the way out
        cls, inst_data: ConfigurableClassData | None, config_value: Any
    ) -> SqliteEventLogStorage:
        """The storage that dagster.yaml names; Dagster's own where it is not built as this class takes for granted.

        Has Dagster hand over batches in this process and those it starts, however they are started; a number that the
        user sets is kept. Raises HistoryUnusable.
        """
        with opening(Path(config_value["base_dir"])):
            if not assumptions_hold():
                return SqliteEventLogStorage(inst_data=inst_data, **config_value)
            os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(BATCH_SIZE))
            return cls(inst_data=inst_data, **config_value)

    def store_event(self, event: EventLogEntry) -> None:
        """Stores the event, in its run's file and where Dagster wants it in the index of all runs."""
        with self._turn, ExitStack() as stack:
            # In a batch, both files are held already.
            if not self._held and event.is_dagster_event and event.dagster_event_type in _INDEXED:
                stack.enter_context(self._together([event.run_id]))
            super().store_event(event)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Stores the events in order, all of them or none of them."""
        with self._together(event.run_id for event in events):
            super().store_event_batch(events)

    @contextmanager
    def _together(self, run_ids: Iterable[str]) -> Iterator[None]:
        """Holds the index and these runs' files open, each in one transaction."""
        with self._turn, ExitStack() as stack:
            # The run's own file is committed first, as Dagster does for each event.
            for shard in (INDEX_SHARD_NAME, *dict.fromkeys(run_ids)):
                self._held[shard] = stack.enter_context(self._connect(shard))
                stack.callback(self._held.pop, shard)
            yield

    def has_table(self, table_name: str) -> bool:
        """Whether the index has this table; asked of the file until it has: no revision of Dagster drops one."""
        if table_name not in self._tables_there and super().has_table(table_name):
            self._tables_there.add(table_name)
        return table_name in self._tables_there

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        """A connection with a transaction of its own, or where a file is held open that transaction.

        Dagster makes an engine for each connection, which compiles its statements anew; here a file keeps its engine.
        """
        with self._turn:
            if shard in self._held:
                yield self._held[shard]
            elif shard in self._initialized_dbs:
                with self._engine(shard).begin() as connection:
                    yield connection
            else:
                with super()._connect(shard) as connection:  # makes the file
                    yield connection

    def _make_engine(self, shard: str) -> Engine:
        """What Dagster makes for each connection: it keeps no file open."""
        url = self.conn_string_for_shard(shard)
        return create_engine(url, poolclass=NullPool, connect_args={"timeout": _BUSY_SECONDS})
