"""What the quality log says over time: scores of the integrity runs, the worst of the last one, sources that restarted.

Called by `figures`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, func, literal_column, select

from crypto_assets.database.expressions import written_text
from crypto_assets.database.tables import TABLES

_LOG = TABLES["crypto_data_quality_log"].c
_REMEMBERED = timedelta(days=366)
_BY_HOUR = timedelta(days=14)
"""Up to here each hour is a point, beyond it each day."""
_ONE_RUN = timedelta(hours=1)
_WORST = 12
_RESETS = 500


@dataclass(frozen=True)
class Score:
    """The results of one hour or day (its start, naive UTC): their mean, the lowest and how many there were."""

    at: datetime
    mean: float
    lowest: float
    results: int


@dataclass(frozen=True)
class LowScore:
    """A result of the last run that is not perfect, with its issues in words."""

    entity_id: str
    name: str
    level: str
    score: float
    at: datetime
    issues: tuple[str, ...]


@dataclass(frozen=True)
class Reset:
    """A source that started over: its first candle was `before`, and since `at` (naive UTC) is `now`, as ISO texts."""

    entity_id: str
    name: str
    at: datetime
    before: str
    now: str


def scores(connection: Connection, provider: str) -> list[Score]:
    """The scores of the last year of integrity runs, oldest first."""
    integrity = (_LOG.provider == provider, _LOG.validation_type == "integrity")
    first, last = connection.execute(select(func.min(_LOG.timestamp), func.max(_LOG.timestamp)).where(*integrity)).one()
    if last is None:
        return []
    start = max(_moment(first), _moment(last) - _REMEMBERED)
    # The text of a time up to its hour or its day.
    length: ColumnElement[int] = literal_column("13" if _moment(last) - start <= _BY_HOUR else "10")
    when = func.substr(written_text(_LOG.timestamp), literal_column("1"), length).label("moment")
    rows = connection.execute(
        select(when, func.avg(_LOG.quality_score), func.min(_LOG.quality_score), func.count())
        .where(*integrity, _LOG.timestamp >= start)
        .group_by("moment")
        .order_by("moment")
    )
    return [Score(datetime.fromisoformat(each), min(1.0, mean), lowest, count) for each, mean, lowest, count in rows]


def low_scores(connection: Connection, provider: str, names: Mapping[str, str]) -> list[LowScore]:
    """The lowest results of the last integrity run that are below 1, worst first."""
    integrity = (_LOG.provider == provider, _LOG.validation_type == "integrity")
    last = connection.scalar(select(func.max(_LOG.timestamp)).where(*integrity))
    if last is None:
        return []
    rows = connection.execute(
        select(_LOG.entity_id, _LOG.validation_result, _LOG.quality_score, _LOG.timestamp, _LOG.issues_detected)
        .where(*integrity, _LOG.timestamp >= _moment(last) - _ONE_RUN, _LOG.quality_score < 1)
        .order_by(_LOG.quality_score, _LOG.entity_id, _LOG.id)
        .limit(_WORST)
    )
    return [
        LowScore(
            entity_id, names.get(entity_id, entity_id), str(result.get("level", "")), score, at, tuple(map(str, issues))
        )
        for entity_id, result, score, at, issues in rows
    ]


def resets(connection: Connection, provider: str, names: Mapping[str, str]) -> list[Reset]:
    """The newest resets, newest first."""
    rows = connection.execute(
        select(_LOG.entity_id, _LOG.timestamp, _LOG.validation_result)
        .where(_LOG.provider == provider, _LOG.validation_type == "reset")
        .order_by(_LOG.timestamp.desc(), _LOG.entity_id)
        .limit(_RESETS)
    )
    return [
        Reset(
            entity_id,
            names.get(entity_id, entity_id),
            at,
            before=str(result["first_candle_before"]),
            now=str(result["first_candle_now"]),
        )
        for entity_id, at, result in rows
    ]


def _moment(value: datetime | str) -> datetime:
    return datetime.fromisoformat(value) if isinstance(value, str) else value
