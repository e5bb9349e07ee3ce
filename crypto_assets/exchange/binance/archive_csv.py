"""From a zip of the public archive to columns: what is inside, in which unit its times are, whether it is its period.

Here belongs the content of a file; getting it and comparing checksums belongs to `archive`, the caller. Whether a
candle is fit to store, and order and duplicates, are judged by `frames`, as for the pages of REST.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv

from crypto_assets.domain.series import CANDLE_COLUMNS
from crypto_assets.exchange.bulk_files import BulkFile
from crypto_assets.exchange.client import RawRows
from crypto_assets.exchange.errors import ContractViolation

# The archive's names, as its futures files have them in a first line, and what we call those that are read.
_COLUMNS = {
    "open_time": "open_time",
    "open": "open",
    "high": "high",
    "low": "low",
    "close": "close",
    "volume": "volume",
    "close_time": None,
    "quote_volume": "volume_quote",
    "count": "trade_count",
    "taker_buy_volume": None,
    "taker_buy_quote_volume": None,
    "ignore": None,
}
_READ = {theirs: ours for theirs, ours in _COLUMNS.items() if ours is not None}
# What REST sends as numbers: positions of both times and of the count.
_INTEGERS = {0: "ms", 6: "ms", 8: ""}

# Others may need gigabytes to be unpacked, whatever comes of it.
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

_ENTRY = b"PK\x01\x02"
"""What the entry of a file begins with in the list at the end of a zip. One of deflated data may look like it."""

_MOST_ENTRIES = 16

# What zipfile raises for a file that is cut, damaged, encrypted, or packed in a way it does not know.
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError)


@dataclass(frozen=True)
class ArchiveCandles:
    """A file's candles, in its order, duplicates included.

    `sha256` is the checksum that it was published with and has, in hexadecimal. `table` has a row for each of
    `CANDLE_COLUMNS`, as `CandlePage` has them; NaN where the file has none. `content` is the CSV itself,
    `stamps_per_ms` its unit of time: 1 or 1000.
    """

    file: BulkFile
    sha256: str
    table: npt.NDArray[np.float64]
    content: bytes
    stamps_per_ms: int

    def raw_rows(self, positions: Iterable[int]) -> RawRows:
        """These rows of `table` as REST would have sent them: evidence for what was rejected. Reads the whole file."""
        lines = self.content.splitlines()[_has_header(self.content) :]
        return [self._raw_row(lines[position]) for position in positions]

    def _raw_row(self, line: bytes) -> list[Any]:
        row: list[Any] = [text or None for text in line.decode().split(",")]
        for column, unit in _INTEGERS.items():
            if row[column] is not None and row[column].isdigit():
                row[column] = int(row[column]) // (self.stamps_per_ms if unit == "ms" else 1)
        return row


def read_archive(file: BulkFile, zipped: bytes, sha256: str) -> ArchiveCandles:
    """The candles in a zip whose checksum has been compared. Raises ContractViolation for what is not that file."""
    content = _unzip(file, zipped)
    columns = _parse(file, content)
    times, stamps_per_ms = _in_milliseconds(file, columns["open_time"].to_numpy())
    others = (columns[name].to_numpy() for name in CANDLE_COLUMNS[1:])
    return ArchiveCandles(file, sha256, np.stack([times.astype(np.float64), *others]), content, stamps_per_ms)


def _unzip(file: BulkFile, zipped: bytes) -> bytes:
    """The one member. No more of it is unpacked than its candles can take, whatever the zip says of its size."""
    wanted = file.name.removesuffix("zip") + "csv"
    if zipped.count(_ENTRY) > _MOST_ENTRIES:
        # zipfile makes an object of each, hundreds of bytes for one.
        raise ContractViolation(f"{file.name} of the archive holds more than {_MOST_ENTRIES} files, not {wanted} alone")
    try:
        with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
            members = archive.infolist()
            if [member.filename for member in members] != [wanted]:
                names = ", ".join(repr(member.filename[:100]) for member in members[:3])
                raise ContractViolation(
                    f"{file.name} of the archive holds {len(members):,} files ({names}), not {wanted} alone"
                )
            if members[0].compress_type not in _PACKINGS:
                raise ContractViolation(f"{file.name} of the archive cannot be unzipped (it is not merely deflated)")
            with archive.open(wanted) as member:
                content = member.read(file.most_bytes + 1)
    except _UNREADABLE as error:
        raise ContractViolation(f"{file.name} of the archive cannot be unzipped ({error})") from error
    if len(content) > file.most_bytes:
        raise ContractViolation(
            f"{file.name} of the archive unpacks to more than {file.most_bytes:,} bytes, more than its candles can take"
        )
    return content


def _has_header(content: bytes) -> bool:
    return not content[:1].isdigit()


def _parse(file: BulkFile, content: bytes) -> pa.Table:
    has_header = _has_header(content)
    first = content[:200].partition(b"\n")[0].decode(errors="replace").strip()
    if has_header and first.split(",") != list(_COLUMNS):
        raise ContractViolation(f"{file.name} of the archive begins with {first[:100]!r}, neither a candle nor columns")
    types = {theirs: pa.int64() if theirs == "open_time" else pa.float64() for theirs in _READ}
    try:
        table = csv.read_csv(
            pa.py_buffer(content),
            # One thread: files are read side by side with requests and writes, and it costs less CPU.
            csv.ReadOptions(use_threads=False, column_names=list(_COLUMNS), skip_rows=int(has_header)),
            csv.ParseOptions(quote_char=False),
            csv.ConvertOptions(column_types=types, include_columns=list(_READ)),
        )
    except pa.ArrowException as error:
        raise ContractViolation(f"{file.name} of the archive cannot be read as candles ({error})") from error
    if not table.num_rows or table["open_time"].null_count:
        raise ContractViolation(f"{file.name} of the archive holds {'rows without' if table.num_rows else 'no'} times")
    return table.rename_columns(list(_READ.values()))


def _in_milliseconds(file: BulkFile, times: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], int]:
    """The times in ms, and how many of the file's units make one: known by their size, file by file."""
    start, end = file.span
    stamps_per_ms = next((unit for unit in (1, 1000) if start <= times[0] // unit < end), None)
    if stamps_per_ms is None:
        raise ContractViolation(
            f"{file.name} of the archive begins at {times[0]}: not in {file.period}, neither in ms nor in microseconds"
        )
    if stamps_per_ms > 1:
        if np.any(times % stamps_per_ms):
            raise ContractViolation(f"{file.name} of the archive has candles that open between two milliseconds")
        times = times // stamps_per_ms
    outside = times[(times < start) | (times >= end)]
    if len(outside):
        raise ContractViolation(f"{file.name} of the archive has a candle of {outside[0]} ms, outside {file.period}")
    return times, stamps_per_ms
