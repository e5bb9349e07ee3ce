"""Which candles a command is about: `--select --start --end --symbols`, and the sentences for what they cannot mean.

Called by `plan` and `backfill`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from crypto_assets.domain.entities import KDATA_TABLES, MarketType
from crypto_assets.domain.intervals import (
    MINUTE_MS,
    PartitionScheme,
    format_time,
    parse_time,
    partition_key,
    partition_span,
)
from crypto_assets.domain.spans import Span
from crypto_assets.settings import Settings

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class Selection:
    """Candle tables, the symbols of each market (None means the configured ones), and the first and last time."""

    tables: tuple[str, ...]
    symbols: dict[MarketType, tuple[str, ...]] | None
    start: int
    end: int

    def partitions(self, scheme: PartitionScheme) -> tuple[str, str]:
        """The first and last partition of the range; both are wholly part of it."""
        return partition_key(scheme, self.start), partition_key(scheme, self.end)

    def window(self, scheme: PartitionScheme) -> Span:
        """The times that these cover."""
        first, last = self.partitions(scheme)
        return Span(partition_span(scheme, first)[0], partition_span(scheme, last)[1])


def selecting(command: _Command) -> _Command:
    """The options of a selection, and whether all or only what is missing is meant."""
    options = [
        click.option("--select", required=True, metavar="TABLE[,TABLE]", help="E.g. cryptopair_1m_kdata."),
        click.option("--start", required=True, help="First day or time, UTC; its whole partition is taken."),
        click.option("--end", help="Last day or time, UTC, its whole partition included; now by default."),
        click.option("--symbols", metavar="SYMBOL[,SYMBOL]", help="ccxt symbols instead of the configured ones."),
        click.option(
            "--only-missing/--all",
            default=True,
            help="What is not stored (the default), or everything again, to take over what the exchange revised.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print as JSON."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def choose(
    settings: Settings, clock: int, *, select: str, start: str, end: str | None, symbols: str | None
) -> Selection:
    """The selection that the options name, up to `clock` (ms UTC). Raises ClickException with what is wrong."""
    tables = _tables(select)
    try:
        first, last = parse_time(start), clock if end is None else parse_time(end)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    if first > clock:
        now = format_time(clock - clock % MINUTE_MS)
        raise click.ClickException(f"--start {start} has not come yet; it is {now} UTC.")
    if first > last:
        raise click.ClickException(f"--start {start} is after --end {end}.")
    earliest = partition_span(PartitionScheme.DAILY, settings.start.isoformat())[0]
    if first < earliest:
        raise click.ClickException(
            f"--start {start} is before the first partition, {settings.start}; CRYPTO_ASSETS_START sets it."
        )
    return Selection(tables, _by_market(tables, symbols), first, min(last, clock))


def _tables(select: str) -> tuple[str, ...]:
    from crypto_assets.database.tables import find_table  # noqa: PLC0415 - loads SQLAlchemy

    try:
        names = dict.fromkeys(find_table(name).name for name in _split(select))
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    for name in names:
        if name not in KDATA_TABLES:
            raise click.ClickException(f"{name} is no candle table; only candles are collected by range.")
    if not names:
        raise click.ClickException("--select names no table; e.g. --select cryptopair_1m_kdata.")
    return tuple(names)


def _by_market(tables: tuple[str, ...], symbols: str | None) -> dict[MarketType, tuple[str, ...]] | None:
    """The named symbols by market: a perpetual's has a settlement currency after a colon."""
    if symbols is None:
        return None
    named = tuple(dict.fromkeys(_split(symbols)))
    of = {
        MarketType.SPOT: tuple(symbol for symbol in named if ":" not in symbol),
        MarketType.SWAP: tuple(symbol for symbol in named if ":" in symbol),
    }
    for table in tables:
        if not of[KDATA_TABLES[table][0]]:
            example = "BTC/USDT" if KDATA_TABLES[table][0] is MarketType.SPOT else "BTC/USDT:USDT"
            raise click.ClickException(f"--symbols {symbols} names none for {table}, such as {example}.")
    return of


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
