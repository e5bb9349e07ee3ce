"""Verifying partitions of candles: their rows are counted and their checksum is stored, and missing candles are found.

A verified partition has a checksum in the coverage and no mark. One that anybody changed since has a mark; what follows
from the mark is decided here. The rows are read by `quality.verification.content`; what becomes of a gap is decided by
`quality.gaps.ledger`. Called by `collect.candles` after candles were asked for, by `quality.verification.examination`
and by `quality.gaps.deciding`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Table, exists, func, select

from crypto_assets.database.expressions import as_written
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.intervals import to_milliseconds, to_naive
from crypto_assets.domain.series import CandleTable
from crypto_assets.domain.spans import Span, intersect, merge, subtract
from crypto_assets.quality.gaps.coverage import (
    Owed,
    askable,
    coverage_row,
    covered_partitions,
    listed_spans,
    owed_spans,
    record_coverage,
)
from crypto_assets.quality.gaps.holes import LONGEST_HOLE
from crypto_assets.quality.gaps.ledger import Answer, Policy, answered, confirmed, reconciled
from crypto_assets.quality.gaps.missing import archived_spans, written_within
from crypto_assets.quality.gaps.quiet import Asked, Quiet, load_quiet, store_quiet, whole_span
from crypto_assets.quality.gaps.rows import load_gaps, store_gaps
from crypto_assets.quality.verification.content import EMPTY, Content, read_content, read_digest
from crypto_assets.quality.verification.marks import clear_marks, note_found

PARTITIONS_PER_TRANSACTION = 64
"""Other writers wait while so many are verified: 64 days of minutes take about a twentieth of a second."""


@dataclass(frozen=True)
class Look:
    """What verifying some partitions found.

    `scope` are the spans of all of them, `missing` their grid points without a candle, owed or not, except those of
    which a sparse venue said that nothing traded. `wanting` are the
    keys of partitions with a row that breaks a rule, `differing` those that somebody other than us changed since they
    were verified.
    """

    scope: list[Span]
    missing: list[Span]
    wanting: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)


def merge_looks(looks: Sequence[Look]) -> Look:
    """Looks at several partitions of one series as one."""
    return Look(
        merge(span for look in looks for span in look.scope),
        merge(span for look in looks for span in look.missing),
        [key for look in looks for key in look.wanting],
        [key for look in looks for key in look.differing],
    )


@dataclass(frozen=True)
class SymbolPartitions:
    """The partitions of one symbol in one candle table, seen through one connection.

    Writing needs one of `Database.begin(table, also=["crypto_quality"])`.
    """

    connection: Connection
    candle_table: CandleTable
    entity_id: str

    @property
    def table(self) -> Table:
        """The candle table."""
        return TABLES[self.candle_table.name]

    def owed(self, longest_hole: timedelta = LONGEST_HOLE) -> Owed:
        """What is owed of the entity."""
        found = owed_spans(self.connection, self.candle_table, self.entity_id, longest_hole=longest_hole)
        return next(iter(found), Owed(self.entity_id, []))

    def listed(self) -> list[Span]:
        """When the entity was listed."""
        return listed_spans(self.connection, self.candle_table, [self.entity_id])[self.entity_id]

    def differing(self, partitions: Collection[str]) -> set[str]:
        """Those of `partitions` that differ from their checksum or have none; not those whose rows are all archived."""
        rows, archived = self.covered(partitions), self._archived()
        digests = {key: self._digest(key) for key in partitions}
        return {
            key
            for key, digest in digests.items()
            if (key not in rows or digest != rows[key].digest)
            and not (digest == EMPTY.digest and intersect([self._span(key)], archived))
        }

    def changed(self, partitions: Collection[str]) -> set[str]:
        """Those of `partitions` that differ from their checksum, or hold a row that breaks a rule."""
        interval = self.candle_table.interval
        unclean = {key for key in partitions if not self._content(key).is_clean(interval, self._span(key))}
        return self.differing(partitions) | unclean

    def verify_asked(self, partitions: Sequence[str], clock: int, asked: Asked | None = None) -> Look:
        """Verifies partitions just asked for, as of the exchange's `clock`: what is stored now is right.

        `asked` is what a sparse venue was asked for, None for a dense one.
        """
        return self._verify(partitions, clock, asked)

    def examine(self, partitions: Sequence[str], asked: Asked | None = None) -> Look:
        """Verifies partitions that were not asked for anew: one that differs keeps its old checksum and is told.

        A mark may name a key that is no partition: somebody stored a timestamp that is no time. `asked` is what a
        sparse venue was asked for by the run that rewrote some of their candles.
        """
        named = [key for key in partitions if self.candle_table.is_partition_key(key)]
        strays = self._strays([key for key in partitions if key not in named])
        return merge_looks([self._verify(named, None, asked), Look([], [], strays)])

    def account(self, look: Look, now: datetime, policy: Policy, answers: Sequence[Answer] = ()) -> None:
        """Brings the ledger of gaps up to date with a look, and notes what the exchange answered about these gaps."""
        owed = self.owed(policy.longest_hole)
        known = load_gaps(self.connection, self.candle_table, entity_id=self.entity_id)
        before = known.get(self.entity_id, [])
        # Gaps that only touch the scope are loaded too: a gap found within it may continue them.
        around = [Span(span.start - 1, span.end + 1) for span in look.scope]
        touched = [gap for gap in before if intersect([gap.span], around) or subtract([gap.span], owed.spans)]
        after = reconciled(touched, look.scope, look.missing, owed.spans, now)
        if answers:
            after = answered(after, answers, policy.spacing, now)
            after = confirmed(after, self.neighbours, policy.answers, now)
        store_gaps(self.connection, self.candle_table, self.entity_id, touched, after)

    def neighbours(self, span: Span) -> tuple[datetime | None, datetime | None]:
        """The open times of the last stored candle before `span` and the first after it."""
        c = self.table.c
        start, end = (to_naive(time) for time in span)
        own = (c.entity_id == self.entity_id, as_written(c.timestamp))
        before = self.connection.scalar(select(func.max(c.timestamp)).where(*own, c.timestamp < start))
        after = self.connection.scalar(select(func.min(c.timestamp)).where(*own, c.timestamp >= end))
        archived, step = self._archived(), self.candle_table.interval.milliseconds
        earlier = [to_naive(each.end - step) for each in archived if each.end <= span.start]
        later = [to_naive(each.start) for each in archived if each.start >= span.end]
        return (
            max([*earlier, *([] if before is None else [before])], default=None),
            min([*later, *([] if after is None else [after])], default=None),
        )

    def _verify(self, partitions: Sequence[str], clock: int | None, asked: Asked | None) -> Look:
        known, listed, archived = self.covered(partitions), self.listed(), self._archived()
        clear_marks(self.connection, self.candle_table, self.entity_id, partitions)
        interval = self.candle_table.interval
        was_quiet = self._quiet(partitions) if asked is not None or clock is None else {}
        quiet: dict[str, Quiet] = {}
        missing: list[Span] = []
        rows, found = [], []
        wanting: list[str] = []
        differing: list[str] = []
        for key in partitions:
            span, row, content = self._span(key), known.get(key), self._content(key)
            absent = subtract(content.missing(interval, span, [span]), archived)
            asked_at = clock if clock is not None else None if row is None else to_milliseconds(row.verified_at)
            within = [] if asked_at is None else askable(interval, span, listed, asked_at)
            present = content.count(interval, span, within)
            due = intersect(absent, within)
            untraded = self._still_quiet(was_quiet.get(key), due)
            if asked is not None:
                untraded = asked.untraded(interval, key, due, present)
            if untraded:
                quiet[key] = Quiet(whole_span(within), sum(interval.count(*each) for each in untraded))
            missing += subtract(absent, untraded)
            is_archived = bool(intersect([span], archived))
            differs = (
                clock is None
                and row is not None
                and row.digest not in ("", content.digest)
                and (bool(content.times) or not is_archived)
            )
            # Where rows are archived in a file, the checksum that was taken before still holds.
            is_in_file = is_archived and row is not None and present < row.present
            if asked_at is not None and not is_in_file:
                digest = row.digest if row is not None and differs else content.digest
                silent = quiet[key].count if key in quiet else 0
                of_this = self.candle_table, self.entity_id, key
                rows.append(coverage_row(*of_this, listed, asked_at, present, digest, silent))
            is_clean = content.is_clean(interval, span)
            wanting += [] if is_clean else [key]
            differing += [key] if differs else []
            if differs or not is_clean:
                found.append((key, content.digest))
        record_coverage(self.connection, [row for row in rows if _says_more(row, known.get(row["partition"]))])
        store_quiet(self.connection, self.candle_table, self.entity_id, was_quiet, quiet, asked)
        note_found(self.connection, self.candle_table, self.entity_id, found)
        return Look(merge(map(self._span, partitions)), merge(missing), wanting, differing)

    def _quiet(self, partitions: Collection[str]) -> dict[str, Quiet]:
        found = load_quiet(self.connection, self.candle_table, [self.entity_id]).get(self.entity_id, {})
        return {key: found[key] for key in partitions if key in found}

    def _still_quiet(self, known: Quiet | None, absent: Sequence[Span]) -> list[Span]:
        """Of the intervals without a candle, those in which nothing traded; none where another number of them is known.

        Where somebody deleted a candle, nobody knows any more which of them had trades.
        """
        if known is None:
            return []
        gaps = load_gaps(self.connection, self.candle_table, entity_id=self.entity_id).get(self.entity_id, [])
        found = subtract(intersect(absent, [known.span]), (gap.span for gap in gaps))
        count = sum(self.candle_table.interval.count(*each) for each in found)
        return found if count == known.count else []

    def _strays(self, keys: Sequence[str]) -> list[str]:
        """Those of `keys`, none of which names a partition, that rows are stored under."""
        clear_marks(self.connection, self.candle_table, self.entity_id, keys)
        there = [
            key
            for key in keys
            if self.connection.scalar(select(exists().where(*written_within(self.candle_table, self.entity_id, key))))
        ]
        note_found(self.connection, self.candle_table, self.entity_id, ((key, "") for key in there))
        return there

    def covered(self, partitions: Collection[str]) -> dict[str, Row[Any]]:
        """The rows of the coverage table for those of `partitions` that were ever collected."""
        of_entity = covered_partitions(self.connection, self.candle_table, self.entity_id, partitions)
        return of_entity.get(self.entity_id, {})

    def _content(self, key: str) -> Content:
        return read_content(self.connection, self.table, self.entity_id, self._span(key))

    def _digest(self, key: str) -> str:
        return read_digest(self.connection, self.table, self.entity_id, self._span(key))

    def _span(self, key: str) -> Span:
        return self.candle_table.partition_span(key)

    def _archived(self) -> list[Span]:
        return archived_spans(self.connection, self.candle_table, [self.entity_id]).get(self.entity_id, [])


def _says_more(row: dict[str, Any], known: Row[Any] | None) -> bool:
    """Whether a coverage row differs from the stored one."""
    return known is None or any(row[name] != getattr(known, name) for name in known._fields)
