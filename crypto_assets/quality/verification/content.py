"""The content of a partition, read in one pass: its times, a checksum of its values, and how many rows break a rule.

The checksum shows whether anything changed since it was last taken. The database makes one integer of each row, a
weighted sum of its values; a hash of these integers in order is the checksum. The sum is exact to 10^-8 of a unit, as
the exchange publishes prices, for prices below 5 million, and to fifty bits for larger ones up to 10^10. It is the same
on every engine (why: docs/decisions/0014). What is owed belongs to `quality.gaps.coverage`. Called by
`quality.verification.partitions` and `quality.gaps.holdings`. Times are milliseconds UTC.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, reduce
from itertools import pairwise
from operator import add
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    String,
    Table,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    select,
)

from crypto_assets.database.expressions import (
    texts_in_order,
    unpublished_by,
    where_computable,
    whole_part,
    written_text,
)
from crypto_assets.domain.intervals import Interval, to_naive
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets.domain.spans import Span, intersect, merge
from crypto_assets.quality.rules.candles import keeps_rules


def _number(value: float) -> ColumnElement[Any]:
    """A number written into the statement: a parameter would cost time at every run."""
    return literal_column(repr(value))


# Weights. Those of prices and fractions are times a power of two, so that 10^-8 of a unit is more than 1.
_COUNT, _FLAGS = 19, {"is_high_volatility": 31, "is_high_volume": 37}
_PRICES = {name: weight * 2.0**25 for name, weight in (("open", 3), ("high", 5), ("low", 7), ("close", 11))}
_WHOLE = {"volume": 1, "volume_quote": 2}
_FRACTIONS = {name: weight * 2.0**30 for name, weight in (("volume", 13), ("volume_quote", 17))}
_DERIVED = {name: weight * 2.0**30 for name, weight in (("change_pct", 23), ("turnover_rate", 29))}
_LIMITS = dict.fromkeys(_PRICES, 1e10) | dict.fromkeys(_WHOLE, 1e15) | dict.fromkeys(_DERIVED, 1e7)
"""A row with a value beyond these limits is told apart less well: its sum might not fit 64 bits."""
_NULL = 0.625  # exact in binary, and no value of these columns


@dataclass(frozen=True)
class Content:
    """The rows of one entity in one span: their times as written, with commas between, and a checksum."""

    times: str
    digest: str
    broken: int
    """How many rows break a rule."""

    def is_clean(self, interval: Interval, span: Span) -> bool:
        """Whether every row keeps the rules, lies on the grid and is written as we write it, which forbids twins."""
        if self.broken:
            return False
        grid = _grid(interval, span).text
        return self.times in ("", grid) or set(grid.split(",")).issuperset(self.times.split(","))

    def count(self, interval: Interval, span: Span, within: Sequence[Span]) -> int:
        """How many of the grid points of `span` that lie in `within` have a candle."""
        return sum(interval.count(*each) for each in within) - sum(
            interval.count(*each) for each in self.missing(interval, span, within)
        )

    def missing(self, interval: Interval, span: Span, within: Sequence[Span]) -> list[Span]:
        """The parts of `span` and `within` whose grid points have no candle, as merged spans."""
        grid = _grid(interval, span).text
        if self.times == grid:
            return []
        there, step = set(self.times.split(",")), interval.milliseconds
        start = interval.ceil(span.start)
        absent = [start + number * step for number, text in enumerate(grid.split(",")) if text not in there]
        return intersect(_runs(absent, step), within)


def read_content(connection: Connection, table: Table, entity_id: str, span: Span) -> Content:
    """What is stored of an entity in `span`, whatever its times look like."""
    statement = _statement(table, unpublished_by(connection), with_rules=True)
    times, values, broken = connection.execute(statement, _parameters(entity_id, span)).one()
    return Content(times, _digest(table, span, times, values), broken) if times else EMPTY


def read_digest(connection: Connection, table: Table, entity_id: str, span: Span) -> str:
    """The checksum of what is stored of an entity in `span`, without asking whether it keeps the rules."""
    statement = _statement(table, unpublished_by(connection), with_rules=False)
    times, values = connection.execute(statement, _parameters(entity_id, span)).one()
    return _digest(table, span, times, values) if times else EMPTY.digest


def _parameters(entity_id: str, span: Span) -> dict[str, Any]:
    start, end = (to_naive(time) for time in span)
    return {"entity_id": entity_id, "start": start, "end": end}


def _digest(table: Table, span: Span, times: str, values: str) -> str:
    grid = _grid(KDATA_TABLES[table.name].interval, span)
    return _hash((grid.digest if times == grid.text else _hash(times)) + values)


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


EMPTY = Content("", _hash(""), 0)


class _Grid(NamedTuple):
    text: str
    digest: str


@lru_cache(maxsize=512)
def _grid(interval: Interval, span: Span) -> _Grid:
    """The grid points of `span` as the database writes them; cached, since entities share their partitions."""
    start, end = (np.datetime64(interval.ceil(time), "ms") for time in span)
    step = np.timedelta64(interval.milliseconds, "ms")
    texts = np.datetime_as_string(np.arange(start, end, step).astype("datetime64[us]"))
    text = ",".join(texts.tolist()).replace("T", " ")
    return _Grid(text, _hash(text))


@cache
def _statement(table: Table, unpublished: frozenset[str], *, with_rules: bool) -> Any:
    # An alias: SQLAlchemy puts a schema's name in at every run, wherever a column brings it along.
    candles = table.alias("candles")
    c = candles.c
    # A null would hide the other columns of its row. What is not published is none, and no number of trades either.
    amount: dict[str, Any] = {
        name: func.coalesce(c[name], _number(-1 if name == "trade_count" else _NULL))
        if name in unpublished
        else c[name]
        for name in ("volume", "volume_quote", "trade_count")
    }
    value: ColumnElement[Any] = cast(amount["trade_count"], BigInteger) * _number(_COUNT)
    for name, weight in _WHOLE.items():
        value += whole_part(amount[name]) * _number(weight)
    for name, weight in _FLAGS.items():
        value += case((c[name], _number(weight)), else_=_number(0))
    prices: ColumnElement[Any] = reduce(add, (c[name] * _number(weight) for name, weight in _PRICES.items()))
    parts = [func.coalesce(c[name], _number(_NULL)) * _number(weight) for name, weight in _DERIVED.items()]
    parts += [(amount[name] - whole_part(amount[name])) * _number(weight) for name, weight in _FRACTIONS.items()]
    value += whole_part(prices) + whole_part(reduce(add, parts))
    fits = and_(*(func.coalesce(func.abs(c[name]), _number(0.0)) < _number(limit) for name, limit in _LIMITS.items()))
    columns: list[ColumnElement[Any]] = [
        texts_in_order(written_text(c.timestamp), c.timestamp),
        texts_in_order(func.coalesce(cast(where_computable(fits, value), String(32)), "null"), c.timestamp),
    ]
    if with_rules:
        columns.append(func.count(case((keeps_rules(candles, unpublished), None), else_=1)))
    return select(*columns).where(
        c.entity_id == bindparam("entity_id"), c.timestamp >= bindparam("start"), c.timestamp < bindparam("end")
    )


def _runs(times: Sequence[int], step: int) -> list[Span]:
    """Ascending grid points as spans of neighbours."""
    if not times:
        return []
    cuts = [0, *(number + 1 for number, (left, right) in enumerate(pairwise(times)) if right - left > step), len(times)]
    return merge(Span(times[first], times[last - 1] + step) for first, last in pairwise(cuts))
