"""Long holes between collected partitions: what it would take to collect them, and deciding about them by name.

Here belong their price and the words of the person who decides. What a hole is and what a decision leads to belongs to
`quality.gaps.holes` and `quality.gaps.deciding`. No Dagster here. Called by `decide_holes`, `collect.run`, `checks` and
`cli`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from crypto_assets.collect.plan import pages
from crypto_assets.collect.symbols import names_meant, symbols_to_collect
from crypto_assets.database.engines import Database
from crypto_assets.database.errors import MeansNothing
from crypto_assets.database.tables import QUALITY
from crypto_assets.domain.durations import counted, duration
from crypto_assets.domain.intervals import format_time, parse_time
from crypto_assets.domain.series import KDATA_TABLES, CandleTable
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.venue import Venue
from crypto_assets.exchange.venues import venue_of
from crypto_assets.quality.gaps.deciding import ALWAYS, WAITING, Hole, Verdict, decide, holes
from crypto_assets.quality.gaps.ledger import Policy


@dataclass(frozen=True)
class PricedHole:
    """A long hole that symbols of one table share, and what collecting it takes, all of them together.

    `requests` are pages of REST, beside `files` of the exchange's archive where it has one.
    """

    candle_table: CandleTable
    symbols: tuple[str, ...]
    span: Span
    state: str
    candles: int
    requests: int
    files: int

    def as_row(self) -> dict[str, Any]:
        """The hole for a table or JSON; its last time is an open time, as a gap's is."""
        return {
            "table": self.candle_table.name,
            "symbols": ", ".join(self.symbols),
            "first": format_time(self.span.start),
            "last": format_time(self.span.end - self.candle_table.interval.milliseconds),
            "lasts": duration(self.span.end - self.span.start),
            "state": self.state,
            "candles": self.candles,
            "requests": self.requests,
            "archive_files": self.files,
        }


def priced(holes: Iterable[Hole], venue: Venue, clock: int, *, has_archive: bool) -> list[PricedHole]:
    """The holes with their price at `clock` (ms UTC), those of equal times as one, newest first."""
    together: dict[tuple[CandleTable, Span, str], list[str]] = {}
    for hole in holes:
        together.setdefault((hole.candle_table, hole.span, hole.state), []).append(hole.symbol)
    made = []
    for (candle_table, span, state), symbols in together.items():
        market_type, interval = candle_table
        expected = venue.bulk_files(market_type, symbols[0], interval, span, clock) if has_archive else []
        files = [file.span for file in expected]
        requests = pages([span], interval, clock, venue.page_rows[market_type], files)
        count = len(symbols)
        made.append(
            PricedHole(
                candle_table,
                tuple(symbols),
                span,
                state,
                count * interval.count(*span),
                count * requests,
                count * len(files),
            )
        )
    return sorted(made, key=lambda each: (each.candle_table.name, -each.span.end, each.symbols))


def all_priced(database: Database, policy: Policy, clock: int, *, has_archive: bool) -> list[PricedHole]:
    """The long holes of all tables, waiting or decided about, with their price.

    Raises DatabaseNotReady where nothing was ever migrated.
    """
    found: list[Hole] = []
    with database.connect(QUALITY) as connection:
        for candle_table in KDATA_TABLES.values():
            found += holes(connection, candle_table, policy)
    return priced(found, venue_of(database.provider), clock, has_archive=has_archive)


def waiting(holes: Iterable[PricedHole]) -> list[PricedHole]:
    """Those that nobody decided about."""
    return [hole for hole in holes if hole.state == WAITING]


def said_of(holes: Sequence[PricedHole]) -> str:
    """What waits for a decision, in one sentence."""
    candles, requests, files = (sum(getattr(hole, name) for hole in holes) for name in ("candles", "requests", "files"))
    archive = f" and {counted(files, 'file')} of the archive" if files else ""
    return (
        f"Not collected: {counted(candles, 'candle')} between collected partitions, which would take"
        f" {counted(requests, 'request')}{archive}; they wait for a decision."
    )


def commands(holes: Sequence[PricedHole]) -> dict[str, str]:
    """The commands that have holes of one table collected, and that let them be."""
    candle_table = holes[0].candle_table
    start = min(hole.span.start for hole in holes)
    end = max(hole.span.end for hole in holes) - candle_table.interval.milliseconds
    window = f"--start {candle_table.partition_key(start)} --end {candle_table.partition_key(end)}"
    names = sorted({symbol for hole in holes for symbol in hole.symbols})
    about = f"{candle_table.name} {window} --symbols {','.join(names)}"
    return {word: f"crypto-assets gaps {word} {about}" for word in ("collect", "leave")}


def decide_by_name(
    database: Database,
    table: str,
    verdict: Verdict,
    now: datetime,
    by: str,
    policy: Policy,
    *,
    symbols: Sequence[str] = (),
    start: str = "",
    end: str = "",
) -> list[Hole]:
    """Decides about the long holes of a table as a person names them; what that was about.

    `symbols` are names, codes or wildcards, all where there are none; `start` and `end` are dates or times, UTC, whose
    whole partitions are meant. Whoever names none of these collects or leaves what waits for a decision: what was
    decided with names holds on. Raises MeansNothing, in one sentence, and UnknownSymbol.
    """
    try:
        candle_table = CandleTable.named(table)
    except ValueError as error:
        raise MeansNothing(str(error)) from None
    within, market_type = _window(candle_table, start, end), candle_table.market_type
    meant = names_meant(database, market_type, symbols)
    symbols_to_collect(database, market_type, meant)  # raises for one that is not listed
    names = meant if symbols else None
    rest = verdict is not Verdict.UNDO and not (symbols or start or end)
    return decide(database, candle_table, verdict, now, by, policy, symbols=names, within=within, only_waiting=rest)


def _window(candle_table: CandleTable, start: str, end: str) -> Span:
    def partition_of(time: str) -> Span:
        return candle_table.partition_span(candle_table.partition_key(parse_time(time)))

    try:
        first = partition_of(start).start if start else ALWAYS.start
        last = partition_of(end).end if end else ALWAYS.end
    except ValueError as error:
        raise MeansNothing(str(error)) from None
    if first >= last:
        raise MeansNothing(f"The start {start} is after the end {end}; nothing was decided.")
    return Span(first, last)


def rows_of(holes: Sequence[PricedHole], limit: int) -> list[dict[str, Any]]:
    """The first of them as rows."""
    return [hole.as_row() for hole in holes[:limit]]


def config_of(holes: Sequence[PricedHole]) -> str:
    """What job `decide_holes` takes to have holes of one table collected, as JSON."""
    config = {"table": holes[0].candle_table.name, "decision": Verdict.COLLECT.value}
    return json.dumps({"ops": {"decide_about_holes": {"config": config}}})
