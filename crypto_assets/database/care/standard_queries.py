"""The standard queries of `docs/data-dictionary.md` as statements, asked for what a database really holds.

What a planner does with them is looked at by `database.care.index_evidence`, which calls this; answering them is
`queries`' part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, Select, Table, select

from crypto_assets.database.queries import entity_ids, select_data, select_entity_ids, select_latest
from crypto_assets.database.tables import TABLES, TICK, key_columns, logical_database
from crypto_assets.domain.intervals import naive_utc
from crypto_assets.domain.series import KDATA_TABLES

if TYPE_CHECKING:
    from collections.abc import Mapping

LAST = 1000
"""The limit of "the last candles of one symbol"."""

_TICKS = tuple(name for name in TABLES if logical_database(name) == TICK)
_NOBODY = "nobody"


@dataclass(frozen=True)
class StandardQuery:
    """A question that is often asked of `table`; `build` makes the statement for what is stored there now."""

    table: str
    build: Callable[[Connection], Select[Any]]


def last_candles(connection: Connection, table: Table) -> Select[Any]:
    """The last 1,000 candles (or ticks) of the first symbol that is stored."""
    of_entity = (entity_ids(connection, table) or [_NOBODY])[:1]
    return select_data(table, entity_ids=of_entity, order="desc", limit=LAST, engine=connection.dialect.name)


def _series(connection: Connection, table: Table, what: str) -> Select[Any]:
    """A question about candles or ticks; a time range is the last hundred rows of the first symbol."""
    engine = connection.dialect.name
    if what == "entities":
        return select_entity_ids(table, engine)
    if what == "newest":
        return select_latest(table, engine)
    if what == "last":
        return last_candles(connection, table)
    stored = entity_ids(connection, table) or [_NOBODY]
    # MySQL must be told the entities; the others find them within the statement.
    everybody = stored if engine == "mysql" else None
    if what == "newest rows":
        return select_data(table, entity_ids=everybody, order="desc", limit=10, engine=engine)
    times = select_data(table, entity_ids=stored[:1], columns=["timestamp"], order="desc", limit=100, engine=engine)
    last = list(connection.scalars(times)) or [_now()]
    chosen = {"range": stored[:1], "ranges": stored[:2]}.get(what, everybody)
    limit = 10 if what == "first rows" else None
    return select_data(table, entity_ids=chosen, start=last[-1], end=last[0], limit=limit, engine=engine)


def _rows(connection: Connection, table: Table, where: Callable[[Mapping[str, Any]], list[Any]]) -> Select[Any]:
    """The rows that meet `where` of one that is stored, or of one that could be."""
    stored = connection.execute(select(table).limit(1)).mappings().first()
    nobody: dict[str, Any] = {each.name: _now() if each.name in _TIMES else _NOBODY for each in table.columns}
    row = nobody if stored is None else dict(stored)
    return select(table).where(*where(row))


def _active(_connection: Connection, table: Table) -> Select[Any]:
    return select(table.c.entity_id).where(table.c.is_active).order_by(table.c.entity_id)


def _now() -> datetime:
    return naive_utc(datetime.now(UTC))


_TIMES = {"timestamp", "timestamp_window", "updated_timestamp", "start", "last_validation_timestamp"}
_DAY = timedelta(days=1)


def _equal(table: str, *names: str) -> Callable[[Mapping[str, Any]], list[ColumnElement[bool]]]:
    return lambda row: [TABLES[table].c[name] == row[name] for name in names]


def _lookups() -> dict[str, StandardQuery]:
    """Rows of what is no series: entities, findings about quality, operations."""
    conditions: dict[tuple[str, str], Callable[[Mapping[str, Any]], list[ColumnElement[bool]]]] = {}
    for name in ("crypto_asset", "crypto_pair", "crypto_perp"):
        column = TABLES[name].c
        for names in (("id",), ("entity_id",), ("code",), ("exchange", "code")):
            conditions[name, " and ".join(names)] = _equal(name, *names)
        conditions[name, "not refreshed for a day"] = lambda row, c=column: [c.timestamp < row["timestamp"] - _DAY]  # type: ignore[misc]
    asset = TABLES["crypto_asset"].c
    conditions["crypto_asset", "symbol"] = _equal("crypto_asset", "symbol")
    conditions["crypto_asset", "low quality"] = lambda _: [asset.data_quality_score < 0.5]  # noqa: PLR2004 - an example
    conditions["crypto_asset", "validated lately"] = lambda _: [asset.last_validation_timestamp > _now() - _DAY]
    conditions["crypto_pair", "base and quote"] = _equal("crypto_pair", "base_symbol", "quote_symbol")
    conditions["crypto_perp", "underlying"] = _equal("crypto_perp", "underlying_symbol")
    gap, log = TABLES["crypto_kdata_gap"].c, TABLES["crypto_data_quality_log"].c
    conditions["crypto_kdata_gap", "of an entity"] = _equal("crypto_kdata_gap", "entity_id", "level")
    conditions["crypto_kdata_gap", "by status"] = lambda row: [gap.level == row["level"], gap.status == "unheard of"]
    conditions["crypto_data_quality_log", "of an entity"] = _equal("crypto_data_quality_log", "entity_id")
    conditions["crypto_data_quality_log", "since"] = lambda _: [log.timestamp > _now() - _DAY]
    conditions["crypto_price_consistency", "of a symbol"] = _equal(
        "crypto_price_consistency", "symbol", "timestamp_window"
    )
    metric = TABLES["crypto_operational_metrics"].c
    conditions["crypto_operational_metrics", "of a name since"] = lambda row: [
        metric.metric_name == row["metric_name"],
        metric.timestamp > _now() - _DAY,
    ]
    session = TABLES["crypto_websocket_sessions"].c
    conditions["crypto_websocket_sessions", "of a provider since"] = lambda row: [
        session.provider == row["provider"],
        session.updated_timestamp > _now() - _DAY,
    ]
    of_candles = ("coverage", "decision", "archive", "finding")
    for name in (*(f"crypto_kdata_{each}" for each in of_candles), "crypto_source_file"):
        conditions[name, "of an entity"] = _equal(name, *key_columns(TABLES[name])[:3])
    conditions["crypto_api_keys", "of an environment"] = _equal("crypto_api_keys", "provider", "environment")
    return {
        f"{name}: {what}": StandardQuery(name, partial(_rows, table=TABLES[name], where=where))
        for (name, what), where in conditions.items()
    }


def _all() -> dict[str, StandardQuery]:
    made = {
        f"{name}: {what}": StandardQuery(name, partial(_series, table=TABLES[name], what=what))
        for name in (*KDATA_TABLES, *_TICKS)
        for what in ("range", "ranges", "everybody's range", "first rows", "newest rows", "last", "newest", "entities")
        if name in KDATA_TABLES or what in ("range", "everybody's range", "entities")
    }
    for name in ("crypto_pair", "crypto_perp"):
        made[f"{name}: active"] = StandardQuery(name, partial(_active, table=TABLES[name]))
    return made | _lookups()


STANDARD_QUERIES: dict[str, StandardQuery] = _all()
"""Every standard query by name, `table: what is asked`."""
