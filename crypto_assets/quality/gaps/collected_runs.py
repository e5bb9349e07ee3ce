"""Collected runs: neighbouring partitions of one symbol that were all collected.

They are read from the coverage table, cheaply enough for every check. What is owed of the runs and of the holes between
them is decided by `quality.gaps.holes` and `quality.gaps.coverage`. Called by the other modules of `quality.gaps` and
by `quality.rules.partition_findings`. Spans are milliseconds UTC.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Row, Select, case, func, or_, select

from crypto_assets.database.expressions import of_series, provider_of, texts_in_order
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.intervals import PartitionScheme, to_milliseconds
from crypto_assets.domain.series import CandleTable
from crypto_assets.domain.spans import Span

_COVERAGE = TABLES["crypto_kdata_coverage"]
_ROWS_PER_STATEMENT = 400


@dataclass(frozen=True)
class CollectedRun:
    """Neighbouring partitions of one symbol, all collected; `clock` is the exchange's when the last was asked for."""

    first: str
    last: str
    clock: int

    def closed(self, candle_table: CandleTable) -> Span:
        """From the start of the first partition to the last candle that had closed when the last one was asked for.

        A later request for an earlier partition says nothing about the last one, so only the clock of the last counts.
        """
        closed = candle_table.interval.closed_before(self.clock)
        start, end = candle_table.partition_span(self.first).start, candle_table.partition_span(self.last).end
        return Span(min(start, closed), min(end, closed))


@dataclass(frozen=True)
class Collected:
    """What was collected of one symbol: its runs in order of time, and what coverage has of their partitions.

    `verified` is how many candles the verified partitions have together. `uneven` are the keys of the others, and of
    those that lack candles.
    """

    runs: list[CollectedRun]
    verified: int
    uneven: tuple[str, ...]


def collected_runs(
    connection: Connection, candle_table: CandleTable, entity_id: str | None = None
) -> dict[str, Collected]:
    """What was collected of one symbol of a candle table, or of each: by entity id in order.

    One statement passes once over all coverage rows, of which there are too many to read them. It returns the partition
    keys of each symbol as one text: that is quicker than finding the first and the last in SQL. Another reads the
    clocks.
    """
    c = _COVERAGE.c
    uneven = case((or_(c.digest == "", c.present != c.expected), c.partition))
    passed = select(
        c.entity_id,
        texts_in_order(c.partition, c.partition).label("keys"),
        func.sum(case((c.digest != "", c.present), else_=0)).label("verified"),
        texts_in_order(uneven, c.partition).label("uneven"),
    )
    passed = (
        passed.where(*of_series(c, provider_of(connection), candle_table, entity_id))
        .group_by(c.entity_id)
        .order_by(c.entity_id)
    )
    entities = {row.entity_id: row for row in connection.execute(passed)}
    ends = {each: _neighbours(candle_table.partition_scheme, row.keys) for each, row in entities.items()}
    lasts = [(each, last) for each, runs in ends.items() for _, last in runs]
    clocks = {
        (row.entity_id, row.partition): to_milliseconds(row.verified_at)
        for row in rows_of(connection, candle_table, lasts)
    }
    return {
        each: Collected(
            [CollectedRun(first, last, clocks[each, last]) for first, last in runs if (each, last) in clocks],
            int(entities[each].verified),
            tuple(filter(None, (entities[each].uneven or "").split(","))),
        )
        for each, runs in ends.items()
    }


def rows_of(
    connection: Connection, candle_table: CandleTable, partitions: Iterable[tuple[str, str]]
) -> Iterator[Row[Any]]:
    """The rows of the coverage table for pairs of an entity id and a partition key, and maybe for other pairs of these.

    Columns: entity_id, partition, expected, present, verified_at, digest.
    """
    c = _COVERAGE.c
    columns = (c.entity_id, c.partition, c.expected, c.present, c.verified_at, c.digest)
    # In order of the key, so that each statement names few keys: SQLite looks up every pair of an entity and a key.
    ordered = sorted(partitions, key=itemgetter(1))
    for start in range(0, len(ordered), _ROWS_PER_STATEMENT):
        ids, keys = (sorted(set(names)) for names in zip(*ordered[start : start + _ROWS_PER_STATEMENT], strict=True))
        own = (
            c.provider == provider_of(connection),
            c.level == candle_table.level,
            c.entity_id.in_(ids),
            c.partition.in_(keys),
        )
        statement: Select[Any] = select(*columns).where(*own)
        yield from connection.execute(statement)


@lru_cache(maxsize=32)  # the symbols of a table were mostly collected together
def _neighbours(scheme: PartitionScheme, text: str) -> tuple[tuple[str, str], ...]:
    """The first and the last key of each run in a text of partition keys in order."""
    keys = text.split(",")
    runs: list[tuple[str, str]] = []
    start = 0
    while start < len(keys):
        end = _end_of_run(scheme, keys, start)
        runs.append((keys[start], keys[end - 1]))
        start = end
    return tuple(runs)


def _end_of_run(scheme: PartitionScheme, keys: Sequence[str], start: int) -> int:
    """The index after the last of the keys that follow the one at `start` without one being left out."""
    origin = _number(scheme, keys[start]) - start

    def left_out(index: int) -> int:
        return _number(scheme, keys[index]) - origin - index

    return bisect_right(range(len(keys)), 0, lo=start, key=left_out)


def _number(scheme: PartitionScheme, key: str) -> int:
    """The partition's number: that of its neighbour is one higher."""
    day = date.fromisoformat(key)
    return day.toordinal() if scheme is PartitionScheme.DAILY else 12 * day.year + day.month
