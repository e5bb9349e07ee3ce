"""Thinning the past: old scores, old measurements and gaps that were repaired long ago. Evidence is kept.

Examinations write a score for each symbol and level every six hours. After two weeks only the lowest score of each day
is kept. After the days of the setting only the lowest score and the last measurement of each month are kept, and
repaired gaps are deleted, unless the exchange once answered without their candles. Everything else in
`crypto_data_quality_log` stays: refused rows, conflicts, resets. Called by `orchestration.assets.operations`. Moments
are naive UTC.

Each day or month is one statement and one transaction, whatever it holds: the database chooses which rows go.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Table, delete, func, literal_column, select

from crypto_assets.database.engines import Database
from crypto_assets.database.tables import TABLES
from crypto_assets.quality.gaps.ledger import REPAIRED
from crypto_assets.quality.scores import INTEGRITY

ALL_SCORES = timedelta(days=14)
"""Every score is kept for this long. The report draws scores of this time by the hour, older ones by the day."""

_GAPS_AT_ONCE = 500

_LOG = TABLES["crypto_data_quality_log"]
_METRICS = TABLES["crypto_operational_metrics"]
_GAPS = TABLES["crypto_kdata_gap"]


@dataclass(frozen=True)
class Forgotten:
    """How many rows were deleted: scores, measurements, repaired gaps."""

    scores: int = 0
    measurements: int = 0
    repaired_gaps: int = 0


def forget(database: Database, now: datetime, days: int) -> Forgotten:
    """Thins old scores and measurements and deletes old repaired gaps; nothing if `days`, the setting, is 0.

    Raises DatabaseError where the database cannot be reached or was never migrated. What was deleted before the error
    stays deleted, and the next call continues.
    """
    if not days:
        return Forgotten()
    by_month = _month(now - timedelta(days=days))
    by_day = max(by_month, _day(now - ALL_SCORES))
    scores = _Series(_LOG, len("20261128T020000000000"), (_LOG.c.validation_type == INTEGRITY,))
    lowest = (_LOG.c.quality_score, _LOG.c.timestamp.desc(), _LOG.c.id)
    measurements = _Series(_METRICS, len("2026-11-28T02:00:00.000"), ())
    newest = (_METRICS.c.timestamp.desc(), _METRICS.c.id)
    return Forgotten(
        scores.thin(database, _months, by_month, lowest) + scores.thin(database, _days, by_day, lowest, since=by_month),
        measurements.thin(database, _months, by_month, newest),
        _forget_repaired(database, now - timedelta(days=days)),
    )


@dataclass(frozen=True)
class _Series:
    """Rows of one table whose id is a series' name, an underscore, and a stamp of so many letters."""

    table: Table
    stamp: int
    where: tuple[ColumnElement[bool], ...]

    def thin(
        self,
        database: Database,
        periods: Any,
        until: datetime,
        first: tuple[ColumnElement[Any], ...],
        since: datetime | None = None,
    ) -> int:
        """Leaves one row of each series in each period before `until`: the `first` by that order. Counts the others."""
        c = self.table.c
        with database.connect(self.table.name) as connection:
            oldest = connection.scalar(select(func.min(c.timestamp)).where(*self.where))
        if oldest is None:
            return 0
        went = 0
        for start, end in periods(oldest if since is None else max(oldest, since), until):
            # The length is a part of the statement: PostgreSQL must see one expression, not two parameters.
            name = func.substr(c.id, literal_column("1"), func.char_length(c.id) - literal_column(str(self.stamp + 1)))
            ranked = select(c.id, func.row_number().over(partition_by=name, order_by=first).label("rank_in_period"))
            ranked_rows = ranked.where(*self.where, c.timestamp >= start, c.timestamp < end).subquery()
            # Two levels: MySQL reads no table that it deletes from unless it is a table derived before.
            doomed = select(ranked_rows.c.id).where(ranked_rows.c.rank_in_period > 1)
            with database.begin(self.table.name) as connection:
                went += connection.execute(delete(self.table).where(c.id.in_(doomed))).rowcount
        return went


def _forget_repaired(database: Database, before: datetime) -> int:
    c = _GAPS.c
    some = select(c.id).where(c.status == REPAIRED, c.repaired_at < before, c.attempts == 0).limit(_GAPS_AT_ONCE)
    went = 0
    while True:
        with database.begin(_GAPS.name) as connection:
            ids = list(connection.scalars(some))
            if not ids:
                return went
            went += connection.execute(delete(_GAPS).where(c.id.in_(ids))).rowcount


def _days(start: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    day = _day(start)
    while day < until:
        yield day, day + timedelta(days=1)
        day += timedelta(days=1)


def _months(start: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    month = _month(start)
    while month < until:
        following = _month(month + timedelta(days=31))
        yield month, following
        month = following


def _day(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def _month(moment: datetime) -> datetime:
    return _day(moment).replace(day=1)
