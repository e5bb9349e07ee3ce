"""Suspect partitions of a candle table: those that an examination must read, found without reading the others.

A partition is suspect if it has a mark (somebody changed it), if it has no checksum (a run was changing it), or if
coverage and ledger do not add up. Reading it belongs to `quality.verification.examination`, which calls this.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row

from crypto_assets.domain.intervals import to_milliseconds
from crypto_assets.domain.series import CandleTable
from crypto_assets.domain.spans import Span, SpanIndex, intersect, subtract
from crypto_assets.quality.gaps.collected_runs import rows_of
from crypto_assets.quality.gaps.coverage import (
    Owed,
    askable,
    covered_partitions,
    listed_spans,
)
from crypto_assets.quality.gaps.missing import archived_spans
from crypto_assets.quality.gaps.quiet import load_quiet, quiet_counts
from crypto_assets.quality.gaps.rows import load_gaps
from crypto_assets.quality.verification.marks import marks


def suspects(connection: Connection, candle_table: CandleTable, every_owed: Sequence[Owed]) -> dict[str, set[str]]:
    """The suspect partitions by entity: marked, unverified, or with sums that do not add up.

    `every_owed` comes from `owed_spans`. Coverage rows that lack candles or a
    checksum are read one by one. Of all others only their sum is compared with what is owed there; they are read where
    it differs, as after a listing was corrected.
    """
    found: dict[str, set[str]] = {}
    for mark in marks(connection, candle_table):
        found.setdefault(mark.entity_id, set()).add(mark.partition)
    keys = ((each.entity_id, key) for each in every_owed for key in each.uneven)
    uneven: dict[str, dict[str, Row[Any]]] = {}
    for row in rows_of(connection, candle_table, keys):
        uneven.setdefault(row.entity_id, {})[row.partition] = row
    gaps = load_gaps(connection, candle_table)
    archived = archived_spans(connection, candle_table)
    quiet = quiet_counts(connection, candle_table)

    def coverage_of(entity_id: str, keys: Collection[str] | None = None) -> dict[str, Row[Any]]:
        return covered_partitions(connection, candle_table, entity_id, keys).get(entity_id, {})

    for owed in every_owed:
        own = owed.entity_id
        lacking = _by_partition(candle_table, [gap.span for gap in gaps.get(own, [])])
        rows = dict(uneven.get(own, {}))
        if elsewhere := lacking.keys() - rows.keys():
            rows |= coverage_of(own, elsewhere)
        there = SpanIndex(archived.get(own, []))
        silent = _quiet_by_partition(connection, candle_table, own) if own in quiet else {}
        unsettled = _unsettled(candle_table, owed, rows, lacking, rows.keys() | lacking.keys(), there, silent)
        even = sum(count for key, count in silent.items() if key not in rows and key not in lacking)
        if _counted(candle_table, owed, rows, lacking) - even != owed.verified - _present(rows):
            rows = coverage_of(own)
            unsettled = _unsettled(candle_table, owed, rows, lacking, None, there, silent)
            unsettled |= _outdated(connection, candle_table, owed, rows, silent)
        if unsettled:
            found.setdefault(own, set()).update(unsettled)
    return found


def _unsettled(
    candle_table: CandleTable,
    owed: Owed,
    rows: Mapping[str, Row[Any]],
    lacking: Mapping[str, int],
    keys: Collection[str] | None,
    archived: SpanIndex,
    quiet: Mapping[str, int],
) -> set[str]:
    """Of the partitions `keys` of an entity, or of all, those unverified or lacking other candles than the ledger says.

    `rows` is what coverage has of them, `lacking` how many candles the ledger says are missing in each, `quiet` how
    many a sparse venue does not owe.
    """
    # An archived one cannot be verified before it is restored, and restoring it leaves a mark.
    blank = {key for key, row in rows.items() if not row.digest}
    unsettled = {key for key in blank if not archived.touches(candle_table.partition_span(key))}
    expected = _by_partition(candle_table, owed.spans if keys is None else _owed_in(candle_table, owed, keys))
    for key, count in expected.items():
        due = count - quiet.get(key, 0)
        if key not in blank and due - (rows[key].present if key in rows else 0) != lacking.get(key, 0):
            unsettled.add(key)
    return unsettled | (lacking.keys() - expected.keys())


def _quiet_by_partition(connection: Connection, candle_table: CandleTable, entity_id: str) -> dict[str, int]:
    found = load_quiet(connection, candle_table, [entity_id]).get(entity_id, {})
    return {key: quiet.count for key, quiet in found.items()}


def _outdated(
    connection: Connection,
    candle_table: CandleTable,
    owed: Owed,
    rows: Mapping[str, Row[Any]],
    quiet: Mapping[str, int],
) -> set[str]:
    """The partitions whose candles are no longer owed, while their coverage still expects them."""
    listed = listed_spans(connection, candle_table, [owed.entity_id])[owed.entity_id]
    interval, due = candle_table.interval, SpanIndex(owed.spans)
    found = set()
    for key, row in rows.items():
        span = candle_table.partition_span(key)
        if row.present and row.digest and not due.touches(span):
            within = askable(interval, span, listed, to_milliseconds(row.verified_at))
            expected = sum(interval.count(*each) for each in within) - quiet.get(key, 0)
            found |= {key} if row.expected != expected else set()
    return found


def _counted(candle_table: CandleTable, owed: Owed, rows: Mapping[str, Row[Any]], lacking: Mapping[str, int]) -> int:
    """How many candles are owed outside of the partitions that are in `rows` or `lacking`."""
    inside = _owed_in(candle_table, owed, rows.keys() | lacking.keys())
    return sum(candle_table.interval.count(*span) for span in subtract(owed.spans, inside))


def _present(rows: Mapping[str, Row[Any]]) -> int:
    return sum(row.present for row in rows.values() if row.digest)


def _owed_in(candle_table: CandleTable, owed: Owed, keys: Iterable[str]) -> list[Span]:
    return intersect(owed.spans, (candle_table.partition_span(key) for key in keys))


def _by_partition(candle_table: CandleTable, spans: Iterable[Span]) -> dict[str, int]:
    """How many grid points of `spans` lie in each partition."""
    counts: dict[str, int] = {}
    for span in spans:
        for key in candle_table.partition_keys(span):
            own = span.intersect(candle_table.partition_span(key))
            counts[key] = counts.get(key, 0) + candle_table.interval.count(*own)
    return counts
