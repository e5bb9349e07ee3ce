"""One month of one entity's candles as a Parquet file: written once, never changed, and checked whenever it is read.

A file's name ends with the checksum of its bytes, so that versions of a month lie beside each other, and a changed
byte anywhere is noticed before a value is believed. The digest is of the candles themselves: the same whatever engine
they were read from and whatever program wrote the file. A file has the columns that its table stores; one written
before a column was added is refused, so a revision that adds one must restore first. When files are written and
removed belongs to `database.archive.move`, which calls this module, as does `database.archive.reads`.

Times are microseconds, naive UTC. All errors are DatabaseError, one sentence that names the file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pandas as pd
from sqlalchemy import Boolean, Column, Double, Integer, Table

from crypto_assets.database.errors import DatabaseError
from crypto_assets.database.tables.columns import UtcTimestamp

if TYPE_CHECKING:
    import pyarrow as pa  # loaded only where something is archived

Create = Callable[[Path], BinaryIO]
"""Opens a file for writing, in place of one of that name."""

_TEXT_COLUMNS = ["entity_id", "provider", "name"]


def create_file(path: Path) -> BinaryIO:
    """The usual way to open a new file."""
    return path.open("wb")


def stored_columns(table: Table) -> list[Column[Any]]:
    """The columns of a candle table that are not generated from others."""
    return [column for column in table.columns if column.computed is None]


def to_rows(frame: pd.DataFrame, table: Table) -> pa.Table:
    """A frame of a candle table's stored columns as exact rows; NaN is missing.

    Raises ValueError (pyarrow's too) where a value is not of its column's type.
    """
    import pyarrow as pa  # noqa: PLC0415

    columns = stored_columns(table)
    arrays = [pa.array(frame[each.name], _kind(each), from_pandas=True) for each in columns]
    return pa.Table.from_arrays(arrays, schema=_schema(table))


def to_frame(rows: pa.Table) -> pd.DataFrame:
    """Rows as a frame: datetime64[us], float64, int64 (Int64 where one is missing), bool and text."""
    return pd.DataFrame({name: _array(rows[name]) for name in rows.column_names})


def digest(rows: pa.Table) -> str:
    """The checksum of the rows' values, bit for bit, in the order they have."""
    summed = hashlib.blake2b(digest_size=16)
    for part in _bytes_of(rows):
        summed.update(part)
    return summed.hexdigest()


def same_rows(left: pa.Table, right: pa.Table) -> bool:
    """Whether both hold the same values, bit for bit (0.0 is not -0.0), in the same columns, types and order."""
    return bool(left.schema.equals(right.schema)) and list(_bytes_of(left)) == list(_bytes_of(right))


def write_file(directory: Path, stem: str, rows: pa.Table, create: Create = create_file) -> str:
    """Writes rows to `{directory}/{stem}.{checksum}.parquet`, so that they survive a power cut; its path from there.

    The file has its name only when all of it is on the disk.
    """
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd", use_dictionary=_TEXT_COLUMNS)
    content = sink.getvalue().to_pybytes()
    relative = f"{stem}.{_checksum(content)}.parquet"
    path, partial = directory / relative, directory / f"{stem}.partial"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with create(partial) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        for folder in (path.parent, path.parent.parent, directory, directory.parent):
            sync(folder)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise DatabaseError(
            f"The archive file {path} cannot be written ({error.strerror or error}); its candles stay in the database."
        ) from error
    return relative


def read_file(directory: Path, relative: str, table: Table, expected_digest: str, month: str) -> pa.Table:
    """The rows of a file, checked: its bytes against its name, its values against `expected_digest`.

    Raises DatabaseError for a file that is missing or was changed, naming it and `month` (2023-03-01).
    """
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    path = directory / relative
    of_month = f"of {table.name} for {month[:7]}"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DatabaseError(
            f"The archive file {path} {of_month} cannot be read ({error.strerror}); put it back from a backup."
        ) from error
    damaged = f"The archive file {path} {of_month} is damaged; put it back from a backup."
    if _checksum(content) != relative.rsplit(".", 2)[-2]:
        raise DatabaseError(damaged)
    try:
        rows = pq.read_table(pa.BufferReader(content)).combine_chunks()
    except (pa.ArrowException, OSError) as error:
        raise DatabaseError(damaged) from error
    if not rows.schema.equals(_schema(table)):
        raise DatabaseError(f"The archive file {path} {of_month} does not have the columns of this version's table.")
    if digest(rows) != expected_digest:
        raise DatabaseError(damaged)
    return rows


def sync(path: Path) -> None:
    """Waits until a file or directory is on the disk as it is now. Raises OSError."""
    # Windows knows no directories as files, and keeps its file names without being asked.
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _schema(table: Table) -> pa.Schema:
    import pyarrow as pa  # noqa: PLC0415

    return pa.schema([pa.field(each.name, _kind(each), nullable=bool(each.nullable)) for each in stored_columns(table)])


def _kind(column: Column[Any]) -> Any:
    import pyarrow as pa  # noqa: PLC0415

    if isinstance(column.type, UtcTimestamp):
        return pa.timestamp("us")
    if isinstance(column.type, Double):
        return pa.float64()
    if isinstance(column.type, Integer):
        return pa.int64()
    return pa.bool_() if isinstance(column.type, Boolean) else pa.string()


def _checksum(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def _bytes_of(rows: pa.Table) -> Iterator[bytes]:
    """The values column by column: name, which are missing, and 0 for those; numbers little-endian."""
    yield len(rows).to_bytes(8, "little")
    for name in rows.column_names:
        column = rows[name]
        yield name.encode() + b"\0"
        yield np.asarray(column.is_null()).astype(np.uint8).tobytes()
        yield from _values(column)


def _values(column: Any) -> Iterator[bytes]:
    import pyarrow as pa  # noqa: PLC0415

    if pa.types.is_string(column.type):
        texts = [(text or "").encode() for text in column.to_pylist()]
        yield np.fromiter(map(len, texts), "<i8", len(texts)).tobytes()
        yield b"".join(texts)
    elif pa.types.is_boolean(column.type):
        yield np.asarray(column.cast(pa.uint8()).fill_null(0)).tobytes()
    elif pa.types.is_timestamp(column.type):
        yield np.asarray(column.cast(pa.int64()).fill_null(0)).astype("<i8").tobytes()
    else:
        yield np.asarray(column.fill_null(0)).astype("<f8" if pa.types.is_floating(column.type) else "<i8").tobytes()


def _array(column: Any) -> Any:
    import pyarrow as pa  # noqa: PLC0415

    if pa.types.is_string(column.type):
        return np.array(column.to_pylist(), dtype=object)
    if column.null_count and pa.types.is_integer(column.type):
        return pd.array(column.to_pylist(), dtype="Int64")
    return column.to_numpy()
