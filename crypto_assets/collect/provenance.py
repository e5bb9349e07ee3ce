"""Where stored candles came from: the sources of each partition, and the exchange's bulk files among them.

Here belongs what is written down about sources, and when it is no longer true. Which source is asked for what belongs
to `collect.span_reader`. Called by `collect.candles` within its transactions, and by the job that compares checksums of
files again. No Dagster here. Moments are naive UTC by our own clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import ColumnElement, Connection, Row, Table, delete, select, update

from crypto_assets.collect.judge import Batch
from crypto_assets.collect.outcome import Outcome
from crypto_assets.collect.plan import Plan
from crypto_assets.database.expressions import of_series, provider_of
from crypto_assets.database.tables import TABLES
from crypto_assets.database.writes import upsert
from crypto_assets.domain.intervals import DAY_MS
from crypto_assets.domain.series import Series
from crypto_assets.domain.spans import SpanIndex
from crypto_assets.exchange.bulk_files import period_span

REST, ARCHIVE = "rest", "archive"

_COVERAGE = TABLES["crypto_kdata_coverage"]
_FILE = TABLES["crypto_source_file"]


def note_provenance(
    connection: Connection,
    series: Series,
    batch: Batch,
    before: Mapping[str, Counter[str]],
    now: datetime,
) -> dict[str, Counter[str]]:
    """Notes where the candles of a batch came from, and its files. Returns how many came from which, by partition.

    `before` is the same for what this run stored earlier: what it noted then is not noted again.
    """
    came: dict[str, Counter[str]] = {}
    for source, of_it in ((ARCHIVE, batch.archived), (REST, ~batch.archived)):
        days, counts = np.unique(batch.received[of_it] // DAY_MS, return_counts=True)
        for day, count in zip(days.tolist(), counts.tolist(), strict=True):
            came.setdefault(series.candle_table.partition_key(day * DAY_MS), Counter())[source] += count
    first = {key: counts.keys() - before.get(key, Counter()).keys() for key, counts in came.items()}
    if unknown := {key: sources for key, sources in first.items() if sources}:
        _add_sources(connection, series, unknown)
    _remember_files(connection, series, [file.as_remembered() for file in batch.files], now)
    return came


def settle_provenance(connection: Connection, series: Series, plan: Plan, outcome: Outcome) -> None:
    """Notes that partitions which were asked for as a whole have the sources of this run, and no others any more.

    A file is no longer watched if all of its span was asked for and the candles came from elsewhere.
    """
    sources = {key: outcome.sources.get(key, Counter[str]()) for key in plan.completed_by(outcome.asked)}
    _replace_sources(connection, series, sources)
    known = set(_remembered_periods(connection, series)) - outcome.files
    asked = SpanIndex(outcome.asked)
    past = [period for period in sorted(known) if asked.holds(period_span(period))]
    _forget_files(connection, series, past)


def _add_sources(connection: Connection, series: Series, sources: Mapping[str, Collection[str]]) -> None:
    """Adds these sources to those of each partition; its earlier sources stay."""
    rows = _rows(connection, series, sources)
    known = {row.partition: _split(row.source) for row in rows}
    _note(connection, series, {key: names | set(sources[key]) for key, names in known.items()})


def _replace_sources(connection: Connection, series: Series, came: Mapping[str, Mapping[str, int]]) -> None:
    """Replaces the sources of each partition of which `came` has as many candles as are stored; leaves others."""
    rows = _rows(connection, series, came)
    whole = [row.partition for row in rows if sum(came[row.partition].values()) >= row.present]
    _note(connection, series, {partition: set(came[partition]) for partition in whole})


def _rows(connection: Connection, series: Series, partitions: Iterable[str]) -> list[Row[Any]]:
    c = _COVERAGE.c
    where = (*_of(_COVERAGE, series), c.partition.in_(list(partitions)))
    return [*connection.execute(select(c.partition, c.source, c.present).where(*where))]


def _note(connection: Connection, series: Series, sources: Mapping[str, Collection[str]]) -> None:
    together: dict[str, list[str]] = {}
    for partition, names in sources.items():
        together.setdefault("+".join(sorted(names)), []).append(partition)
    for text, partitions in together.items():
        c = _COVERAGE.c
        where = (*_of(_COVERAGE, series), c.partition.in_(partitions), c.source != text)
        connection.execute(update(_COVERAGE).where(*where).values(source=text))


def _split(source: str) -> set[str]:
    return set(filter(None, source.split("+")))


def _remember_files(connection: Connection, series: Series, files: Collection[dict[str, Any]], now: datetime) -> None:
    """Notes files whose candles are stored in this transaction: period, sha256, rows and last_timestamp of each."""
    if files:
        of = {"entity_id": series.entity_id, "provider": series.provider, "level": series.interval.value}
        upsert(connection, _FILE, pd.DataFrame([of | file | {"loaded_at": now, "checked_at": now} for file in files]))


def _remembered_periods(connection: Connection, series: Series) -> list[str]:
    """The periods of all files that candles of this series came from."""
    return list(connection.scalars(select(_FILE.c.period).where(*_of(_FILE, series))))


def _forget_files(connection: Connection, series: Series, periods: Collection[str]) -> None:
    """Forgets files whose candles were replaced by others."""
    if periods:
        connection.execute(delete(_FILE).where(*_of(_FILE, series), _FILE.c.period.in_(periods)))


def files_to_check(connection: Connection, since: datetime, limit: int) -> list[Row[Any]]:
    """The files whose checksum is to be compared next, each an entity_id, level, period and sha256.

    At most `limit` files with candles after `since`, and at most `limit` older files; of each kind those that were
    compared longest ago.
    """
    c = _FILE.c
    turn = select(c.entity_id, c.level, c.period, c.sha256).where(c.provider == provider_of(connection))
    turn = turn.order_by(c.checked_at, c.entity_id, c.level, c.period).limit(limit)
    recent, older = turn.where(c.last_timestamp >= since), turn.where(c.last_timestamp < since)
    return [*connection.execute(recent), *connection.execute(older)]


def note_checked(connection: Connection, series: Series, period: str, now: datetime) -> None:
    """Notes when a file's checksum was compared, so that others come first the next time."""
    where = (*_of(_FILE, series), _FILE.c.period == period)
    connection.execute(update(_FILE).where(*where).values(checked_at=now))


def _of(table: Table, series: Series) -> list[ColumnElement[bool]]:
    return of_series(table.c, series.provider, series.candle_table, series.entity_id)
