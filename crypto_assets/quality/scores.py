"""The scores of an examination, logged in `crypto_data_quality_log`: a row for every entity and level.

The score of a symbol at a level is the share of the candles the exchange has that are stored and sound. The score of a
currency is the lowest of the markets that trade it, as of their last examinations. Examining belongs to
`quality.verification.examination`. Called by `orchestration.checks.definitions`. Moments are naive UTC.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
from sqlalchemy import Connection, bindparam, func, literal_column, select, update

from crypto_assets.database.engines import Database
from crypto_assets.database.tables import META, QUALITY, TABLES
from crypto_assets.database.writes import upsert
from crypto_assets.domain.entities import MarketType, exchange_in
from crypto_assets.quality.gaps.missing import Completeness
from crypto_assets.quality.verification.examination import Examination

INTEGRITY = "integrity"
"""The `validation_type` of an examination."""

_RECENT = timedelta(days=8)
"""Older scores belong to tables that are no longer examined: even the deep examination is weekly."""

_LOG = TABLES["crypto_data_quality_log"]
_MOMENT = len("_20261128T000000000000")  # at the end of a row's id


def score(symbol: Completeness, offending: int) -> float:
    """The share of the candles the exchange has that are stored and sound, 0 to 1."""
    existing = symbol.expected - symbol.absent
    return max(0.0, 1.0 - (symbol.missing + offending) / existing) if existing else 1.0


def record_scores(database: Database, said: Examination, now: datetime, *, deep: bool) -> None:
    """Logs an examination, a row for each entity, and updates the scores of the currencies concerned."""
    rows = [_row(said, symbol, now, deep=deep) for symbol in said.completeness]
    if not rows:
        return
    with database.begin(QUALITY, also=[META]) as connection:
        upsert(connection, _LOG, pd.DataFrame(rows))
        markets = _markets(connection, said.candle_table.market_type, [row["entity_id"] for row in rows])
        lowest = _lowest_scores(connection, {each for ids in markets.values() for each in ids}, now)
        scored = [
            {"currency": currency, "score": min(scores)}
            for currency, ids in markets.items()
            if (scores := [lowest[each] for each in ids if each in lowest])
        ]
        if scored:
            assets = TABLES["crypto_asset"]
            connection.execute(
                update(assets)
                .where(assets.c.id == bindparam("currency"))
                .values(data_quality_score=bindparam("score"), last_validation_timestamp=now),
                scored,
            )


def _lowest_scores(connection: Connection, entity_ids: Collection[str], now: datetime) -> dict[str, float]:
    """The lowest score of each market's tables, each as of its last recent examination; in one statement."""
    c = _LOG.c
    # Ids end with the moment: of those that are otherwise alike the greatest is the last.
    series: Any = func.substr(c.id, literal_column("1"), func.length(c.id) - literal_column(str(_MOMENT)))
    recent = (c.validation_type == INTEGRITY, c.timestamp >= now - _RECENT)
    last = select(func.max(c.id)).where(*recent).group_by(series)
    lowest = select(c.entity_id, func.min(c.quality_score)).where(c.id.in_(last)).group_by(c.entity_id)
    return {entity_id: score for entity_id, score in connection.execute(lowest).all() if entity_id in entity_ids}


def _markets(connection: Any, market_type: MarketType, entity_ids: Iterable[str]) -> dict[str, list[str]]:
    """The currencies that these markets trade, each with all its markets of both kinds."""
    columns = {
        TABLES["crypto_pair"].c.entity_id: TABLES["crypto_pair"].c.base_asset_id,
        TABLES["crypto_perp"].c.entity_id: TABLES["crypto_perp"].c.underlying_asset_id,
    }
    own = {entity.table.name: (entity, currency) for entity, currency in columns.items()}
    entity, currency = own[market_type.entity_table]
    concerned = set(connection.scalars(select(currency).where(entity.in_(list(entity_ids)))))
    found: dict[str, list[str]] = {each: [] for each in sorted(concerned)}
    for entity, currency in columns.items():
        for row in connection.execute(select(entity, currency).where(currency.in_(concerned))).all():
            found[row[1]].append(row[0])
    return found


def _row(said: Examination, symbol: Completeness, now: datetime, *, deep: bool) -> dict[str, Any]:
    offending = said.offending.get(symbol.entity_id, 0)
    checks = {check: finding.count for check, finding in said.findings.items() if finding.count}
    result = {
        "table": said.candle_table.name,
        "level": said.candle_table.level,
        "expected": symbol.expected,
        "present": symbol.present,
        "open": symbol.missing,
        "source": symbol.absent,
        "offending": offending,
        "checks": checks,
        "deep": deep,
    }
    issues = [f"{symbol.missing:,} candles are missing"] if symbol.missing else []
    issues += [f"{offending:,} candles or partitions are not as they should be"] if offending else []
    return {
        "id": f"{INTEGRITY}_{said.candle_table.name}_{symbol.entity_id}_{now:%Y%m%dT%H%M%S%f}",
        "entity_id": symbol.entity_id,
        "provider": exchange_in(symbol.entity_id),
        "validation_type": INTEGRITY,
        "validation_result": result,
        "quality_score": score(symbol, offending),
        "issues_detected": issues,
        "timestamp": now,
    }
