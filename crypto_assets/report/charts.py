"""Figures by symbol into cells: completeness by month, freshness by interval. What is drawn over time is `time_charts`.

A colour is the name of a class in `page.css`. The template draws what it finds here and decides nothing. Called by
`page`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from crypto_assets.domain.durations import counted, duration
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import DAY_MS
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets.report.freshness import Freshness
from crypto_assets.report.months import MAX_SYMBOLS, Month, SymbolMonths, TableMonths, share
from crypto_assets.report.wording import day, moment, percent

_GRID_WIDTH = 950
_NARROWEST, _WIDEST = 7, 30
_LABEL_WIDTH = 58
_MARKETS = {MarketType.SPOT: "Pairs", MarketType.SWAP: "Perpetuals"}
_SHARES = ((0.01, "missing-1"), (0.1, "missing-2"), (0.5, "missing-3"))
_LATE_MS = DAY_MS // 12
"""Two hours: the hourly refresh was missed once. Less is how far behind short intervals are between two of them."""
_STALE_MS = 2 * DAY_MS
"""Later than this, Dagster's freshness policies of the candle tables fail too."""


@dataclass(frozen=True)
class Mark:
    """One thing drawn: place and width (pixels, or percent of a chart that grows with the window), row and words."""

    x: float
    width: float
    row: int
    kind: str
    text: str


@dataclass(frozen=True)
class Label:
    """What stands beside a row: what it is and its figure."""

    name: str
    figure: str


@dataclass(frozen=True)
class Chart:
    """Rows of marks over a scale of (place, text); `note` says what is not shown, `cell` is a month's width."""

    title: str
    rows: tuple[Label, ...]
    marks: tuple[Mark, ...]
    scale: tuple[tuple[float, str], ...]
    note: str
    width: int = 0
    cell: int = 0


def month_kind(month: Month) -> str:
    """The colour of a month: complete, lacking at the source only, or by the share that is missing."""
    if not month.missing:
        return "source" if month.source else "complete"
    lacking = share(month.missing, month.owed - month.source)
    return next((kind for limit, kind in _SHARES if lacking < limit), "missing-4")


def month_map(table: TableMonths) -> Chart:
    """Symbols by month of one table, in pixels: a cell for each month with anything owed."""
    numbers = [_number(month.month) for symbol in table.symbols for month in symbol.months]
    first, last = min(numbers), max(numbers)
    cell = min(_WIDEST, max(_NARROWEST, _GRID_WIDTH // (last - first + 1)))
    marks = [
        Mark((_number(month.month) - first) * cell, cell, row, month_kind(month), f"{symbol.name}, {_said(month)}")
        for row, symbol in enumerate(table.symbols)
        for month in symbol.months
    ]
    market_type, interval = KDATA_TABLES[table.table]
    return Chart(
        title=f"{_MARKETS[market_type]}, {interval.value}",
        rows=tuple(Label(symbol.name, percent(_completeness(symbol))) for symbol in table.symbols),
        marks=tuple(marks),
        scale=tuple(((number - first) * cell, text) for number, text in _month_scale(first, last, cell)),
        note=_left_out(table),
        width=(last - first + 1) * cell,
        cell=cell,
    )


def _completeness(symbol: SymbolMonths) -> float:
    existing = sum(month.owed - month.source for month in symbol.months)
    return share(sum(month.stored for month in symbol.months), existing)


def _left_out(table: TableMonths) -> str:
    parts = []
    if table.symbols_left_out:
        parts.append(f"the {MAX_SYMBOLS} symbols that lack most, without {table.symbols_left_out:,} more")
    if table.months_left_out:
        parts.append(f"the newest months, without {counted(table.months_left_out, 'earlier one')}")
    return f"Shown are {' and '.join(parts)}." if parts else ""


def _number(month: str) -> int:
    """Months since the year 0."""
    return int(month[:4]) * 12 + int(month[5:7]) - 1


def _month_scale(first: int, last: int, cell: int) -> list[tuple[int, str]]:
    """The first month, every year and, where there is room, every quarter."""
    scale: list[tuple[int, str]] = []
    for number in range(first, last + 1):
        start = datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)
        if number != first and start.month not in (1, 4, 7, 10):
            continue
        if scale and (number - scale[-1][0]) * cell < _LABEL_WIDTH:
            if start.month != 1:
                continue
            scale.pop()
        scale.append((number, f"{start:%Y}" if start.month == 1 else f"{start:%b %Y}" if not scale else f"{start:%b}"))
    return scale


def _said(month: Month) -> str:
    text = f"{month.month}: {percent(month.completeness)}, {month.stored:,} of {counted(month.owed, 'candle')} stored"
    if month.source:
        text += f", {month.source:,} not at the source"
    return f"{text}, {month.missing:,} missing" if month.missing else text


@dataclass(frozen=True)
class FreshCell:
    """How far behind a symbol is at one interval, in two words and in a sentence."""

    kind: str
    text: str
    title: str


@dataclass(frozen=True)
class FreshnessGrid:
    """Symbols by interval of one market; None where a symbol was never collected at an interval."""

    title: str
    levels: tuple[str, ...]
    rows: tuple[tuple[str, tuple[FreshCell | None, ...]], ...]
    note: str


def freshness_grids(freshness: Sequence[Freshness]) -> list[FreshnessGrid]:
    """A grid for each market that was collected; of too many symbols those that are furthest behind."""
    grids = []
    for market_type, title in _MARKETS.items():
        tables = [name for name, each in KDATA_TABLES.items() if each.market_type is market_type]
        found = [each for each in freshness if each.table in tables]
        if not found:
            continue
        collected = [table for table in tables if any(each.table == table for each in found)]
        behind: dict[str, float] = {}
        for each in found:
            worst = float("inf") if each.newest is None else each.behind_ms
            behind[each.entity_id] = max(behind.get(each.entity_id, 0), worst)
        chosen = sorted(behind, key=lambda each: (-behind[each], each))[:MAX_SYMBOLS]
        names = {each.entity_id: each.name for each in found}
        by_place = {(each.entity_id, each.table): each for each in found}
        left_out = len(behind) - len(chosen)
        grids.append(
            FreshnessGrid(
                title,
                tuple(KDATA_TABLES[table].level for table in collected),
                tuple(
                    (names[each], tuple(_cells(by_place.get((each, table)) for table in collected)))
                    for each in sorted(chosen, key=lambda each: (names[each], each))
                ),
                f"Shown are the {MAX_SYMBOLS} symbols furthest behind, without {left_out:,} more." if left_out else "",
            )
        )
    return grids


def _cells(found: Iterable[Freshness | None]) -> list[FreshCell | None]:
    return [None if each is None else fresh_cell(each) for each in found]


def fresh_cell(found: Freshness) -> FreshCell:
    """The words and the colour of one symbol's freshness at one interval."""
    if found.newest is None:
        return FreshCell("stale", "nothing stored", f"{found.name}: collected, but no candle is stored")
    sentence = f"{found.name}: newest candle {moment(found.newest)} UTC"
    if found.lacking:
        kind = "stale" if found.behind_ms >= _STALE_MS else "late" if found.behind_ms >= _LATE_MS else "fresh"
        candles = counted(found.lacking, "candle")
        text = f"{duration(found.behind_ms, 1)} behind"
        return FreshCell(kind, text, f"{sentence}, {duration(found.behind_ms)} behind: {candles} closed since")
    if found.ended is not None:
        return FreshCell("ended", f"ended {day(found.ended)}", f"{sentence}, the last before it left the exchange")
    return FreshCell("fresh", "up to date", f"{sentence}, none has closed since")
