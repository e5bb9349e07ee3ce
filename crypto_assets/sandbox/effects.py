"""What faults do to the rows of a kline page and to a finished body.

Here belongs the damage itself; whom it hits belongs to `faults`. Called by `endpoints` and `server`.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import orjson

from crypto_assets.sandbox.faults import ROW_KINDS, Fault

_OPEN_TIME, _OPEN, _HIGH, _LOW, _CLOSE, _VOLUME, _CLOSE_TIME, _QUOTE_VOLUME, _TRADES = range(9)
HTML_BODY = b"<!DOCTYPE html><html><head><title>Maintenance</title></head><body>We will be back soon.</body></html>"

Row = list[Any]


def damaged(page: bytes, faults: Sequence[Fault], clock_ms: int) -> bytes:
    """The page at this time of the exchange's clock after all faults that change rows, in the order they were added."""
    relevant = [fault for fault in faults if fault.kind in ROW_KINDS]
    if not relevant:
        return page
    rows: list[Row] = orjson.loads(page)
    for fault in relevant:
        if rows:
            rows = _damage(rows, fault, clock_ms)
    return orjson.dumps(rows)


def _chosen(rows: list[Row], fault: Fault, clock_ms: int) -> list[int]:
    """The positions a fault is about: its open times or span, otherwise its n-th row, if the page has one."""
    if fault.kind == "unsettled":
        return [index for index, row in enumerate(rows) if 0 < clock_ms - row[_CLOSE_TIME] <= fault.settle_ms]
    if fault.kind in ("revised", "archive_stale"):
        return [index for index, row in enumerate(rows) if fault.start <= row[_OPEN_TIME] < fault.end]
    if fault.open_times:
        return [index for index, row in enumerate(rows) if row[_OPEN_TIME] in fault.open_times]
    return [fault.row % len(rows)] if -len(rows) <= fault.row < len(rows) else []


def _damage(rows: list[Row], fault: Fault, clock_ms: int) -> list[Row]:
    if fault.kind == "rows_out_of_order":
        return rows[::-1]
    chosen = _chosen(rows, fault, clock_ms)
    if fault.kind == "duplicate_rows":
        return [row for index, row in enumerate(rows) for _ in range(2 if index in chosen else 1)]
    for index in chosen:
        row = rows[index]
        if fault.kind == "null_price":
            row[_CLOSE] = None
        elif fault.kind == "negative_price":
            row[_LOW] = "-" + row[_LOW]
        elif fault.kind == "high_below_low":
            row[_HIGH], row[_LOW] = _below(row[_LOW]), row[_HIGH]
        elif fault.kind == "off_grid":
            row[_OPEN_TIME] += fault.shift_ms
        elif fault.kind in _CHANGES:
            _CHANGES[fault.kind](row)
    return rows


def _tick(price: str) -> Decimal:
    """One unit of the last decimal that is not a printed zero, as far as the price shows it."""
    shown = price.rstrip("0") if "." in price else price
    return Decimal(1).scaleb(-len(shown.partition(".")[2]))


def _below(price: str) -> str:
    return f"{Decimal(price) - _tick(price):.{len(price.partition('.')[2])}f}"


def _revise(row: Row) -> None:
    """Closes one tick higher; the high follows, so that the row stays a valid candle."""
    close = Decimal(row[_CLOSE]) + max(_tick(row[_OPEN]), _tick(row[_CLOSE]))
    row[_CLOSE] = f"{close:.{len(row[_CLOSE].partition('.')[2])}f}"
    row[_HIGH] = max(row[_HIGH], row[_CLOSE], key=Decimal)


def _without_last_trade(row: Row) -> None:
    """One trade and a tick of volume less; a candle without trades stays as it is."""
    if row[_TRADES]:
        row[_TRADES] -= 1
        volume = Decimal(row[_VOLUME]) - _tick(row[_VOLUME])
        row[_VOLUME] = f"{volume:.{len(row[_VOLUME].partition('.')[2])}f}"


def _before_it_was_mended(row: Row) -> None:
    """As the candle was before the exchange mended it: half the trades, and the price they left off at."""
    row[_CLOSE] = row[_OPEN]
    for column in (_VOLUME, _QUOTE_VOLUME):
        row[column] = f"{Decimal(row[column]) / 2:.{len(row[column].partition('.')[2])}f}"
    row[_TRADES] //= 2


_CHANGES = {"revised": _revise, "unsettled": _without_last_trade, "archive_stale": _before_it_was_mended}
