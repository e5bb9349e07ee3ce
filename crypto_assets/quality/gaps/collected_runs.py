"""Collected runs: neighbouring partitions of one symbol that were all collected.

They are read from the coverage table, cheaply enough for every check. What is owed of the runs and of the holes between
them is decided by `quality.gaps.holes` and `quality.gaps.coverage`. Called by the other modules of `quality.gaps` and
by `quality.rules.partition_findings`. Spans are milliseconds UTC.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from sqlalchemy import Connection, select

from crypto_assets.database.expressions import of_series, texts_in_order
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.entities import PROVIDER
from crypto_assets.domain.intervals import PartitionScheme, to_milliseconds
from crypto_assets.domain.series import CandleTable
from crypto_assets.domain.spans import Span

_COVERAGE = TABLES["crypto_kdata_coverage"]
_RUNS_PER_STATEMENT = 400


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


def collected_runs(
    connection: Connection, candle_table: CandleTable, entity_id: str | None = None
) -> dict[str, list[CollectedRun]]:
    """The runs of one symbol of a candle table, or of all: by entity id in order, each in order of time.

    One statement reads all partition keys of each symbol as one text: that is quicker than finding the first and the
    last in SQL. Another statement reads the clocks.
    """
    c = _COVERAGE.c
    texts = select(c.entity_id, texts_in_order(c.partition, c.partition).label("keys"))
    texts = texts.where(*of_series(c, PROVIDER, candle_table, entity_id)).group_by(c.entity_id).order_by(c.entity_id)
    ends = {row.entity_id: _neighbours(candle_table.partition_scheme, row.keys) for row in connection.execute(texts)}
    # In order of the key, so that each statement names few keys: SQLite looks up every pair of an entity and a key.
    lasts = sorted((last, each) for each, runs in ends.items() for _, last in runs)
    clocks: dict[tuple[str, str], int] = {}
    for start in range(0, len(lasts), _RUNS_PER_STATEMENT):
        keys, ids = (set(names) for names in zip(*lasts[start : start + _RUNS_PER_STATEMENT], strict=True))
        asked = select(c.entity_id, c.partition, c.verified_at).where(
            c.provider == PROVIDER,
            c.level == candle_table.level,
            c.entity_id.in_(sorted(ids)),
            c.partition.in_(sorted(keys)),
        )
        clocks |= {
            (row.entity_id, row.partition): to_milliseconds(row.verified_at) for row in connection.execute(asked)
        }
    return {
        each: [CollectedRun(first, last, clocks[each, last]) for first, last in runs if (each, last) in clocks]
        for each, runs in ends.items()
    }


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
