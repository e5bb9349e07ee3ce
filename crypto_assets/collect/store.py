"""Storing what was collected: batches of candles, then the verification of partitions, then the gap ledger.

Here belongs what is committed together, so that a process that is killed at any moment leaves a database that is valid
and knows what it lacks. What is written down about gaps and partitions belongs to `quality`. Also here: stored candles,
read as fetched ones come, so that they can stand in for these. No Dagster here. Called by `collect.candles`.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

import numpy as np
from sqlalchemy import Connection, Table, select

from crypto_assets.collect.judge import Batch
from crypto_assets.collect.outcome import Counts, Outcome, Symbol
from crypto_assets.collect.plan import Plan
from crypto_assets.collect.provenance import ARCHIVE, note_provenance, settle_provenance
from crypto_assets.database.engines import Database
from crypto_assets.database.expressions import as_written, epoch_milliseconds, within
from crypto_assets.database.tables import TABLES
from crypto_assets.database.writes import upsert
from crypto_assets.domain.intervals import Interval
from crypto_assets.domain.series import CANDLE_COLUMNS, CandleTable, Series
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.venue import Venue
from crypto_assets.exchange.venues import venue_of
from crypto_assets.frames.candles import Candles, candle_records
from crypto_assets.quality.conflicts import record_conflicts
from crypto_assets.quality.gaps.coverage import claim_coverage, unverify
from crypto_assets.quality.gaps.ledger import Policy
from crypto_assets.quality.gaps.quiet import Asked
from crypto_assets.quality.rejections import record_rejections
from crypto_assets.quality.rules.candles import lacks_price
from crypto_assets.quality.verification.marks import note_unverified
from crypto_assets.quality.verification.partitions import (
    PARTITIONS_PER_TRANSACTION,
    Look,
    SymbolPartitions,
    merge_looks,
)

_QUALITY = "crypto_quality"


@dataclass(frozen=True)
class CandleStore:
    """Where the candles of one table are kept, as of the exchange's `clock` (ms).

    `policy` and `now`, our clock (naive UTC), are the gap ledger's. One symbol is judged and written at a time: whoever
    does so holds `turn`, while others wait for the exchange.
    """

    database: Database
    candle_table: CandleTable
    clock: int
    policy: Policy
    now: Callable[[], datetime]
    turn: threading.Lock = field(default_factory=threading.Lock)

    @property
    def venue(self) -> Venue:
        """Whose candles these are."""
        return venue_of(self.database.provider)

    @property
    def table(self) -> Table:
        """The candle table."""
        return TABLES[self.candle_table.name]

    @property
    def interval(self) -> Interval:
        """Its interval."""
        return self.candle_table.interval

    def series(self, symbol: Symbol) -> Series:
        """The symbol's candles in this table."""
        market_type, interval = self.candle_table
        return Series(self.database.provider, market_type, symbol.exchange_id, symbol.entity_id, interval)

    def stored(self, symbol: Symbol, span: Span) -> Candles:
        """The stored candles of a span, as `stored_candles` reads them."""
        with self.database.connect(self.candle_table.name) as connection:
            return stored_candles(connection, self.table, symbol.entity_id, self.interval, span)

    def store(
        self, symbol: Symbol, plan: Plan, span: Span, batch: Batch, sources: Mapping[str, Counter[str]]
    ) -> Outcome:
        """Commits a batch of `span`, and with the first one that the window of the plan is being collected.

        `sources` are those of what this run stored before. The caller holds `turn`.
        """
        times = batch.candles.candles.times
        since, first, last = times.searchsorted([batch.since, *span])
        records = partial(
            candle_records, entity_id=symbol.entity_id, provider=self.database.provider, name=symbol.display_name
        )
        rewritten = frozenset[str]()
        with self.database.begin(self.candle_table.name, also=[_QUALITY]) as connection:
            if batch.is_first:
                self._claim(connection, symbol, plan)
            record_rejections(connection, self.candle_table.name, symbol.entity_id, batch.rejections, self.clock)
            record_conflicts(connection, self.candle_table.name, symbol.entity_id, batch.conflicts, self.clock)
            counts = upsert(connection, self.table, records(batch.candles[first:last]))
            around = [
                upsert(connection, self.table, records(part), only_existing=True)
                for part in (batch.candles[since:first], batch.candles[last:])
            ]
            if counts.written or any(part.written for part in around):
                rewritten = self._partitions(batch)
                ours = rewritten - plan.altered
                unverify(connection, self.candle_table, symbol.entity_id, ours)
                note_unverified(connection, self.candle_table, symbol.entity_id, ours)
            came = note_provenance(connection, self.series(symbol), batch, sources, self.now())
        return Outcome(
            Counts(
                received=len(batch.received) + len(batch.rejections),
                rejected=len(batch.rejections),
                inserted=counts.inserted,
                changed=counts.changed + sum(part.changed for part in around),
                unchanged=counts.unchanged,
                archived=sum(counter[ARCHIVE] for counter in came.values()),
                first=int(times[first]) if first < last else None,
                last=int(times[last - 1]) if first < last else None,
            ),
            sources=came,
            files=frozenset(file.file.period for file in batch.files),
            rewritten=rewritten,
            refused=batch.refused_times,
        )

    def verify(self, symbol: Symbol, plan: Plan, outcome: Outcome) -> tuple[Look, list[str]]:
        """Verifies the partitions of the plan, and those beside them in which candles were rewritten.

        Returns what was seen, and the suspects that are still not as they were verified: these are left as they are.
        """
        looks: list[Look] = []
        altered: list[str] = []
        asked = None if self.venue.is_dense else Asked(outcome.answers, outcome.refused, plan.settled, self.now())
        for first in range(0, len(plan.partitions), PARTITIONS_PER_TRANSACTION):
            keys = plan.partitions[first : first + PARTITIONS_PER_TRANSACTION]
            with self._writing() as connection:
                partitions = SymbolPartitions(connection, self.candle_table, symbol.entity_id)
                suspects = [key for key in keys if key in plan.suspects]
                changed = partitions.changed(suspects) if suspects else set()
                as_asked = [key for key in keys if key not in changed]
                looks.append(partitions.verify_asked(as_asked, self.clock, asked))
                altered += sorted(changed)
        if beside := sorted(outcome.rewritten.difference(plan.partitions)):
            with self._writing() as connection:
                SymbolPartitions(connection, self.candle_table, symbol.entity_id).examine(beside, asked)
        return merge_looks(looks), altered

    def account(self, symbol: Symbol, plan: Plan, outcome: Outcome, look: Look) -> None:
        """Brings the gap ledger and the provenance up to date with what came, and with what was seen of it."""
        with self._writing() as connection:
            partitions = SymbolPartitions(connection, self.candle_table, symbol.entity_id)
            partitions.account(look, self.now(), self.policy, outcome.answers)
            settle_provenance(connection, self.series(symbol), plan, outcome)

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self.turn, self.database.begin(self.candle_table.name, also=[_QUALITY]) as connection:
            yield connection

    def _claim(self, connection: Connection, symbol: Symbol, plan: Plan) -> None:
        claimed = claim_coverage(connection, self.candle_table, symbol.entity_id, plan.window, self.clock)
        note_unverified(connection, self.candle_table, symbol.entity_id, claimed)

    def _partitions(self, batch: Batch) -> frozenset[str]:
        """The partitions of the candles that are written, at least one: those that open before `since` are not."""
        times = batch.candles.candles.times
        first, last = max(batch.since, int(times[0])), int(times[-1])
        return frozenset(self.candle_table.partition_keys(Span(first, last + 1)))


def stored_candles(connection: Connection, table: Table, entity_id: str, interval: Interval, span: Span) -> Candles:
    """An entity's candles of `span` that are on the grid and have their prices, in order of time."""
    instant = epoch_milliseconds(table.c.timestamp)
    columns = [instant.label("open_time"), *(table.c[name] for name in CANDLE_COLUMNS[1:])]
    sound = (instant % interval.milliseconds == 0, as_written(table.c.timestamp), ~lacks_price(table))
    statement = select(*columns).where(*within(table, entity_id, span), *sound).order_by(table.c.timestamp)
    rows = [tuple(row) for row in connection.execute(statement).all()]
    return Candles.of(np.array(rows, dtype=np.float64).reshape(len(rows), len(CANDLE_COLUMNS)).T)
