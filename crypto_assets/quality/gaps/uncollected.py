"""Uncollected histories: partitions of a candle table that other symbols have, and a new or lagging symbol lacks.

This is about what lies before the first and after the last collected partition of a symbol, as far as the table was
collected. What lies between the two is a gap of the ledger, or a long hole that waits for a decision. Called by
`orchestration.sensors.new_listings`. Reads the database only.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, select

from crypto_assets.database.entity_names import entities_called
from crypto_assets.database.expressions import of_own_exchange, of_series, provider_of
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.intervals import to_milliseconds
from crypto_assets.domain.series import CandleTable
from crypto_assets.domain.spans import Span, intersect, merge
from crypto_assets.quality.gaps.collected_runs import collected_runs
from crypto_assets.quality.gaps.coverage import listed_spans, owed_spans
from crypto_assets.quality.gaps.holes import LONGEST_HOLE

PARTITIONS_PER_RUN = 100
_COUNTED = 3
_COVERAGE = TABLES["crypto_kdata_coverage"]


@dataclass(frozen=True)
class Uncollected:
    """A range of partitions of one candle table in which these ccxt symbols were listed and never collected."""

    candle_table: CandleTable
    symbols: tuple[str, ...]
    partitions: tuple[str, str]

    @property
    def digest(self) -> str:
        """What tells this range of these symbols from any other."""
        text = repr((self.candle_table.name, self.symbols, self.partitions))
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def since(self, partition: str) -> Uncollected | None:
        """The same without the partitions before this one; None where none is left."""
        first, last = self.partitions
        kept = max(first, partition), last
        return Uncollected(self.candle_table, self.symbols, kept) if last >= partition else None


def uncollected_histories(
    connection: Connection, candle_table: CandleTable, tracked: Collection[str], longest_hole: timedelta = LONGEST_HOLE
) -> list[Uncollected]:
    """The partitions of the table that any of the `tracked` symbols has or owes and others lack; newest first.

    A hole that no symbol collected is left out if it is longer than `longest_hole`: it waits for a decision.

    A table that was never collected lacks nothing. Neither does a symbol without a first candle, which does not trade
    yet, nor one that the exchange knows no more, in its listing or in its klines: it cannot be asked for.
    """
    entities = TABLES[candle_table.entity_table]
    # Of entities that share a name, the one that is meant by it.
    called = {row.id: name for name, row in entities_called(connection, entities, tracked).items()}
    symbols = _symbols(connection, candle_table, called)
    collected = [symbol for symbol in symbols if symbol.first is not None]
    if not collected:
        return []
    last = max(symbol.last for symbol in collected)
    start = candle_table.partition_span(min(symbol.first for symbol in collected)).start
    history = Span(start, candle_table.partition_span(last).end)
    reached = candle_table.partition_keys(history)
    position = {key: number for number, key in enumerate(reached)}
    edges = [*(candle_table.partition_span(key).start for key in reached), history.end]
    listed = listed_spans(connection, candle_table, [symbol.id for symbol in symbols])
    lacking: dict[tuple[str, str], set[str]] = {}
    meant: list[Span] | None = None
    for symbol in symbols:
        outside = [range(len(reached))]
        if symbol.first is not None:
            ends_too_soon = _ends_too_soon(candle_table, symbol.last, symbol.asked_at, listed[symbol.id], last)
            outside = [range(position[symbol.first]), range(position[symbol.last] + (not ends_too_soon), len(reached))]
        within = _listed_within(outside, listed[symbol.id], edges)
        if within and meant is None:  # nearly always nothing is lacking
            is_whole = _is_collected_whole(connection, candle_table, collected, reached)
            spans = [history] if is_whole else _meant(connection, candle_table, symbols, longest_hole)
            meant = _partitions_of(spans, edges)
        for chunk in _chunks(intersect(within, meant or [])):
            lacking.setdefault((reached[chunk[0]], reached[chunk[-1]]), set()).add(called[symbol.id])
    found = [Uncollected(candle_table, tuple(sorted(names)), partitions) for partitions, names in lacking.items()]
    return sorted(found, key=lambda each: each.partitions, reverse=True)


def _symbols(connection: Connection, candle_table: CandleTable, entity_ids: Collection[str]) -> Sequence[Row[Any]]:
    """The symbols that the exchange still knows, with their first and last collected partition and when it was asked.

    Three lookups in the key of the coverage table each, however long the history: a minimum of a group reads all of it.
    """
    c, entities = _COVERAGE.c, TABLES[candle_table.entity_table]
    own = of_series(c, provider_of(connection), candle_table, entities.c.id)
    first = select(c.partition).where(*own).order_by(c.partition).limit(1).scalar_subquery()
    last = select(c.partition).where(*own).order_by(c.partition.desc()).limit(1).scalar_subquery()
    asked_at = select(c.verified_at).where(*own).order_by(c.partition.desc()).limit(1).scalar_subquery()
    own_exchange = of_own_exchange(connection, entities)
    still_listed = entities.c.timestamp == select(func.max(entities.c.timestamp)).where(own_exchange).scalar_subquery()
    columns: Any = (
        entities.c.id,
        first.label("first"),
        last.label("last"),
        asked_at.label("asked_at"),
    )
    chosen = (entities.c.id.in_(entity_ids), entities.c.list_date.is_not(None), still_listed)
    return connection.execute(select(*columns).where(*chosen)).all()


def _ends_too_soon(candle_table: CandleTable, key: str, asked_at: datetime, listed: Sequence[Span], last: str) -> bool:
    """Whether the last partition of a symbol was asked for before it had ended, and would not be asked for again.

    The table's `last` partition still grows, and is asked for again anyway, unless the symbol ended within it.
    """
    closed = candle_table.interval.closed_before(to_milliseconds(asked_at))
    rest = Span(closed, candle_table.partition_span(key).end)
    is_final = key != last or listed[-1].end <= candle_table.partition_span(last).end
    return is_final and bool(intersect([rest], listed))


def _listed_within(ranges: Iterable[range], listed: Iterable[Span], edges: Sequence[int]) -> list[Span]:
    """The positions in `ranges` of the partitions, which meet at `edges`, in which something was listed."""
    return intersect([Span(each.start, each.stop) for each in ranges], _partitions_of(listed, edges))


def _partitions_of(spans: Iterable[Span], edges: Sequence[int]) -> list[Span]:
    """The positions of the partitions, which meet at `edges`, that `spans` touch."""
    return [Span(max(0, bisect_right(edges, span.start) - 1), bisect_left(edges, span.end)) for span in spans]


def _is_collected_whole(
    connection: Connection, candle_table: CandleTable, collected: Iterable[Row[Any]], reached: Sequence[str]
) -> bool:
    """Whether a symbol was collected in all the partitions that the table reached: a few are counted, none is read."""
    c = _COVERAGE.c
    ends = reached[0], reached[-1]
    for symbol in [each for each in collected if (each.first, each.last) == ends][:_COUNTED]:
        own = of_series(c, provider_of(connection), candle_table, symbol.id)
        if connection.scalar(select(func.count()).select_from(_COVERAGE).where(*own)) == len(reached):
            return True
    return False


def _meant(
    connection: Connection,
    candle_table: CandleTable,
    symbols: Iterable[Row[Any]],
    longest_hole: timedelta,
) -> list[Span]:
    """What was collected of any of these symbols, listed then or not, and what is owed of them."""
    ids = {symbol.id for symbol in symbols}
    collected = (
        Span(candle_table.partition_span(run.first).start, candle_table.partition_span(run.last).end)
        for entity_id, own in collected_runs(connection, candle_table).items()
        if entity_id in ids
        for run in own.runs
    )
    owed = owed_spans(connection, candle_table, longest_hole=longest_hole)
    return merge([*collected, *(span for each in owed if each.entity_id in ids for span in each.spans)])


def _chunks(runs: Iterable[Span]) -> Iterator[range]:
    """Runs of neighbouring positions, each cut into as many as one run takes."""
    for run in runs:
        for first in range(run.start, run.end, PARTITIONS_PER_RUN):
            yield range(first, min(first + PARTITIONS_PER_RUN, run.end))
