"""The sensor for new listings, delistings and relistings: it starts runs that list symbols and collect their history.

The sensor itself reads only the database and Dagster's history. A run of job `list_symbols` asks the exchange for its
listing: every six hours, and hourly while a tracked symbol has no known candle. What the run finds (a first candle, a
delisting, a second listing) decides what is owed. The sensor then starts runs for the histories that were never
collected (`quality.gaps.uncollected`). Called by `definitions`.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of the functions it decorates at runtime.

import hashlib
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta

import dagster as dg
from sqlalchemy import func, select

from crypto_assets.collect.symbols import tracked_now
from crypto_assets.database.engines import Database
from crypto_assets.database.entity_names import entities_called
from crypto_assets.database.errors import DatabaseNotReady
from crypto_assets.database.expressions import of_own_exchange
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets.orchestration.jobs.assets import backfills, list_symbols
from crypto_assets.orchestration.partitions import first_partition
from crypto_assets.orchestration.resources import DatabaseResource, LedgerResource
from crypto_assets.orchestration.sensors.run_requests import (
    BOUNDED,
    REQUEST,
    collection_request,
    left_before,
    next_try,
    tables_under_way,
)
from crypto_assets.quality.gaps.uncollected import Uncollected, uncollected_histories

REQUESTS_PER_TICK = 5
_LISTED_EVERY = timedelta(hours=6)
_LISTED_EVERY_WHILE_UNKNOWN = timedelta(hours=1)

Requests = Iterator[dg.RunRequest | dg.SkipReason]


def build_new_listing_sensor(tracked: Mapping[MarketType, tuple[str, ...]], start: date) -> dg.SensorDefinition:
    """The sensor `new_listing_sensor` for the tracked ccxt symbols of each market, and partitions from `start` on."""

    @dg.sensor(
        name="new_listing_sensor",
        jobs=[list_symbols, *backfills.values()],
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Has the symbols listed anew every six hours, and collects the history of those that are new, came"
        " back or lag behind the others of a table.",
    )
    def new_listing_sensor(
        context: dg.SensorEvaluationContext, database: DatabaseResource, ledger: LedgerResource
    ) -> Requests:
        with database.open() as db:
            if not db.exists():
                yield dg.SkipReason(f"There is no database at {db.location} yet; run job bootstrap.")
                return
            yield from requests(context.instance, db, tracked, ledger, start)

    return new_listing_sensor


def requests(
    instance: dg.DagsterInstance,
    database: Database,
    tracked: Mapping[MarketType, tuple[str, ...]],
    ledger: LedgerResource,
    start: date,
) -> Requests:
    """The run requests of one tick, or the reason why there are none."""
    now = ledger.now()
    try:
        unknown, oldest = _unknown(database, tracked), _listed_at(database, tracked)
    except DatabaseNotReady as error:
        yield dg.SkipReason(str(error))
        return
    if oldest is None:
        yield dg.SkipReason("No symbol is listed yet; run job bootstrap.")
        return
    asked = 0
    due = oldest + (_LISTED_EVERY_WHILE_UNKNOWN if unknown else _LISTED_EVERY)
    if due <= now:
        digest = hashlib.blake2b(f"{oldest} {unknown}".encode(), digest_size=8).hexdigest()
        run_key = next_try(instance, digest, now)
        if run_key is not None:
            asked += 1
            tags = {REQUEST: digest, **BOUNDED}
            yield dg.RunRequest(run_key=run_key, job_name=list_symbols.name, tags=tags)
    lacking = _uncollected(instance, database, tracked, ledger)
    possible = [each.since(first_partition(each.candle_table.interval, start)) for each in lacking]
    cut = [each.candle_table.name for each, kept in zip(lacking, possible, strict=True) if kept != each]
    owing = [each for each in possible if each is not None]
    for each in owing:
        if asked == REQUESTS_PER_TICK:
            break
        run_key = next_try(instance, each.digest, now)
        if run_key is not None:
            asked += 1
            config = {"symbols": list(each.symbols), "only_missing": True}
            yield collection_request(
                each.candle_table, each.partitions, config, "new_listing_sensor", each.digest, run_key
            )
    if not asked:
        when = f"at {due:%Y-%m-%d %H:%M} UTC" if due > now else "now, or that failed a short time ago"
        missing = f" No candle is known of {', '.join(unknown)}." if unknown else ""
        waiting = f" {len(owing)} histories are being collected, or that failed a short time ago." if owing else ""
        yield dg.SkipReason(f"The symbols are listed anew {when}.{missing}{waiting}{left_before(start, cut)}")


def _uncollected(
    instance: dg.DagsterInstance,
    database: Database,
    tracked: Mapping[MarketType, tuple[str, ...]],
    ledger: LedgerResource,
) -> list[Uncollected]:
    busy = tables_under_way(instance, ledger.now())
    found = []
    symbols = {market_type: tracked_now(database, market_type, tracked[market_type]) for market_type in tracked}
    for table, candle_table in KDATA_TABLES.items():
        market_type = candle_table.market_type
        if table in busy or not tracked[market_type]:
            continue
        try:
            with database.connect(table) as connection:
                found += uncollected_histories(
                    connection, candle_table, symbols[market_type], ledger.policy.longest_hole
                )
        except DatabaseNotReady:
            continue  # not migrated: job bootstrap says more
    return sorted(found, key=lambda each: each.partitions[1], reverse=True)


def _unknown(database: Database, tracked: Mapping[MarketType, tuple[str, ...]]) -> list[str]:
    """The tracked symbols without a known first candle, those that no entity table lists included."""
    unknown: list[str] = []
    for market_type, symbols in tracked.items():
        table = TABLES[market_type.entity_table]
        wanted = tracked_now(database, market_type, symbols)
        with database.connect(table.name) as connection:
            called = entities_called(connection, table, wanted)
        unknown += [symbol for symbol in wanted if symbol not in called or called[symbol].list_date is None]
    return unknown


def _listed_at(database: Database, tracked: Mapping[MarketType, tuple[str, ...]]) -> datetime | None:
    """When the listing of a market was last asked for, the oldest of all markets; None where one never was."""
    times = []
    for market_type, symbols in tracked.items():
        table = TABLES[market_type.entity_table]
        if symbols:
            with database.connect(table.name) as connection:
                last = select(func.max(table.c.timestamp)).where(of_own_exchange(connection, table))
                times.append(connection.scalar(last))
    return None if None in times else min((time for time in times if time is not None), default=None)
