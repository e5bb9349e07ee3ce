"""Old candles out of the database into Parquet files, and back: a row is deleted only where its copy was compared.

    archive_candles(database, settings.archive_directory, "cryptopair_1m_kdata", months)
    restore_candles(database, settings.archive_directory, "cryptopair_1m_kdata")

Which months may go is decided by `quality.retention`; how a file is written and checked belongs to
`database.archive.files`, how queries find its rows to `database.archive.reads`. One archive directory belongs to one
database. Called by `quality.retention` and `cli.archive`.

Why nothing is lost, wherever a process is killed or the power fails. On SQLite the manifest and the candles are two
files, which commit one after the other, so archiving takes two transactions, on every engine the same two:

1. In the first, which keeps other writers of the table away, the month is read, merged with what was archived of it
   before (stored rows win), written under a name of its own, forced to the disk, read back and compared bit for bit;
   then the manifest is written. Until this is committed the manifest knows nothing of the file, or names the older one,
   which is still there.
2. The manifest is forced to the disk. From here the rows are both stored and archived, which is harmless: the stored
   one wins everywhere, and archiving again goes on from here.
3. The second transaction makes sure that the manifest still names that file and that the rows still are those that were
   compared, and deletes them, or nothing: rows that were revised in between stay, and are merged the next time.
4. The file that was replaced is removed, with the writers' lock held. A file that another process was killed over
   stays: nothing tells it from one that a manifest was taken away from.

Restoring goes the same way back: all files are checked, the rows stored, forced to the disk, seen to be there, the
manifest's row removed, and last the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import Connection, Table, delete, select

from crypto_assets.database.archive.files import (
    Create,
    create_file,
    digest,
    read_file,
    same_rows,
    stored_columns,
    sync,
    to_frame,
    to_rows,
    write_file,
)
from crypto_assets.database.archive.manifest import (
    ArchivedMonth,
    archived_month,
    archived_months,
    forget_month,
    month_span,
    record_month,
)
from crypto_assets.database.engines import Database
from crypto_assets.database.engines.sqlite import SqliteDatabase
from crypto_assets.database.errors import DatabaseError
from crypto_assets.database.expressions import within
from crypto_assets.database.result_frames import read_frame
from crypto_assets.database.tables import QUALITY, TABLES
from crypto_assets.database.writes import upsert
from crypto_assets.domain.intervals import to_datetime, to_naive
from crypto_assets.domain.series import CandleTable
from crypto_assets.domain.spans import Span

if TYPE_CHECKING:
    import pyarrow as pa

Observe = Callable[[str], None]
"""Told the name of each step when it is done: written, compared, recorded, deleted; stored, removed."""


@dataclass(frozen=True)
class RestoreCounts:
    """What a restoration did: months put back, rows stored, and rows that were stored already and kept."""

    months: int = 0
    restored: int = 0
    kept: int = 0


def archive_candles(
    database: Database,
    directory: Path,
    candle_table: CandleTable,
    months: Iterable[tuple[str, str]],
    *,
    create: Create = create_file,
    observe: Observe = lambda _: None,
) -> list[ArchivedMonth]:
    """Moves the stored rows of each (entity id, month such as 2023-03-01) into files; the months that were moved.

    Months without stored rows are passed over, and so are rows that are revised meanwhile. Raises ValueError for what
    is no month, DatabaseError where a file cannot be written or read, or a candle cannot be archived;
    months before it stay archived, its own rows stay stored.
    """
    wanted = [(entity_id, month, month_span(month)) for entity_id, month in months]
    archive = _Archive(database, directory, candle_table, create, observe)
    moved = (archive.move(*each) for each in wanted)
    return [archived for archived in moved if archived is not None]


def restore_candles(
    database: Database,
    directory: Path,
    candle_table: CandleTable,
    entity_ids: Sequence[str] | None = None,
    start: int | None = None,
    end: int | None = None,
    *,
    observe: Observe = lambda _: None,
) -> RestoreCounts:
    """Puts archived months back into the table: those with a candle in [start, end), in milliseconds, each as a whole.

    Rows that are stored win. Raises DatabaseError for a file that is missing or damaged; then nothing was changed.
    """
    archive = _Archive(database, directory, candle_table, create_file, observe)
    bounds = {
        "start": None if start is None else to_naive(start),
        "end": None if end is None else to_naive(end - 1),
    }
    with database.connect(candle_table.name) as connection:
        found = archived_months(connection, candle_table, database.provider, entity_ids=entity_ids, **bounds)
    for month in found:
        archive.rows_of(month)
    restored = [archive.put_back(month) for month in found]
    return RestoreCounts(len(found), sum(restored), sum(month.rows for month in found) - sum(restored))


@dataclass(frozen=True)
class _Archive:
    """The archive of one candle table."""

    database: Database
    directory: Path
    candle_table: CandleTable
    create: Create
    observe: Observe

    @property
    def table(self) -> Table:
        return TABLES[self.candle_table.name]

    def move(self, entity_id: str, month: str, span: Span) -> ArchivedMonth | None:
        """Archives a month's stored rows and deletes them; None where there are none, or they changed meanwhile."""
        with self._writing() as connection:
            stored = self._stored_rows(connection, entity_id, span)
            if len(stored) == 0:
                return None
            before = archived_month(connection, self.candle_table, self.database.provider, entity_id, month)
            rows = stored if before is None else _merged(self.rows_of(before), stored)
            archived = self._write(entity_id, month, rows)
            # The only thing this transaction changes, so that on SQLite it is in one file, and there or not.
            record_month(connection, self.candle_table, self.database.provider, archived)
        self._settle(QUALITY)
        self.observe("recorded")
        with self._writing() as connection:
            if archived != archived_month(connection, self.candle_table, self.database.provider, entity_id, month):
                return None
            if not same_rows(stored, self._stored_rows(connection, entity_id, span)):
                return None
            deleted = connection.execute(delete(self.table).where(*within(self.table, entity_id, span))).rowcount
            if deleted != len(stored):
                raise DatabaseError(
                    f"Deleting the archived candles of {entity_id} for {month[:7]} met {deleted} rows, not the"
                    f" {len(stored)} that were archived; none was deleted."
                )
        self.observe("deleted")
        self._remove_file(entity_id, month, None if before is None else before.path)
        return archived

    def put_back(self, archived: ArchivedMonth) -> int:
        """Stores the rows of an archived month that are not stored, and ends its archive; how many it stored."""
        span = month_span(archived.month)
        rows = self.rows_of(archived)
        self.database.ensure_partitions(self.table.name, span)
        with self._writing() as connection:
            lacking = ~np.isin(_times(rows), self._stored_times(connection, archived.entity_id, span))
            upsert(connection, self.table, to_frame(rows.filter(lacking)))
        self._settle(self.table.name)
        self.observe("stored")
        with self._writing() as connection:
            known = archived_month(
                connection, self.candle_table, self.database.provider, archived.entity_id, archived.month
            )
            stored = self._stored_times(connection, archived.entity_id, span)
            if known != archived or not np.isin(_times(rows), stored).all():
                raise DatabaseError(
                    f"The candles of {archived.entity_id} for {archived.month[:7]} are being archived or restored by"
                    " another process; try again when it is done."
                )
            forget_month(connection, self.candle_table, self.database.provider, archived)
        self._settle(QUALITY)
        self.observe("removed")
        self._remove_file(archived.entity_id, archived.month, archived.path)
        return int(lacking.sum())

    def rows_of(self, archived: ArchivedMonth) -> pa.Table:
        """The rows in an archived month's file. Raises DatabaseError for one that is missing or damaged."""
        return read_file(self.directory, archived.path, self.table, archived.digest, archived.month)

    def _writing(self) -> Any:
        return self.database.begin(self.table.name, also=[QUALITY])

    def _write(self, entity_id: str, month: str, rows: pa.Table) -> ArchivedMonth:
        """Writes the month's file, reads it back from the disk and compares."""
        path = write_file(self.directory, self._stem(entity_id, month), rows, self.create)
        self.observe("written")
        summed = digest(rows)
        if not same_rows(rows, read_file(self.directory, path, self.table, summed, month)):
            raise DatabaseError(f"The archive file {self.directory / path} does not hold what was written to it.")
        self.observe("compared")
        times = _times(rows)
        size = (self.directory / path).stat().st_size
        first, last = (to_naive(int(each) // 1000) for each in (times[0], times[-1]))
        return ArchivedMonth(entity_id, month, path, len(rows), size, first, last, summed)

    def _stored_rows(self, connection: Connection, entity_id: str, span: Span) -> pa.Table:
        """A month's rows in the order of their times. Raises DatabaseError for rows that are not proper candles."""
        statement = select(*stored_columns(self.table)).where(*within(self.table, entity_id, span))
        where = (
            f"The candles of {entity_id} in {self.table.name} for {to_datetime(span.start):%Y-%m} cannot be archived"
        )
        try:
            rows = to_rows(read_frame(connection, statement.order_by(self.table.c.timestamp)), self.table)
        except (TypeError, ValueError) as error:
            raise DatabaseError(f"{where}: {error}.") from error
        times = _times(rows)
        step = self.candle_table.interval.milliseconds * 1000
        if (times % step).any() or (np.diff(times) <= 0).any():
            raise DatabaseError(f"{where}: a time is off the grid or stored twice.")
        return rows

    def _stored_times(self, connection: Connection, entity_id: str, span: Span) -> Any:
        frame = read_frame(connection, select(self.table.c.timestamp).where(*within(self.table, entity_id, span)))
        return frame["timestamp"].to_numpy().astype("datetime64[us]").astype(np.int64)

    def _stem(self, entity_id: str, month: str) -> str:
        if not entity_id or entity_id.startswith(".") or set(entity_id) & set("/\\:\0"):
            raise DatabaseError(f"The entity id {entity_id!r} cannot be part of a file's name.")
        return f"{self.table.name}/{entity_id}/{entity_id}_{month[:7]}"

    def _settle(self, name: str) -> None:
        """Waits until what was committed to `name` is on the disk. Servers have done so; SQLite leaves it for later."""
        if isinstance(self.database, SqliteDatabase):
            path = self.database.path(name)
            for each in (path, Path(f"{path}-wal")):
                # Opening the database file itself would end SQLite's locks on it, and syncing its log is enough: what
                # is no longer in the log was forced into the file before.
                if each != path and each.exists():
                    sync(each)
            sync(path.parent)

    def _remove_file(self, entity_id: str, month: str, path: str | None) -> None:
        """Removes a file that this archive has replaced or restored, and no other: it may be another's only copy.

        A month's file without a name goes with it. Nobody else is writing one meanwhile.
        """
        with self._writing() as connection:
            named = archived_month(connection, self.candle_table, self.database.provider, entity_id, month)
            for each in (path, f"{self._stem(entity_id, month)}.partial"):
                if each is not None and (named is None or each != named.path):
                    # One that cannot be removed now is in nobody's way.
                    with suppress(OSError):
                        (self.directory / each).unlink(missing_ok=True)


def _merged(archived: pa.Table, stored: pa.Table) -> pa.Table:
    """The rows of both by time; the stored one where both have one."""
    import pyarrow as pa  # noqa: PLC0415

    others = archived.filter(~np.isin(_times(archived), _times(stored)))
    return pa.concat_tables([others, stored]).sort_by("timestamp").combine_chunks()


def _times(rows: pa.Table) -> Any:
    return np.asarray(rows["timestamp"]).astype("datetime64[us]").astype(np.int64)
