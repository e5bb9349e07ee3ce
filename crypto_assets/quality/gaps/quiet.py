"""Quiet spans: what a sparse venue was asked for and answered, and in which some intervals have no candle.

A sparse venue has no candle for an interval without trades, and owes none. What it owes is the answer. A partition of
which it answered all has one row in the ledger of gaps, with the status `quiet`: the answered span, how many of its
intervals have no candle, and the answers as evidence. Which intervals these are follows: those without a candle that no
other gap of the ledger names. It holds while they are as many: an interval of which somebody deleted the candle looks
the same. A dense venue has no such rows.

Called by `quality.verification`, by the other modules of `quality.gaps`, and by `collect`. Spans are milliseconds UTC.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pandas as pd
from sqlalchemy import Connection, delete, func, select

from crypto_assets.database.expressions import of_series, provider_of
from crypto_assets.database.tables import TABLES
from crypto_assets.database.writes import upsert
from crypto_assets.domain.entities import exchange_in
from crypto_assets.domain.intervals import Interval, to_milliseconds, to_naive
from crypto_assets.domain.series import CandleTable
from crypto_assets.domain.spans import Span, intersect, merge, subtract
from crypto_assets.quality.gaps.ledger import QUIET, Answer

_GAPS = TABLES["crypto_kdata_gap"]
_KEPT_ANSWERS = 4


@dataclass(frozen=True)
class Settled:
    """The spans of a partition that were answered before, and how many candles the partition had then."""

    partition: str
    spans: tuple[Span, ...]
    present: int


@dataclass(frozen=True)
class Quiet:
    """The answered span of a partition, how many of its intervals have no candle, and the answers as JSON."""

    span: Span
    count: int
    answers: tuple[Mapping[str, Any], ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Asked:
    """What a run asked a sparse venue for: its answers, and what the venue had `settled` before.

    `refused` are the open times of candles that came and were refused; `now` is our clock.
    """

    answers: Sequence[Answer]
    refused: Collection[int]
    settled: Sequence[Settled]
    now: datetime

    def answered(self) -> list[Span]:
        """The spans of which the answers say everything. One in which a row without a time was refused says nothing.

        That row may have been the candle of any interval.
        """
        return merge(
            answer.span
            for answer in self.answers
            if answer.refused == sum(answer.span.start <= time < answer.span.end for time in self.refused)
        )

    def untraded(self, interval: Interval, key: str, absent: Iterable[Span], present: int) -> list[Span]:
        """Of the intervals of a partition that have no candle, those that were answered: nothing traded in them.

        `present` is how many candles the partition has. Had it more before, somebody deleted some since, and what was
        settled before counts no longer. A candle that was refused is one that the venue has.
        """
        known = next((each for each in self.settled if each.partition == key), None)
        before = known.spans if known is not None and present >= known.present else ()
        starts = [interval.floor(time) for time in self.refused]
        refused = [Span(start, start + interval.milliseconds) for start in starts]
        return subtract(intersect(absent, [*self.answered(), *before]), refused)

    def evidence(self, span: Span) -> list[dict[str, Any]]:
        """The answers about a span as JSON of the ledger."""
        return [answer.as_evidence() for answer in self.answers if intersect([answer.span], [span])]


def load_quiet(
    connection: Connection, candle_table: CandleTable, entity_ids: Sequence[str]
) -> dict[str, dict[str, Quiet]]:
    """The quiet spans of these entities, by entity id and partition key."""
    c, step = _GAPS.c, candle_table.interval.milliseconds
    own = [*of_series(c, provider_of(connection), candle_table), c.status == QUIET, c.entity_id.in_(entity_ids)]
    found: dict[str, dict[str, Quiet]] = {}
    for row in connection.execute(select(c.entity_id, c.start, c.end, c.missing, c.evidence).where(*own)):
        span = Span(to_milliseconds(row.start), to_milliseconds(row.end) + step)
        quiet = Quiet(span, row.missing, tuple((row.evidence or {}).get("answers", ())))
        found.setdefault(row.entity_id, {})[candle_table.partition_key(span.start)] = quiet
    return found


def quiet_counts(connection: Connection, candle_table: CandleTable) -> dict[str, int]:
    """How many intervals of each entity are known to have no candle because nothing traded; where there are any."""
    c = _GAPS.c
    own = [*of_series(c, provider_of(connection), candle_table), c.status == QUIET]
    counted = select(c.entity_id, func.sum(c.missing)).where(*own).group_by(c.entity_id)
    return {entity_id: int(count) for entity_id, count in connection.execute(counted).all()}


def store_quiet(
    connection: Connection,
    candle_table: CandleTable,
    entity_id: str,
    before: Mapping[str, Quiet],
    after: Mapping[str, Quiet],
    asked: Asked | None,
) -> None:
    """Replaces the quiet spans of some partitions, by key. Evidence is added up to the first and the last few answers.

    `asked` is what the new ones follow from; without it, none may have changed except that some no longer hold.
    """
    rows = []
    for key, quiet in after.items():
        if quiet == before.get(key) or asked is None:
            continue
        answers = [*(before[key].answers if key in before else ()), *asked.evidence(quiet.span)]
        kept = answers if len(answers) <= _KEPT_ANSWERS else [answers[0], *answers[1 - _KEPT_ANSWERS :]]
        rows.append(
            {
                "id": _id(candle_table, entity_id, key),
                "entity_id": entity_id,
                "provider": exchange_in(entity_id),
                "level": candle_table.level,
                "start": to_naive(quiet.span.start),
                "end": to_naive(quiet.span.end - candle_table.interval.milliseconds),
                "missing": quiet.count,
                "status": QUIET,
                "attempts": 1,
                "first_seen": asked.now,
                "last_checked": asked.now,
                "repaired_at": None,
                "evidence": {"answers": kept},
            }
        )
    gone = [_id(candle_table, entity_id, key) for key in before if key not in after]
    if gone:
        connection.execute(delete(_GAPS).where(_GAPS.c.id.in_(gone)))
    if rows:
        upsert(connection, _GAPS, pd.DataFrame(rows).astype({"repaired_at": object}))


def whole_span(within: Iterable[Span]) -> Span:
    """From the first to the last of the spans of a partition, at least one."""
    spans = merge(within)
    return Span(spans[0].start, spans[-1].end)


def _id(candle_table: CandleTable, entity_id: str, key: str) -> str:
    return f"{entity_id}_{candle_table.level}_{key}_{QUIET}"
