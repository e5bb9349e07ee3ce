"""Repairs that are due: gaps that are to be asked for again, and partitions that differ from their checksum.

Here belongs what is due, and which spans are repaired by one run. Starting that run, and starting it again when it
failed, belongs to `orchestration.sensors.gap_backfill`, which calls this. Reads the database only. Spans are
milliseconds UTC.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from crypto_assets.database.entity_names import spellings
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.series import CandleTable
from crypto_assets.domain.spans import Span, intersect, merge
from crypto_assets.quality.gaps.coverage import covered_partitions
from crypto_assets.quality.gaps.ledger import Policy
from crypto_assets.quality.gaps.rows import load_gaps
from crypto_assets.quality.verification.marks import marks

PARTITIONS_PER_REPAIR = 100
"""A run over this many partitions writes some two hundred events. Later runs repair the rest of a longer gap."""


@dataclass(frozen=True)
class DueSpan:
    """A span of one symbol that is to be asked for. `evidence` says why, so that the same request is made only once."""

    symbol: str
    span: Span
    evidence: str


@dataclass(frozen=True)
class RepairRun:
    """Spans of one candle table that one run asks for together: their partitions are neighbours."""

    candle_table: CandleTable
    due: tuple[DueSpan, ...]

    @property
    def partitions(self) -> tuple[str, str]:
        """The first and the last partition concerned."""
        times = [time for each in self.due for time in (each.span.start, each.span.end - 1)]
        return self.candle_table.partition_key(min(times)), self.candle_table.partition_key(max(times))

    @property
    def newest(self) -> int:
        """The end of the newest span."""
        return max(each.span.end for each in self.due)

    @property
    def spans(self) -> dict[str, list[Span]]:
        """The spans by ccxt symbol."""
        by_symbol: dict[str, list[Span]] = {}
        for each in self.due:
            by_symbol.setdefault(each.symbol, []).append(each.span)
        return {symbol: merge(spans) for symbol, spans in sorted(by_symbol.items())}

    @property
    def digest(self) -> str:
        """A hash of the spans and their evidence: another one for a later attempt at the same spans."""
        text = repr((self.candle_table.name, sorted((each.symbol, each.span, each.evidence) for each in self.due)))
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def since(self, time: int) -> RepairRun | None:
        """The same without what lies before `time`; None where nothing is left."""
        kept = tuple(
            DueSpan(each.symbol, Span(max(each.span.start, time), each.span.end), each.evidence)
            for each in self.due
            if each.span.end > time
        )
        return RepairRun(self.candle_table, kept) if kept else None


@dataclass(frozen=True)
class DueRepairs:
    """The repairs of one table that are due, newest first; the number of open gaps; when the next one falls due."""

    repairs: list[RepairRun]
    open_gaps: int
    next_due: datetime | None


def due_repairs(connection: Connection, candle_table: CandleTable, now: datetime, policy: Policy) -> DueRepairs:
    """The repairs of a candle table that are due at `now` (our clock, naive UTC), and when later ones fall due."""
    entities = TABLES[candle_table.entity_table]
    due, later = [], []
    open_spans: dict[str, list[Span]] = {}
    known = load_gaps(connection, candle_table)
    altered = _altered(connection, candle_table)
    symbols = spellings(connection, entities, {*known, *(entity_id for entity_id, _, _ in altered)})
    for entity_id, gaps in known.items():
        for gap in gaps:
            if gap.status == "open":
                open_spans.setdefault(entity_id, []).append(gap.span)
            if gap.due_at(policy) > now:
                later.append(gap.due_at(policy))
            elif entity_id in symbols:
                due.append(DueSpan(symbols[entity_id], gap.span, f"{gap.status} {gap.attempts} {gap.last_checked}"))
    for entity_id, span, found in altered:
        if entity_id in symbols and not intersect([span], open_spans.get(entity_id, [])):
            due.append(DueSpan(symbols[entity_id], span, found))
    repairs = [RepairRun(candle_table, each) for each in _together(candle_table, due)]
    return DueRepairs(
        sorted(repairs, key=lambda repair: repair.newest, reverse=True),
        sum(map(len, open_spans.values())),
        min(later, default=None),
    )


def _altered(connection: Connection, candle_table: CandleTable) -> list[tuple[str, Span, str]]:
    """Partitions that an examination found to differ from their checksum: entity, span, checksum of what is stored."""
    altered = []
    for mark in marks(connection, candle_table):
        if mark.found is None:
            continue
        covered = covered_partitions(connection, candle_table, mark.entity_id, [mark.partition])
        row = covered.get(mark.entity_id, {}).get(mark.partition)
        if row is not None and row.digest not in ("", mark.found):
            altered.append((mark.entity_id, candle_table.partition_span(mark.partition), mark.found))
    return altered


def _together(candle_table: CandleTable, due: Sequence[DueSpan]) -> Iterable[tuple[DueSpan, ...]]:
    """The spans in groups of neighbouring partitions, each of at most so many partitions as one run takes."""
    pieces = sorted((piece for each in due for piece in _pieces(candle_table, each)), key=lambda each: each.span)
    group: list[DueSpan] = []
    keys: set[str] = set()
    reached = 0
    for piece in pieces:
        key = candle_table.partition_key(piece.span.start)
        start, end = candle_table.partition_span(key)
        if group and (start > reached or (key not in keys and len(keys) >= PARTITIONS_PER_REPAIR)):
            yield tuple(_rejoined(group))
            group, keys = [], set()
        group.append(piece)
        keys.add(key)
        reached = max(reached, end)
    if group:
        yield tuple(_rejoined(group))


def _pieces(candle_table: CandleTable, due: DueSpan) -> Iterable[DueSpan]:
    """The span cut where partitions meet."""
    for key in candle_table.partition_keys(due.span):
        yield DueSpan(due.symbol, due.span.intersect(candle_table.partition_span(key)), due.evidence)


def _rejoined(pieces: Iterable[DueSpan]) -> list[DueSpan]:
    """Pieces of one gap that touch, as one again."""
    joined: list[DueSpan] = []
    for piece in sorted(pieces, key=lambda each: (each.symbol, each.span)):
        last = joined[-1] if joined else None
        if last and (last.symbol, last.evidence, last.span.end) == (piece.symbol, piece.evidence, piece.span.start):
            joined[-1] = DueSpan(piece.symbol, Span(last.span.start, piece.span.end), piece.evidence)
        else:
            joined.append(piece)
    return joined
