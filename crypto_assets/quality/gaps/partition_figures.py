"""What there is of each partition of a candle table, all its symbols together: what Dagster shows beside the partition.

Read from the coverage and the ledger of gaps; no candle is read. Called by `collect.run`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from crypto_assets.database.expressions import of_series, provider_of
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.series import CandleTable
from crypto_assets.domain.spans import Span
from crypto_assets.quality.gaps.ledger import OPEN, SOURCE
from crypto_assets.quality.gaps.rows import load_gaps

_COVERAGE = TABLES["crypto_kdata_coverage"]


@dataclass(frozen=True)
class PartitionFigures:
    """Candles of one partition: stored, expected when last asked, missing, and those the exchange has none of.

    `sources` are where those stored came from.
    """

    rows: int = 0
    expected: int = 0
    missing: int = 0
    source_candles: int = 0
    sources: frozenset[str] = frozenset()


def partition_figures(connection: Connection, candle_table: CandleTable, window: Span) -> dict[str, PartitionFigures]:
    """The figures of every partition of `window` (whole partitions), by key; two statements, however many there are."""
    keys = candle_table.partition_keys(window)
    c = _COVERAGE.c
    rows, expected = func.sum(c.present).label("rows"), func.sum(c.expected).label("expected")
    counted = (
        select(c.partition, c.source, rows, expected)
        .where(*of_series(c, provider_of(connection), candle_table), c.partition.between(keys[0], keys[-1]))
        .group_by(c.partition, c.source)
    )
    found: dict[str, list[PartitionFigures]] = {}
    for row in connection.execute(counted):
        sources = frozenset(filter(None, row.source.split("+")))
        one = PartitionFigures(int(row.rows), int(row.expected), sources=sources)
        found.setdefault(row.partition, []).append(one)
    gaps = load_gaps(connection, candle_table)
    lacking = {
        status: _by_partition(
            candle_table, window, (gap.span for each in gaps.values() for gap in each if gap.status == status)
        )
        for status in (OPEN, SOURCE)
    }
    return {key: _together(found.get(key, []), lacking[OPEN][key], lacking[SOURCE][key]) for key in keys}


def _by_partition(candle_table: CandleTable, window: Span, spans: Iterable[Span]) -> Counter[str]:
    """How many candles the spans hold in each partition of the window."""
    counted = Counter[str]()
    for span in spans:
        inside = span.intersect(window)
        while inside.start < inside.end:
            key = candle_table.partition_key(inside.start)
            end = min(inside.end, candle_table.partition_span(key).end)
            counted[key] += candle_table.interval.count(inside.start, end)
            inside = Span(end, inside.end)
    return counted


def _together(parts: Sequence[PartitionFigures], missing: int, source_candles: int) -> PartitionFigures:
    return PartitionFigures(
        rows=sum(part.rows for part in parts),
        expected=sum(part.expected for part in parts),
        missing=missing,
        source_candles=source_candles,
        sources=frozenset[str]().union(*(part.sources for part in parts)),
    )
