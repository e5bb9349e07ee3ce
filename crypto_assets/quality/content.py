"""What a partition of candles holds, read in one pass: which times, a checksum of the values, and whether rules break.

The checksum tells whether anything changed since it was last taken. It is made where the rows are: of each row one
integer, a weighted sum of its values that is exact to 2^-30 of a unit (the exchange publishes eight decimals), of
the rows in order a hash. Fetching the values to hash their bits costs twice the time (`make bench`). It is the same on
every engine. What is owed belongs to `coverage`. Called by `verification`. Times are milliseconds UTC.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from sqlalchemy import BigInteger, ColumnElement, Connection, String, Table, and_, bindparam, case, cast, func, select

from crypto_assets.database.expressions import texts_in_order, whole_part, written_text
from crypto_assets.domain.intervals import Interval, to_datetime
from crypto_assets.domain.spans import Span, intersect, merge
from crypto_assets.quality.candles import breaks_rules, lacks_price

_WEIGHTS = {"open": 3, "high": 5, "low": 7, "close": 11, "volume": 13, "volume_quote": 17}
_COUNT_WEIGHT = 19
_FRACTION = float(2**30)
_NULL = 0.625  # exact in binary, and no value of these columns
_LARGEST, _LARGEST_SHARE = 1e16, 1e8
"""Of rows beyond, or with a null where none may be, the checksum tells no more than that; the sums of others fit."""


@dataclass(frozen=True)
class Content:
    """The rows of one entity in one span: their times as they are written, a checksum, and how many break a rule."""

    times: tuple[str, ...]
    digest: str
    broken: int

    def is_clean(self, interval: Interval, span: Span) -> bool:
        """Whether every row keeps the rules, lies on the grid and is written as we write it, which forbids twins."""
        if self.broken:
            return False
        grid = grid_times(interval, span)
        return self.times == grid or set(grid).issuperset(self.times)

    def count(self, interval: Interval, span: Span, within: Sequence[Span]) -> int:
        """How many of the grid points of `span` that lie in `within` have a candle."""
        return sum(interval.count(*each) for each in within) - sum(
            interval.count(*each) for each in self.missing(interval, span, within)
        )

    def missing(self, interval: Interval, span: Span, within: Sequence[Span]) -> list[Span]:
        """The parts of `span` and `within` whose grid points have no candle, as merged spans."""
        grid = grid_times(interval, span)
        if self.times == grid:
            return []
        there, step = set(self.times), interval.milliseconds
        start = interval.ceil(span.start)
        absent = [start + number * step for number, text in enumerate(grid) if text not in there]
        return intersect(_runs(absent, step), within)


def read_content(connection: Connection, table: Table, entity_id: str, span: Span) -> Content:
    """What is stored of an entity in `span`, whatever its times look like."""
    bounds = {"start": to_datetime(span.start).replace(tzinfo=None), "end": to_datetime(span.end).replace(tzinfo=None)}
    times, values, rows, broken = connection.execute(_statement(table), {"entity_id": entity_id, **bounds}).one()
    if not rows:
        return EMPTY
    digest = hashlib.blake2b(f"{times}\n{values}".encode(), digest_size=16).hexdigest()
    return Content(tuple(times.split(",")), digest, broken)


EMPTY = Content((), hashlib.blake2b(b"", digest_size=16).hexdigest(), 0)


@lru_cache(maxsize=512)
def grid_times(interval: Interval, span: Span) -> tuple[str, ...]:
    """The grid points of `span` as the database writes them; remembered, since entities share their partitions."""
    start, end = (np.datetime64(interval.ceil(time), "ms") for time in span)
    step = np.timedelta64(interval.milliseconds, "ms")
    texts = np.datetime_as_string(np.arange(start, end, step).astype("datetime64[us]"))
    return tuple(text.replace("T", " ") for text in texts.tolist())


@cache
def _statement(table: Table) -> Any:
    c = table.c
    whole: ColumnElement[Any] = cast(c.trade_count, BigInteger) * _COUNT_WEIGHT
    fractions: ColumnElement[Any] = (
        func.coalesce(c.change_pct, _NULL) * 23.0 + func.coalesce(c.turnover_rate, _NULL) * 29.0
    )
    for name, weight in _WEIGHTS.items():
        whole += whole_part(c[name]) * weight
        fractions += (c[name] - whole_part(c[name])) * weight
    for flag, weight in ((c.is_high_volatility, 31), (c.is_high_volume, 37)):
        whole += case((flag, weight), else_=0)
    amounts = (func.abs(c[name]) < _LARGEST for name in _WEIGHTS)
    shares = (func.coalesce(func.abs(c[name]), 0.0) < _LARGEST_SHARE for name in ("change_pct", "turnover_rate"))
    fits = and_(*amounts, *shares)
    value = func.coalesce(case((fits, cast(whole + whole_part(fractions * _FRACTION), String(32)))), "null")
    broken = func.count(case((lacks_price(table), 1), (breaks_rules(table), 1)))
    return select(
        texts_in_order(written_text(c.timestamp), c.timestamp),
        texts_in_order(value, c.timestamp),
        func.count(),
        broken,
    ).where(c.entity_id == bindparam("entity_id"), c.timestamp >= bindparam("start"), c.timestamp < bindparam("end"))


def _runs(times: Sequence[int], step: int) -> list[Span]:
    """Ascending grid points as spans of neighbours."""
    if not times:
        return []
    cuts = [0, *(number + 1 for number, (left, right) in enumerate(pairwise(times)) if right - left > step), len(times)]
    return merge(Span(times[first], times[last - 1] + step) for first, last in pairwise(cuts))
