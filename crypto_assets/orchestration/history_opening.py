"""Opening Dagster's history in SQLite: one process at a time, and a sentence where it is broken.

Dagster makes the files of a new history when it is first opened, and processes that do so at once leave what none can
open again (dagster-io/dagster#27390). The classes here are named in dagster.yaml, so that Dagster's own commands wait
for each other, too; what they open is Dagster's. Called by `batched_event_log` and by `cli.runs` as well.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from alembic.util import CommandError
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.schedules import SqliteScheduleStorage
from dagster._serdes import ConfigurableClassData
from filelock import FileLock, Timeout
from sqlalchemy.exc import DBAPIError

LOCK_SECONDS = 300
"""Longer than making a history takes on a slow disk."""

_HALF_MADE = ("already exists", "no such table", "no such column", "not a database", "malformed", "UNIQUE constraint")


class HistoryUnusable(dg.DagsterError):
    """Dagster's history cannot be opened; the message is a sentence that says what to do."""


@contextmanager
def opening(directory: Path) -> Iterator[None]:
    """Held while a history in `directory` is opened; the directory is made. Raises HistoryUnusable."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with FileLock(directory / ".opening.lock", timeout=LOCK_SECONDS):
            yield
    except Timeout as error:
        raise HistoryUnusable(
            f"Dagster's history in {directory.absolute()} has been opened by another process for {LOCK_SECONDS} s;"
            " end that one, and run this again."
        ) from error
    except (CommandError, DBAPIError, sqlite3.DatabaseError, OSError) as error:
        reason = str(getattr(error, "orig", error))
        raise HistoryUnusable(
            f"Dagster's history in {directory.absolute()} cannot be opened: {reason}.{_cure(error, reason, directory)}"
        ) from error


def _cure(error: Exception, reason: str, directory: Path) -> str:
    if not isinstance(error, CommandError) and not any(words in reason for words in _HALF_MADE):
        return ""
    return (
        " It is half made or damaged: several processes made it at once, or one was stopped while it did. Delete"
        f" {directory.absolute()}, which holds the record of past runs and no candle, and run this again."
    )


class RunsOpenedInTurn(SqliteRunStorage):
    """Dagster's own storage of runs, opened by one process at a time."""

    @classmethod
    def from_config_value(  # type: ignore[override] # what is made is Dagster's own
        cls, inst_data: ConfigurableClassData | None, config_value: Any
    ) -> SqliteRunStorage:
        """Dagster's storage at the `base_dir` of dagster.yaml. Raises HistoryUnusable."""
        with opening(Path(config_value["base_dir"])):
            return SqliteRunStorage.from_config_value(inst_data, config_value)


class SchedulesOpenedInTurn(SqliteScheduleStorage):
    """Dagster's own storage of schedules and sensors, opened by one process at a time."""

    @classmethod
    def from_config_value(  # type: ignore[override] # what is made is Dagster's own
        cls, inst_data: ConfigurableClassData | None, config_value: Any
    ) -> SqliteScheduleStorage:
        """Dagster's storage at the `base_dir` of dagster.yaml. Raises HistoryUnusable."""
        with opening(Path(config_value["base_dir"])):
            return SqliteScheduleStorage.from_config_value(inst_data, config_value)
