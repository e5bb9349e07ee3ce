"""Which symbols of a listing become rows, and why the others do not: one that is broken costs itself only.

What a row must be is said by `frames.contracts`, what is kept of a refused one by `quality.rejections`. Called by
`collect.symbols`. No Dagster here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Connection, Table

from crypto_assets.database.writes import WriteCounts, upsert_accepted
from crypto_assets.domain.entities import MarketType, asset_id, preference
from crypto_assets.exchange.markets import Market, RefusedSymbol
from crypto_assets.frames.contracts import asset_contract, judge, market_contract
from crypto_assets.frames.entities import asset_frame, market_frame
from crypto_assets.quality.rejections import Rejection, record_rejections


@dataclass(frozen=True)
class JudgedMarkets:
    """The markets that are kept, the rows of their currencies, and what is refused, by entity id."""

    kept: list[Market]
    assets: pd.DataFrame
    refused: list[tuple[str, Rejection]]

    def record(self, connection: Connection, table: str, clock: int) -> None:
        """Logs what was refused of an entity table at `clock`, the exchange's, in ms."""
        for entity_id, rejection in self.refused:
            record_rejections(connection, table, entity_id, [rejection], clock)


def judge_assets(markets: Iterable[Market], clock: int) -> JudgedMarkets:
    """The rows of the currencies of `markets`; of several that would be one row, the first in order is kept."""
    frame = asset_frame(markets, clock)
    if frame.empty:
        return JudgedMarkets([], frame, [])
    shared = frame["id"].duplicated()
    owner = dict(zip(frame["id"][~shared], frame["symbol"][~shared], strict=True))
    refused = [
        (entity_id, Rejection({"symbol": symbol}, [f"id: {owner[entity_id]!r} is called {entity_id!r} already"]))
        for entity_id, symbol in zip(frame["id"][shared], frame["symbol"][shared], strict=True)
    ]
    verdict = judge(frame[~shared], asset_contract())
    return JudgedMarkets([], verdict.kept, refused + rejections_of(frame, verdict.reasons))


def judge_markets(
    provider: str,
    market_type: MarketType,
    markets: Sequence[Market],
    unread: Iterable[RefusedSymbol],
    owners: Mapping[str, str],
    clock: int,
) -> JudgedMarkets:
    """Which of a provider's `markets` are kept. `owners` are the exchange ids of stored entities.

    Those `unread` are refused already. Two symbols that would be one entity are kept apart: the one that is stored
    stays what it is, whatever the order of rows, and of two new ones that with the greater preference.
    """
    refused = [(f"{provider}_{each.exchange_id}", Rejection(each.said, [each.reason])) for each in unread]
    owners = dict(owners)
    for market in sorted(markets, key=_preference, reverse=True):
        owners.setdefault(market.entity_id, market.exchange_id)
    kept: dict[str, Market] = {}
    for market in markets:
        if owners[market.entity_id] == market.exchange_id:
            kept[market.entity_id] = market
        else:
            reason = f"id: {owners[market.entity_id]!r} is called {market.entity_id!r} already"
            refused.append((market.entity_id, Rejection(_said(market), [reason])))
    frame = market_frame(market_type, kept.values(), [(None, None)] * len(kept), clock)
    if len(frame):
        verdict = judge(frame, market_contract(market_type))
        refused += rejections_of(frame, verdict.reasons)
        for label in verdict.reasons:
            del kept[str(frame.loc[label, "id"])]
    assets = judge_assets(kept.values(), clock)
    known = set(assets.assets["symbol"]) if len(assets.assets) else set()
    for market in list(kept.values()):
        lacking = [name for name in (market.base, market.quote, market.settle) if name and name not in known]
        if lacking:
            reasons = [f"currency: {name!r} is refused as {asset_id(market.provider, name)!r}" for name in lacking]
            refused.append((market.entity_id, Rejection(_said(market), reasons)))
            del kept[market.entity_id]
    return JudgedMarkets(list(kept.values()), assets.assets, refused)


def store_accepted(
    connection: Connection, table: Table, frame: pd.DataFrame, clock: int
) -> tuple[WriteCounts, set[str]]:
    """Stores rows that keep the contract; what the database refuses nevertheless is logged, and returned by id."""
    if frame.empty:
        return WriteCounts(), set()
    counts, refused = upsert_accepted(connection, table, frame)
    found = rejections_of(frame, {int(str(label)): [said] for label, said in refused.items()})
    for entity_id, rejection in found:
        record_rejections(connection, table.name, entity_id, [rejection], clock)
    return counts, {entity_id for entity_id, _ in found}


def rejections_of(frame: pd.DataFrame, reasons: Mapping[int, list[str]]) -> list[tuple[str, Rejection]]:
    """What is refused of a frame. When a row was refreshed is left out: the same row is the same rejection later."""
    rows = frame.drop(columns="timestamp")
    said = [
        ({str(name): _plain(value) for name, value in rows.loc[label].items()}, reasons[label]) for label in reasons
    ]
    return [(str(row["id"]), Rejection(row, broken)) for row, broken in said]


def _plain(value: Any) -> Any:
    """A frame's value as JSON can hold it."""
    if pd.isna(value):
        return None
    if isinstance(value, np.generic):
        return value.item()
    return value.isoformat() if isinstance(value, datetime) else value


def _said(market: Market) -> dict[str, Any]:
    said = asdict(market) | {"market_type": market.market_type.value}
    del said["provider"]  # the row that it becomes evidence in has that
    return said


def _preference(market: Market) -> tuple[bool, bool, str]:
    return preference(market.symbol, market.exchange_id, is_active=market.is_active)
