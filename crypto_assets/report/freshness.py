"""How far behind the clock each symbol is: the newest stored candle against those that have closed since.

Called by `figures`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from crypto_assets.database.engines import Database
from crypto_assets.database.queries import latest_candles
from crypto_assets.domain.intervals import to_milliseconds
from crypto_assets.domain.series import CandleTable


class Listed(NamedTuple):
    """What the entity tables say of a symbol: its name, and when it left the exchange, if it did."""

    name: str
    end: datetime | None


@dataclass(frozen=True)
class Freshness:
    """One symbol's newest candle of one table.

    `newest` is its open time (naive UTC), None where nothing is stored. `lacking` counts the final candles since, up to
    the symbol's end where it has one in the past (`ended`); `behind_ms` is the time since the end of the newest one, 0
    where none is lacking.
    """

    table: str
    entity_id: str
    name: str
    newest: datetime | None
    lacking: int
    behind_ms: int
    ended: datetime | None


def freshness(
    database: Database,
    collected: Mapping[CandleTable, Iterable[str]],
    listed: Mapping[str, Listed],
    now: datetime,
    margin: timedelta,
) -> list[Freshness]:
    """The freshness of every collected entity, by table: one lookup by key for each.

    Final is a candle a `margin` after its close: before that no run asks for it.
    """
    found = []
    for candle_table, entities in collected.items():
        newest: dict[str, datetime] = {}
        if database.revision(database.unit(candle_table.name)) is not None:
            frame = latest_candles(candle_table.name, database)
            newest = dict(zip(frame["entity_id"], (each.to_pydatetime() for each in frame["timestamp"]), strict=True))
        found += [_of(candle_table, each, newest.get(each), listed.get(each), now, margin) for each in sorted(entities)]
    return found


def _of(
    candle_table: CandleTable,
    entity_id: str,
    newest: datetime | None,
    listed: Listed | None,
    now: datetime,
    margin: timedelta,
) -> Freshness:
    interval = candle_table.interval
    clock = to_milliseconds(now)
    end = listed.end if listed is not None else None
    ended = end if end is not None and to_milliseconds(end) <= clock else None
    lacking = behind = 0
    if newest is not None:
        until = clock if ended is None else to_milliseconds(ended)
        reached = to_milliseconds(newest) + interval.milliseconds
        # The last candle of a symbol that ended was cut short, not left open.
        settled = until - margin // timedelta(milliseconds=1)
        closed = interval.closed_before(settled) if ended is None else interval.ceil(until)
        lacking = interval.count(reached, closed)
        behind = until - reached if lacking else 0
    name = entity_id if listed is None else listed.name
    return Freshness(candle_table.name, entity_id, name, newest, lacking, behind, ended)
