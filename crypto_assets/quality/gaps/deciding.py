"""Decisions about long holes between collected partitions: collect the hole, leave it, or undo a decision.

After a decision the ledger of gaps follows: what is owed from then on becomes a gap, which is asked for as any other;
what is no longer owed leaves the ledger. What a hole is belongs to `quality.gaps.holes`. Called by
`quality.verification.examination`, `collect`, `orchestration` and `cli.holes`. Spans are milliseconds UTC, moments
naive UTC by our own clock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, delete

from crypto_assets.database.engines import Database
from crypto_assets.database.entity_names import spellings
from crypto_assets.database.expressions import of_series, provider_of
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.series import CandleTable
from crypto_assets.domain.spans import Span, intersect, merge, subtract
from crypto_assets.quality.gaps.coverage import Owed, owed_spans
from crypto_assets.quality.gaps.decisions import decisions, replace_decisions
from crypto_assets.quality.gaps.holes import COLLECT, LEAVE, Decision
from crypto_assets.quality.gaps.ledger import Policy
from crypto_assets.quality.gaps.missing import missing_spans
from crypto_assets.quality.gaps.rows import load_gaps
from crypto_assets.quality.verification.partitions import Look, SymbolPartitions

_COVERAGE = TABLES["crypto_kdata_coverage"]
_QUALITY = "crypto_quality"
ALWAYS = Span(0, 253_402_300_800_000)


class Verdict(StrEnum):
    """What is decided about a hole, or that an earlier decision is taken back."""

    COLLECT = COLLECT
    LEAVE = LEAVE
    UNDO = "undo"


@dataclass(frozen=True)
class Hole:
    """A long hole of one symbol, or the part of it that a decision speaks of.

    `state` is `waiting`, `collect` or `leave`; `symbol` what the symbol is asked for by, or the entity id where that is
    not known.
    """

    candle_table: CandleTable
    entity_id: str
    symbol: str
    span: Span
    state: str


WAITING = "waiting"


def holes(connection: Connection, candle_table: CandleTable, policy: Policy) -> list[Hole]:
    """The long holes of a candle table that wait for a decision or had one, by symbol and time."""
    owed = owed_spans(connection, candle_table, longest_hole=policy.longest_hole)
    if not any(each.waiting or each.chosen or each.left for each in owed):
        return []
    return holes_of(candle_table, owed, spellings(connection, TABLES[candle_table.entity_table]))


def holes_of(candle_table: CandleTable, owed: Iterable[Owed], names: Mapping[str, str]) -> list[Hole]:
    """The same of what is owed already known; `names` are what symbols are asked for by, by entity id."""
    return sorted(
        (
            Hole(candle_table, each.entity_id, names.get(each.entity_id, each.entity_id), span, state)
            for each in owed
            for state, spans in ((WAITING, each.waiting), (COLLECT, each.chosen), (LEAVE, each.left))
            for span in spans
        ),
        key=lambda hole: (hole.symbol, hole.span),
    )


def decide(
    database: Database,
    candle_table: CandleTable,
    verdict: Verdict,
    now: datetime,
    by: str,
    policy: Policy,
    *,
    symbols: Collection[str] | None = None,
    within: Span = ALWAYS,
    only_waiting: bool = False,
) -> list[Hole]:
    """Decides about the long holes of a candle table, or the parts of them `within` a span; what that was about.

    `symbols` are what they are asked for by, all where None; `by` says who decided, and where. To collect is said of
    holes that wait or were left, to leave of those that wait or were to be collected, or with `only_waiting` of those
    that wait alone; undo takes both back. Each symbol is a transaction, in which the ledger follows.
    """
    about_states = (WAITING,) if only_waiting else _ABOUT[verdict]
    if COLLECT in about_states:
        _release_claims(database, candle_table, symbols, within)
    with database.connect(candle_table.name) as connection:
        found = [hole for hole in holes(connection, candle_table, policy) if symbols is None or hole.symbol in symbols]
    changed: list[Hole] = []
    for entity_id in sorted({hole.entity_id for hole in found}):
        about = [
            Hole(candle_table, entity_id, hole.symbol, span, hole.state)
            for hole in found
            if hole.entity_id == entity_id and hole.state in about_states
            for span in intersect([hole.span], [within])
        ]
        if about:
            with database.begin(candle_table.name, also=[_QUALITY]) as connection:
                stored = SymbolPartitions(connection, candle_table, entity_id)
                _decide(stored, verdict, merge(hole.span for hole in about), now, by, policy)
            changed += about
    return changed


_ABOUT = {
    Verdict.COLLECT: (WAITING, LEAVE),
    Verdict.LEAVE: (WAITING, COLLECT),
    Verdict.UNDO: (COLLECT, LEAVE),
}


def _decide(
    stored: SymbolPartitions, verdict: Verdict, spans: list[Span], now: datetime, by: str, policy: Policy
) -> None:
    of_symbol = stored.connection, stored.candle_table, stored.entity_id
    made = [] if verdict is Verdict.UNDO else [Decision(span, verdict.value, now, by) for span in spans]
    replace_decisions(*of_symbol, spans, made)
    missing: list[Span] = []
    if verdict is Verdict.COLLECT:
        for span in spans:
            missing += missing_spans(*of_symbol, span)
    stored.account(Look(spans, missing), now, policy)


def _release_claims(
    database: Database, candle_table: CandleTable, symbols: Collection[str] | None, within: Span
) -> None:
    """Takes back the claims on partitions of holes to be collected of which no candle ever came.

    A run that was ended leaves up to a hundred claimed partitions. They would stay owed, and be asked for again.
    """
    c = _COVERAGE.c
    with database.connect(candle_table.name) as connection:
        decided = decisions(connection, candle_table)
        names = spellings(connection, TABLES[candle_table.entity_table], list(decided))
    for entity_id, known in decided.items():
        if symbols is not None and names.get(entity_id, entity_id) not in symbols:
            continue
        spans = intersect([each.span for each in known if each.decision == COLLECT], [within])
        keys = [key for span in spans for key in candle_table.partition_keys(span)]
        if keys:
            with database.begin(candle_table.name, also=[_QUALITY]) as connection:
                own = of_series(c, provider_of(connection), candle_table, entity_id)
                connection.execute(delete(_COVERAGE).where(*own, c.partition.in_(keys), c.source == ""))


def close_disowned(
    database: Database, candle_table: CandleTable, owed: Sequence[Owed], now: datetime, policy: Policy
) -> None:
    """Takes gaps that are no longer `owed` out of the ledger, as after a setting changed; nearly always none."""
    spans = {each.entity_id: each.spans for each in owed}
    with database.connect(candle_table.name) as connection:
        gaps = load_gaps(connection, candle_table)
    for entity_id, known in gaps.items():
        if subtract([gap.span for gap in known], spans.get(entity_id, [])):
            with database.begin(candle_table.name, also=[_QUALITY]) as connection:
                SymbolPartitions(connection, candle_table, entity_id).account(Look([], []), now, policy)
