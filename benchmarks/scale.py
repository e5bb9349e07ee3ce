"""What looking at a large database costs when nothing changed: CPU seconds. In a process of its own.

`benchmarks.synthetic_history` makes it: so many symbols, of each so many verified partitions. Measured is what happens
unasked, a check every six hours and the ticks of the sensors, and what somebody waits for before the first request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

import dagster as dg

from benchmarks.processes import cpu_seconds
from benchmarks.synthetic_history import fill, symbol
from crypto_assets.collect.estimate import plan_table
from crypto_assets.collect.symbols import populate_markets
from crypto_assets.database.engines import open_database
from crypto_assets.database.migrations import migrate
from crypto_assets.definitions import build_definitions
from crypto_assets.domain.entities import PROVIDER, MarketType
from crypto_assets.domain.intervals import DAY_MS, Interval, to_naive
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.markets import Market
from crypto_assets.quality.gaps.ledger import USUAL
from crypto_assets.quality.rules.agreement import compare_hours
from crypto_assets.quality.rules.plausibility import look_for_implausible
from crypto_assets.quality.scores import record_scores
from crypto_assets.quality.verification.examination import examine
from crypto_assets.report.figures import quality_figures
from crypto_assets.settings import Settings

TABLE = "cryptopair_1m_kdata"
MARKETS = 3_500
TRACKED = 2


def measure(directory: str, symbols: int, partitions: int) -> dict[str, float]:
    """CPU seconds of each, in the order in which they are to be shown."""
    url = f"sqlite:///{directory}"
    database = open_database(url, "sandbox")
    migrate(database)
    clock = fill(database, TABLE, symbols, partitions)
    now = to_naive(clock)
    with database.begin("crypto_quality") as connection:
        # As the checks leave it: they have looked at all of it.
        connection.exec_driver_sql("UPDATE crypto_kdata_coverage SET plausibility_checked = substr(digest, 1, 16)")
    names = [symbol(number) for number in range(symbols)]
    today = Span(clock // DAY_MS * DAY_MS, clock // DAY_MS * DAY_MS + DAY_MS)

    def check() -> None:
        said = examine(database, KDATA_TABLES[TABLE], now, USUAL)
        if said.looked_at or len(said.completeness) != symbols:
            raise RuntimeError(f"{said.looked_at} partitions were looked at, of {len(said.completeness)} symbols")
        record_scores(database, said, now, deep=False)
        look_for_implausible(database, KDATA_TABLES[TABLE], now)

    def plan(table: str) -> None:
        plan_table(database, KDATA_TABLES[table], names, today, clock + 3_600_000, only_missing=True, has_archive=False)

    of_day = [name for name, (_, interval) in KDATA_TABLES.items() if interval is Interval.M1 and "pair" in name]
    ways: dict[str, Callable[[], Any]] = {
        "an unchanged check of the table": check,
        "an unchanged check of hours beside it": lambda: compare_hours(database, MarketType.SPOT, now, 1e-9),
        f"a plan of one day of {symbols:,} symbols": lambda: [plan(name) for name in of_day],
        "the report's figures": lambda: quality_figures(database, now.replace(tzinfo=UTC)),
    }
    seconds = {name: _seconds(way) for name, way in ways.items()}
    listing = _Listing([_market(number) for number in range(MARKETS)])

    def list_all() -> None:
        populated = populate_markets(database, listing, MarketType.SPOT, names[:TRACKED], clock)
        if populated.listed != MARKETS:
            raise RuntimeError(f"{populated.listed} markets were listed, of {MARKETS}")

    seconds[f"a first listing of {MARKETS:,} markets"] = _seconds(list_all)
    seconds[f"the check for new listings among {MARKETS:,} markets"] = _seconds(list_all)
    database.dispose()
    return seconds | _ticks(url, names, directory)


@dataclass
class _Listing:
    """An exchange that lists, and has no candle: what is measured is what we do with a listing."""

    listed: list[Market]
    name: str = PROVIDER

    def markets(self, *_: Any) -> list[Market]:
        return self.listed

    def first_candle_time(self, *_: Any) -> None:
        return None

    last_candle_time = first_candle_time


def _market(number: int) -> Market:
    return Market(
        provider=PROVIDER,
        market_type=MarketType.SPOT,
        exchange_id=symbol(number).replace("/", ""),
        symbol=symbol(number),
        base=symbol(number).partition("/")[0],
        quote="USDT",
        settle=None,
        is_active=True,
        price_step=0.01,
        qty_step=0.01,
        status="TRADING",
    )


def _ticks(url: str, names: list[str], directory: str) -> dict[str, float]:
    """A tick of each sensor, as the daemon makes them."""
    settings = Settings(environment="sandbox", database=url, pairs=tuple(names), perps=())
    definitions = build_definitions(settings)
    home = Path(directory) / "dagster"
    home.mkdir()
    held = dict(definitions.resources or {})
    resources = {name: held[name] for name in ("database", "ledger")}
    seconds = {}
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        for name in ("gap_backfill_sensor", "new_listing_sensor", "run_failure_alert_sensor"):
            sensor = definitions.resolve_sensor_def(name)
            with dg.build_sensor_context(instance=instance, resources=resources) as context:
                seconds[f"a tick of {name}"] = _seconds(lambda: _all(sensor(context)))  # noqa: B023 - called at once
    return seconds


def _all(said: Any) -> Any:
    return list(said) if isinstance(said, Iterable) else said


def _seconds(way: Callable[[], Any]) -> float:
    before = cpu_seconds()
    way()
    return cpu_seconds() - before
