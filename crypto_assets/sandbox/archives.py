"""The public archive beside the exchange: zips of closed months and days, laid out as on data.binance.vision.

Here belong the paths, the CSV inside, and the checksum files; the rows are those of the REST pages (`klines`), so that
the two differ only where a fault says so: `archive_stale:path=/monthly/,start=...,end=...` for a month that is older
than its days and REST. HTTP belongs to `application`, the caller.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from xml.sax.saxutils import escape

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import Interval, PartitionScheme, parse_time, partition_span
from crypto_assets.domain.spans import Span
from crypto_assets.sandbox.dataset import Dataset, SymbolInfo
from crypto_assets.sandbox.effects import damaged
from crypto_assets.sandbox.faults import ARCHIVES, ROW_KINDS, Fault
from crypto_assets.sandbox.klines import KlinePages

HEADER = (
    b"open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)
# binance-public-data#246: futures files have a header from then on, spot files (#283) never.
_HEADERS_SINCE = parse_time("2022-05-01")
# README of binance-public-data: spot files are stamped in microseconds from then on.
_MICROSECONDS_SINCE = parse_time("2025-01-01")

_FOLDERS = {"spot": MarketType.SPOT, "futures/um": MarketType.SWAP}
_PATH = re.compile(
    re.escape(ARCHIVES) + r"(spot|futures/um)/(monthly|daily)/klines/([^/]+)/([^/]+)/"
    r"(\3-\4-(\d{4}-\d{2}(?:-\d{2})?))\.zip(\.CHECKSUM)?"
)
_MONTH_LETTERS = len("2023-03")
_TIMES = re.compile(rb"^(\d+)((?:,[^,]*){5},)(\d+)", re.MULTILINE)
_CONTENT_KINDS = ROW_KINDS | {"hidden_span", "archive_lacks_rows", "archive_truncated", "delisted_symbol"}
_ALL_ROWS = 2**31


@dataclass(frozen=True, slots=True)
class AskedFile:
    """What a path below `/data/` names: a zip, or the checksum of that zip. `name` is without `.zip`."""

    market: MarketType
    symbol: str
    interval: Interval
    name: str
    span: Span
    is_checksum: bool


def asked_file(path: str) -> AskedFile | None:
    """The file that a path names, None where it is not laid out like the archive."""
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    folder, _, symbol, interval, name, period, checksum = match.groups()
    monthly = len(period) == _MONTH_LETTERS
    if (match[2] == "monthly") != monthly:
        return None
    scheme, first = (PartitionScheme.MONTHLY, period + "-01") if monthly else (PartitionScheme.DAILY, period)
    try:
        span = partition_span(scheme, first)
        return AskedFile(_FOLDERS[folder], symbol, Interval(interval), name, span, checksum is not None)
    except ValueError:
        return None


def no_such_key(path: str) -> bytes:
    """The body of a 404, as the storage behind the archive words it."""
    key = escape(path.removeprefix("/"))
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code>'
        f"<Message>The specified key does not exist.</Message><Key>{key}</Key></Error>"
    ).encode()


class Archives:
    """The archive of a dataset. Keeps the last zips, at most `max_bytes` of them: each is asked for with its checksum.

    A period's files are there once it is over and if the symbol has candles in it. The same rows always make the same
    bytes, so a checksum changes only if a fault changes the rows.
    """

    def __init__(self, dataset: Dataset, max_bytes: int = 64_000_000) -> None:
        self._dataset = dataset
        # What is kept are the zips; a page is rendered once for each of them.
        self._pages = KlinePages(dataset, max_bytes=0)
        self._max_bytes = max_bytes
        self._zips: OrderedDict[tuple[MarketType, str, tuple[Fault, ...]], bytes] = OrderedDict()

    def answer(self, asked: AskedFile, faults: Sequence[Fault]) -> bytes | None:
        """The bytes of the zip, or `<SHA-256>  <file name>`; None where the archive has no such file."""
        kinds = {fault.kind for fault in faults}
        if any(fault.kind == "archive_missing" and _concerns(fault, asked.span) for fault in faults):
            return None
        if asked.is_checksum and "archive_without_checksum" in kinds:
            return None
        content = self._zip(asked, faults)
        if not content or not asked.is_checksum:
            return content or None
        digest = hashlib.sha256(content).hexdigest()
        if "checksum_mismatch" in kinds:
            digest = digest[::-1]
        return f"{digest}  {asked.name}.zip\n".encode()

    def _zip(self, asked: AskedFile, faults: Sequence[Fault]) -> bytes:
        """The zip as these faults leave it; empty where there are no rows to put into one."""
        # How often a fault still hits says nothing about the bytes.
        content = tuple(replace(fault, times=None) for fault in faults if fault.kind in _CONTENT_KINDS)
        key = asked.market, asked.name, content
        if key not in self._zips:
            made = self._make(asked, content)
            if not made:
                return b""
            self._zips[key] = made
            while len(self._zips) > 1 and sum(map(len, self._zips.values())) > self._max_bytes:
                self._zips.popitem(last=False)
        self._zips.move_to_end(key)
        return self._zips[key]

    def _make(self, asked: AskedFile, faults: Sequence[Fault]) -> bytes:
        clock = self._dataset.clock_ms()
        info = self._symbol(asked, faults)
        if info is None or asked.span.end > clock:
            return b""
        hidden = [fault.span for fault in faults if fault.kind in ("hidden_span", "archive_lacks_rows")]
        page = self._pages.page(
            asked.market, info, asked.interval, asked.span, _ALL_ROWS, newest=False, clock_ms=clock, hidden=hidden
        )
        rows = _csv(damaged(page, faults, clock), asked)
        if not rows:
            return b""
        made = _zipped(f"{asked.name}.csv", rows)
        return made[: len(made) // 2] if any(fault.kind == "archive_truncated" for fault in faults) else made

    def _symbol(self, asked: AskedFile, faults: Sequence[Fault]) -> SymbolInfo | None:
        """The symbol. One that vanished from the exchange stays in the archive, as Binance keeps it there."""
        infos = (info for info in self._dataset.symbols(asked.market) if info.symbol == asked.symbol)
        info = next(infos, None)
        for fault in faults:
            if fault.kind == "delisted_symbol" and info is not None:
                info = replace(info, ended_ms=fault.start)
        return info


def _concerns(fault: Fault, span: Span) -> bool:
    """Whether a fault's span, if it has one, touches this one."""
    return not fault.end or (fault.start < span.end and span.start < fault.end)


def _csv(page: bytes, asked: AskedFile) -> bytes:
    """A kline page as the lines of an archive file; empty if it has none."""
    if page == b"[]":
        return b""
    lines = page[2:-2].replace(b"],[", b"\n").replace(b'"', b"").replace(b"null", b"") + b"\n"
    if asked.market is MarketType.SPOT and asked.span.start >= _MICROSECONDS_SINCE:
        # A candle closes with the last microsecond of its last millisecond.
        return _TIMES.sub(rb"\g<1>000\g<2>\g<3>999", lines)
    if asked.market is MarketType.SWAP and asked.span.start >= _HEADERS_SINCE:
        return HEADER + b"\n" + lines
    return lines


def _zipped(name: str, data: bytes) -> bytes:
    """A zip with one file, the same bytes for the same data whenever and wherever it is made."""
    member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    member.compress_type = zipfile.ZIP_DEFLATED
    member.create_system = 3
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(member, data, compresslevel=1)
    return file.getvalue()
