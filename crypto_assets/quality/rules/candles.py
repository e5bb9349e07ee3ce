"""Checks of a candle table that look at its rows alone: duplicates, nulls, prices, grid, entities.

Each check looks at the rows that meet `scope`, conditions of its caller; without any it looks at all rows. Candles that
should be there and are not belong to `quality.gaps`. Called by `quality.verification` and `quality.vitals`;
`collect.stored` uses the rules.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Table, and_, case, exists, false, func, or_, select, true

from crypto_assets.database.expressions import as_written, epoch_milliseconds, unpublished_by, written_text
from crypto_assets.domain.intervals import Interval
from crypto_assets.quality.rules.findings import SAMPLE_SIZE, Finding, find_rows

Scope = Sequence[ColumnElement[bool]]


def duplicates(connection: Connection, table: Table, scope: Scope = ()) -> Finding:
    """Candles of one entity at one instant beyond the first.

    The key forbids equal rows; what it cannot see is the same instant written in two ways, as SQLite's text allows.
    """
    rows = connection.scalar(select(func.count()).select_from(table).where(*scope)) or 0
    written = written_text(table.c.timestamp)
    foreign = ~as_written(table.c.timestamp)
    if not connection.scalar(select(exists().where(foreign, *scope))):
        return Finding(0, rows)  # all are written in one way, so the key forbids twins
    instant = epoch_milliseconds(table.c.timestamp).label("open_time")
    # The row that is not written as we write it is the one that is shown, and that the repair deletes.
    shown = func.coalesce(func.min(case((foreign, written))), func.max(written)).label("timestamp")
    groups = (
        select(table.c.entity_id, shown, func.count().label("rows"))
        .where(*scope)
        .group_by(table.c.entity_id, instant)
        .having(func.count() > 1)
        .subquery()
    )
    count = connection.scalar(select(func.coalesce(func.sum(groups.c.rows - 1), 0))) or 0
    if not count:
        return Finding(0, rows)
    sample = connection.execute(select(groups).order_by(*groups.c).limit(SAMPLE_SIZE))
    return Finding(int(count), rows, [dict(row) for row in sample.mappings()])


def lacks_price(table: Table) -> ColumnElement[bool]:
    """Whether one of a candle's four prices is null."""
    return or_(*(price.is_(None) for price in _prices(table)))


def null_ohlc(connection: Connection, table: Table, scope: Scope = ()) -> Finding:
    """Candles without one of their four prices."""
    shown = [table.c.entity_id, _written(table), *_prices(table)]
    return find_rows(connection, table, lacks_price(table), shown, scope)


def keeps_rules(table: FromClause, unpublished: frozenset[str] = frozenset()) -> ColumnElement[bool]:
    """Whether the high is the highest price and the low the lowest, prices are positive, and no amount is negative.

    NULL or false where one of them is null, except a column that the venue leaves `unpublished`. Written to read each
    value as seldom as possible: it is asked of every row.
    """
    c = table.c
    return and_(
        c.open.between(c.low, c.high),
        c.close.between(c.low, c.high),
        c.low > 0,
        c.high <= sys.float_info.max,
        *(
            or_(c[name].is_(None), c[name] >= 0) if name in unpublished else c[name] >= 0
            for name in ("volume", "volume_quote", "trade_count")
        ),
    )


def invalid_ohlc(connection: Connection, table: Table, scope: Scope = ()) -> Finding:
    """Candles that have their prices and break the rules of prices and amounts."""
    shown = [table.c.entity_id, _written(table), *_prices(table), table.c.volume]
    offends = ~lacks_price(table) & ~func.coalesce(keeps_rules(table, unpublished_by(connection)), false())
    return find_rows(connection, table, offends, shown, scope)


def off_grid(connection: Connection, table: Table, interval: Interval, scope: Scope = ()) -> Finding:
    """Candles that do not open on the interval's UTC grid, or whose timestamp is no time at all."""
    instant = epoch_milliseconds(table.c.timestamp)
    written = written_text(table.c.timestamp)
    between_milliseconds = written.like("%.______") & ~written.like("%.___000")
    offends = or_(instant.is_(None), instant % interval.milliseconds != 0, between_milliseconds)
    return find_rows(connection, table, offends, [table.c.entity_id, _written(table)], scope)


def no_times(connection: Connection, table: Table, scope: Scope) -> Finding:
    """All candles of `scope`, which are those whose timestamp is in no partition that can be: none opens then."""
    return find_rows(connection, table, true(), [table.c.entity_id, _written(table)], scope)


def unknown_entities(connection: Connection, table: Table, entities: Table) -> Finding:
    """Candles whose entity is not listed in `entities`. No foreign key can see to it across SQLite files."""
    listed = exists().where(entities.c.id == table.c.entity_id)
    strangers = select(table.c.entity_id).distinct().where(~listed)
    return find_rows(connection, table, table.c.entity_id.in_(strangers), [table.c.entity_id, _written(table)])


def _prices(table: Table) -> list[ColumnElement[Any]]:
    return [table.c.open, table.c.high, table.c.low, table.c.close]


def _written(table: Table) -> ColumnElement[Any]:
    """The timestamp as it is stored: a sample must be able to show what is no time."""
    return written_text(table.c.timestamp).label("timestamp")
