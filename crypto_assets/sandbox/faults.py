"""Misbehaviour on demand: which faults are active, and whom they hit.

Here belong the kinds, their fields, how they are written down, and the counting of requests. What a fault does to an
answer belongs to `effects` and `server`. Made by tests, by `POST /sandbox/faults` and by `--fault`.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import Interval, parse_time
from crypto_assets.domain.spans import Span

_COMMON = frozenset({"market", "symbol", "interval", "path", "times", "probability", "seed"})
_ROWS = frozenset({"row", "open_times"})
KINDS: dict[str, frozenset[str]] = {
    "status_5xx": frozenset({"status"}),
    "rate_limited": frozenset({"retry_after"}),
    "banned": frozenset({"retry_after"}),
    "geo_blocked": frozenset(),
    "reset": frozenset(),
    "truncated_json": frozenset(),
    "html_body": frozenset(),
    "timeout": frozenset({"delay_ms"}),
    "duplicate_rows": _ROWS,
    "rows_out_of_order": frozenset(),
    "null_price": _ROWS,
    "negative_price": _ROWS,
    "high_below_low": _ROWS,
    "off_grid": _ROWS | {"shift_ms"},
    "hidden_span": frozenset({"start", "end"}),
    "revised": frozenset({"start", "end"}),
    "unsettled": frozenset({"settle_ms"}),
    "delisted_symbol": frozenset({"start"}),
    "vanished_symbol": frozenset(),
    "unlisted_symbol": frozenset(),
    "archive_missing": frozenset({"start", "end"}),
    "archive_without_checksum": frozenset(),
    "archive_lacks_rows": frozenset({"start", "end"}),
    "archive_stale": frozenset({"start", "end"}),
    "archive_truncated": frozenset(),
    "checksum_mismatch": frozenset(),
}
"""Every kind of fault with the fields of its own."""

ARCHIVES = "/data/"
"""What the path of every archive file starts with."""

_OTHER_ROW_KINDS = frozenset({"rows_out_of_order", "revised", "unsettled", "archive_stale"})
ROW_KINDS = frozenset(kind for kind, own in KINDS.items() if own >= _ROWS) | _OTHER_ROW_KINDS
_KLINES_ONLY = ROW_KINDS | {"hidden_span"}
_ARCHIVES_ONLY = frozenset(kind for kind in KINDS if kind.startswith("archive_")) | {"checksum_mismatch"}
_WORLD_KINDS = frozenset({"delisted_symbol", "vanished_symbol", "unlisted_symbol"})
_REQUIRED = {
    "hidden_span": ("start", "end"),
    "revised": ("start", "end"),
    "delisted_symbol": ("symbol", "start"),
    "vanished_symbol": ("symbol",),
    "unlisted_symbol": ("symbol",),
    "archive_lacks_rows": ("start", "end"),
    "archive_stale": ("start", "end"),
}
_MARKETS = {"spot": MarketType.SPOT, "usdm": MarketType.SWAP, "swap": MarketType.SWAP}
_STATUSES = (500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. The first block says whom it hits (None: everyone), the second is read by some kinds only.

    `path` is any part of the URL's path: `path=/data/` means the archive, `path=api/` REST; without it a fault of rows
    hits both alike. `times` is the number of requests it still hits, None until it is removed. `row` counts from 0,
    negative from the end; `open_times` and `start <= open < end` are milliseconds UTC. An `unsettled` candle lacks its
    last trade until `settle_ms` after its close.
    Raises ValueError, one sentence, for what cannot be meant.
    """

    kind: str
    market: MarketType | None = None
    symbol: str | None = None
    interval: Interval | None = None
    path: str | None = None
    times: int | None = None
    probability: float | None = None
    seed: int = 0

    status: int = 503
    retry_after: int = 1
    delay_ms: int = 30_000
    row: int = 0
    open_times: tuple[int, ...] = ()
    shift_ms: int = 789
    settle_ms: int = 5_000
    start: int = 0
    end: int = 0
    id: int = field(default=0, compare=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown fault {self.kind!r}; known kinds: {', '.join(KINDS)}")
        for name in _REQUIRED.get(self.kind, ()):
            if not getattr(self, name):
                raise ValueError(f"fault {self.kind} needs the field {name}; {_fields_of(self.kind)}")
        if self.status not in _STATUSES:
            raise ValueError(f"fault {self.kind}: status {self.status} is none of {', '.join(map(str, _STATUSES))}")
        if self.probability is not None and not 0 < self.probability <= 1:
            raise ValueError(f"fault {self.kind}: probability {self.probability} is not above 0 and at most 1")

    @property
    def span(self) -> Span:
        """[start, end) of the kinds that have one."""
        return Span(self.start, self.end)

    def hits(self, market: MarketType, path: str, symbol: str | None, interval: Interval | None) -> bool:
        """Whether a request is one that this fault is about."""
        archived = path.startswith(ARCHIVES)
        if self.kind in _KLINES_ONLY and not archived and not path.endswith(("/klines", "/uiKlines")):
            return False
        if self.kind in _ARCHIVES_ONLY and not archived:
            return False
        if self.kind == "unsettled" and archived:
            return False
        # What a symbol is shows in exchangeInfo too, which is asked for without naming it.
        same_symbol = self.symbol in (None, symbol) or (self.kind in _WORLD_KINDS and symbol is None)
        same_path = self.path is None or self.path in path
        return self.market in (None, market) and same_symbol and same_path and self.interval in (None, interval)

    def as_json(self) -> dict[str, Any]:
        """The fault as JSON that `fault_from_json` reads back, with its id."""
        shown = {"id": self.id, "kind": self.kind}
        for name in sorted(_COMMON | KINDS[self.kind]):
            value = getattr(self, name)
            if value is not None:
                shown[name] = "usdm" if value is MarketType.SWAP else getattr(value, "value", value)
        return shown


def _fields_of(kind: str) -> str:
    return f"its fields are {', '.join(sorted(KINDS[kind]) + sorted(_COMMON))}"


def _time(value: Any) -> int:
    text = str(value).strip()
    return int(text) if text.lstrip("-").isdigit() else parse_time(text)


def _market(value: Any) -> MarketType:
    if str(value) not in _MARKETS:
        raise ValueError(f"{value!r} is no market (spot, usdm)")
    return _MARKETS[str(value)]


def _times(value: Any) -> tuple[int, ...]:
    return tuple(_time(part) for part in (value.split(";") if isinstance(value, str) else value))


_READERS: dict[str, Any] = {
    "market": _market,
    "symbol": str,
    "interval": Interval,
    "path": str,
    "probability": float,
    "open_times": _times,
    "start": _time,
    "end": _time,
}


def fault_from_json(values: Mapping[str, Any]) -> Fault:
    """The fault that a mapping of `kind` and fields describes; `from` is another name for `start`.

    Raises ValueError with one sentence that names the known kinds or fields.
    """
    kind = str(values.get("kind", ""))
    if kind not in KINDS:
        raise ValueError(f"unknown fault {kind!r}; known kinds: {', '.join(KINDS)}")
    read: dict[str, Any] = {}
    for given, value in values.items():
        name = "start" if given == "from" else given
        if name in ("kind", "id") or value is None:
            continue
        if name not in _COMMON | KINDS[kind]:
            raise ValueError(f"fault {kind} has no field {given!r}; {_fields_of(kind)}")
        try:
            read[name] = _READERS.get(name, int)(value)
        except (ValueError, TypeError) as error:
            raise ValueError(f"fault {kind}: {name}={value} cannot be read ({error})") from error
    return Fault(kind, **read)


def parse_fault(text: str) -> Fault:
    """The fault written as `kind:field=value,field=value`, for example `status_5xx:times=3,path=klines`.

    Times are milliseconds or ISO dates in UTC, several `open_times` are separated by semicolons. Raises ValueError
    with one sentence that names the known kinds or fields.
    """
    kind, _, rest = text.partition(":")
    values: dict[str, str] = {"kind": kind.strip()}
    for part in filter(None, (part.strip() for part in rest.split(","))):
        name, separator, value = part.partition("=")
        if not separator:
            raise ValueError(f"fault {text!r}: {part!r} is not field=value, as in status_5xx:times=3,path=klines")
        values[name.strip()] = value.strip()
    return fault_from_json(values)


class Faults:
    """The active faults. Safe to change from another thread than the server's."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._lock = threading.Lock()
        self._active: dict[int, Fault] = {}
        self._dice: dict[int, random.Random] = {}
        self._next_id = 1
        for fault in faults:
            self.add(fault)

    def add(self, fault: Fault | str, **others: Any) -> Fault:
        """Activates a fault, given as such, as text for `parse_fault`, or as kind and fields; returns it with an id."""
        if isinstance(fault, str):
            fault = Fault(fault, **others) if others else parse_fault(fault)
        with self._lock:
            added = replace(fault, id=self._next_id)
            self._active[added.id] = added
            self._dice[added.id] = random.Random(added.seed)
            self._next_id += 1
        return added

    def active(self) -> list[Fault]:
        """The faults still in force, `times` counted down, in the order they were added."""
        with self._lock:
            return list(self._active.values())

    def remove(self, fault_id: int) -> None:
        """Ends one fault; nothing happens if it has ended already."""
        with self._lock:
            self._active.pop(fault_id, None)

    def clear(self) -> None:
        """Ends all faults."""
        with self._lock:
            self._active.clear()

    def strike(self, market: MarketType, path: str, symbol: str | None, interval: Interval | None) -> list[Fault]:
        """The faults that hit this request; each of them has one request less to hit."""
        if not self._active:
            return []
        with self._lock:
            struck = [fault for fault in self._active.values() if fault.hits(market, path, symbol, interval)]
            struck = [
                fault
                for fault in struck
                if fault.probability is None or self._dice[fault.id].random() < fault.probability
            ]
            for fault in struck:
                if fault.times is None:
                    continue
                if fault.times <= 1:
                    del self._active[fault.id]
                else:
                    self._active[fault.id] = replace(fault, times=fault.times - 1)
            return struck
