"""The holdings a backfill plan rests on: what is stored, verified, listed and known to be lacking, for many symbols.

A handful of statements reads them for all symbols of a candle table. A symbol needs statements of its own only where a
partition was altered, or where only a part of a span is stored. Changes nothing. Verifying partitions belongs to
`quality.verification`. Called by `collect.plan`, `collect.candles` and `collect.estimate`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, Row

from crypto_assets.database.tables import TABLES
from crypto_assets.domain.intervals import Interval, to_milliseconds
from crypto_assets.domain.series import CandleTable
from crypto_assets.domain.spans import Span, intersect, merge, subtract
from crypto_assets.quality.gaps.coverage import askable, covered_between, covered_partitions, listed_spans
from crypto_assets.quality.gaps.ledger import SOURCE
from crypto_assets.quality.gaps.missing import archived_spans, missing_spans, stored_counts
from crypto_assets.quality.gaps.quiet import Settled, load_quiet
from crypto_assets.quality.gaps.rows import load_gaps
from crypto_assets.quality.verification.content import read_digest
from crypto_assets.quality.verification.marks import marks

Spans = dict[str, list[Span]]
"""By entity id."""


@dataclass(frozen=True)
class Holdings:
    """What one candle table has of the entities `entity_ids`, seen through one connection."""

    connection: Connection
    candle_table: CandleTable
    entity_ids: Sequence[str]

    @property
    def interval(self) -> Interval:
        """The table's interval."""
        return self.candle_table.interval

    @cached_property
    def listed(self) -> Spans:
        """When each entity was listed."""
        return listed_spans(self.connection, self.candle_table, self.entity_ids)

    @cached_property
    def source_gaps(self) -> Spans:
        """The spans of which the ledger says that the exchange has no candles, by entity."""
        gaps = load_gaps(self.connection, self.candle_table, entity_id=self._only, statuses=[SOURCE])
        return {entity_id: merge(gap.span for gap in each) for entity_id, each in gaps.items()}

    @cached_property
    def _archived(self) -> Spans:
        return archived_spans(self.connection, self.candle_table, list(self.entity_ids))

    @cached_property
    def _marked(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for mark in marks(self.connection, self.candle_table, self._only):
            found.setdefault(mark.entity_id, set()).add(mark.partition)
        return found

    def covered(self, partitions: Collection[str]) -> dict[str, dict[str, Row[Any]]]:
        """The rows of the coverage table for the partitions that were ever collected, from the first to the last."""
        if not partitions:
            return {}
        ends = min(partitions), max(partitions)
        return covered_between(self.connection, self.candle_table, self.entity_ids, *ends)

    def suspects(self, partitions: Collection[str]) -> dict[str, set[str]]:
        """Those of `partitions` that carry a mark and differ from the checksum they were verified with, by entity."""
        found: dict[str, set[str]] = {entity_id: set() for entity_id in self.entity_ids}
        for entity_id in self.entity_ids:
            if keys := self._marked.get(entity_id, set()).intersection(partitions):
                rows = covered_partitions(self.connection, self.candle_table, entity_id, keys)
                found[entity_id] = {
                    key
                    for key, row in rows.get(entity_id, {}).items()
                    if row.digest and self._digest(entity_id, key) != row.digest
                }
        return found

    def settled(self, partitions: Collection[str]) -> dict[str, list[Settled]]:
        """What a sparse venue answered of `partitions`, by entity: where no candle is, none is owed.

        Only of partitions that have a checksum and no mark. What is stored is counted, run by run, which notices what
        leaves no mark. Of a dense venue there is nothing.
        """
        known = load_quiet(self.connection, self.candle_table, self.entity_ids)
        if not known:
            return {}
        rows = self.covered(partitions)
        gaps = load_gaps(self.connection, self.candle_table, entity_id=self._only)
        runs: dict[Span, dict[str, list[Settled]]] = {}
        for entity_id, of_partition in known.items():
            own, marked = rows.get(entity_id, {}), self._marked.get(entity_id, set())
            sure = {key for key in of_partition if key in own and own[key].digest and key not in marked}
            owed = [gap.span for gap in gaps.get(entity_id, ())]
            for run in merge(map(self.candle_table.partition_span, sure)):
                runs.setdefault(run, {})[entity_id] = [
                    Settled(key, tuple(subtract([of_partition[key].span], owed)), own[key].present)
                    for key in self.candle_table.partition_keys(run)
                ]
        found: dict[str, list[Settled]] = {}
        for run, of_run in runs.items():
            counts = stored_counts(self.connection, self.candle_table, list(of_run), run)
            for entity_id, settled in of_run.items():
                if counts.get(entity_id, 0) == sum(each.present for each in settled):
                    found.setdefault(entity_id, []).extend(settled)
        return found

    def missing(self, sought: Mapping[str, Iterable[Span]]) -> Spans:
        """By entity the parts of `sought` whose grid points have no candle, in order: [first missing, next present).

        Candles are only counted, which is a twentieth of the work, in partitions that were verified to lack none and
        carry no mark. The count notices what leaves no mark, such as a deleted file. Candles that were never verified
        are counted first as well: where there are none, the whole span is missing.
        """
        wanted = {entity_id: merge(spans) for entity_id, spans in sought.items()}
        verified = self._verified([span for spans in wanted.values() for span in spans])
        counted: dict[Span, list[str]] = {}
        known: Spans = {}
        for entity_id, spans in wanted.items():
            known[entity_id] = subtract(
                intersect(spans, verified.get(entity_id, [])), self._archived.get(entity_id, [])
            )
            unknown = subtract(subtract(spans, known[entity_id]), self._archived.get(entity_id, []))
            for span in (*known[entity_id], *unknown):
                counted.setdefault(span, []).append(entity_id)
        found: Spans = {entity_id: [] for entity_id in wanted}
        for span, ids in counted.items():
            counts = stored_counts(self.connection, self.candle_table, ids, span)
            for entity_id in ids:
                count = counts.get(entity_id, 0)
                if count == 0:
                    found[entity_id].append(Span(self.interval.ceil(span.start), self.interval.ceil(span.end)))
                elif count != self.interval.count(*span) or span not in known[entity_id]:
                    found[entity_id] += missing_spans(self.connection, self.candle_table, entity_id, span)
        return {entity_id: merge(spans) for entity_id, spans in found.items()}

    def _verified(self, spans: Sequence[Span]) -> Spans:
        """Of the partitions that `spans` touch, the spans that were verified to lack no candle and carry no mark."""
        if not spans:
            return {}
        window = Span(min(spans).start, max(span.end for span in spans))
        found: Spans = {}
        for entity_id, rows in self.covered(self.candle_table.partition_keys(window)).items():
            marked, listed = self._marked.get(entity_id, set()), self.listed[entity_id]
            whole: list[Span] = []
            for key, row in rows.items():
                if row.digest and key not in marked and row.present == row.expected:
                    whole += self._whole(key, row, listed)
            found[entity_id] = merge(whole)
        return found

    def _whole(self, key: str, row: Row[Any], listed: Sequence[Span]) -> list[Span]:
        """What is stored of a partition that lacks nothing: all of it, or the listed part that had closed by then."""
        span = self.candle_table.partition_span(key)
        if row.present == self.interval.count(*span):
            return [span]
        owed = askable(self.interval, span, listed, to_milliseconds(row.verified_at))
        return owed if sum(self.interval.count(*each) for each in owed) == row.present else []

    @property
    def _only(self) -> str | None:
        return self.entity_ids[0] if len(self.entity_ids) == 1 else None

    def _digest(self, entity_id: str, key: str) -> str:
        return read_digest(
            self.connection, TABLES[self.candle_table.name], entity_id, self.candle_table.partition_span(key)
        )


_ROWS_AT_ONCE = 200_000


def in_parts(entity_ids: Sequence[str], candle_table: CandleTable, window: Span) -> list[Sequence[str]]:
    """The entities in parts of which one can hold all partitions of `window` in memory at once."""
    partitions = len(candle_table.partition_keys(window))
    size = max(1, _ROWS_AT_ONCE // max(1, partitions))
    return [entity_ids[first : first + size] for first in range(0, len(entity_ids), size)]
