"""Which candles a command is about: `--select --start --end --symbols`, and the sentences for what they cannot mean.

Called by `plan` and `backfill`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from crypto_assets.cli.completion import SymbolNames, TableName
from crypto_assets.cli.misuse import Misuse, named, stating_misuse
from crypto_assets.composition import database_of
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import (
    MINUTE_MS,
    PartitionScheme,
    format_time,
    parse_time,
    partition_key,
    partition_span,
    whole_partitions,
)
from crypto_assets.domain.series import KDATA_TABLES, CandleTable
from crypto_assets.domain.spans import Span
from crypto_assets.domain.symbols import Ambiguous, NoSuchSymbol, find_listed
from crypto_assets.settings import Settings

if TYPE_CHECKING:
    from crypto_assets.database.engines import Database

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class Selection:
    """Candle tables, the symbols of each market (None means the configured ones), and the first and last time."""

    tables: tuple[CandleTable, ...]
    symbols: dict[MarketType, tuple[str, ...]] | None
    start: int
    end: int

    def partitions(self, scheme: PartitionScheme) -> tuple[str, str]:
        """The first and last partition of the range; both are wholly part of it."""
        return partition_key(scheme, self.start), partition_key(scheme, self.end)

    def window(self, scheme: PartitionScheme) -> Span:
        """The times that these cover."""
        return whole_partitions(scheme, Span(self.start, self.end + 1))


def selecting(command: _Command) -> _Command:
    """The options of a selection, and whether all or only what is missing is meant."""
    options = [
        click.option(
            "--select",
            required=True,
            type=TableName(many=True, candles=True),
            metavar="TABLE[,TABLE]",
            help="E.g. cryptopair_1m_kdata.",
        ),
        click.option("--start", required=True, help="First day or time, UTC; its whole partition is taken."),
        click.option("--end", help="Last day or time, UTC, its whole partition included; now by default."),
        click.option(
            "--symbols",
            type=SymbolNames(),
            metavar="SYMBOL[,SYMBOL]",
            help="Instead of the configured ones, in either spelling, e.g. ETH/USDT,btcusdt or */USDT.",
        ),
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
    """The selection that the options name, up to `clock` (ms UTC). Raises Misuse with what is wrong."""
    tables = _tables(select)
    with stating_misuse():
        first, last = parse_time(start), clock if end is None else parse_time(end)
    if first > clock:
        now = format_time(clock - clock % MINUTE_MS)
        raise Misuse(f"--start {start} has not come yet; it is {now} UTC.")
    if first > last:
        raise Misuse(f"--start {start} is after --end {end}.")
    earliest = partition_span(PartitionScheme.DAILY, settings.start.isoformat()).start
    if first < earliest:
        raise Misuse(f"--start {start} is before the first partition, {settings.start}; CRYPTO_ASSETS_START sets it.")
    return Selection(tables, _by_market(settings, tables, named("--symbols", symbols)), first, min(last, clock))


def _tables(select: str) -> tuple[CandleTable, ...]:
    from crypto_assets.database.tables import find_table  # noqa: PLC0415 - loads SQLAlchemy

    with stating_misuse():
        names = dict.fromkeys(find_table(name).name for name in named("--select", select) or ())
    for name in names:
        if name not in KDATA_TABLES:
            raise Misuse(f"{name} is no candle table; only candles are collected by range.")
    return tuple(KDATA_TABLES[name] for name in names)


def _by_market(
    settings: Settings, tables: tuple[CandleTable, ...], texts: list[str] | None
) -> dict[MarketType, tuple[str, ...]] | None:
    """The symbols that the texts mean in the markets of the tables, by their names; None where there are no texts.

    A text must mean one in some of these markets, and each of them must have one.
    """
    if texts is None:
        return None

    markets = dict.fromkeys(table.market_type for table in tables)
    database = database_of(settings)
    try:
        found = {market_type: _meant(database, market_type, texts) for market_type in markets}
    finally:
        database.dispose()
    unknown = [errors for _, errors in found.values()]
    for text, error in unknown[0].items():
        if all(text in errors for errors in unknown):
            raise Misuse(str(error))
    of_market = {market_type: names for market_type, (names, _) in found.items()}
    for table in tables:
        if not of_market[table.market_type]:
            example = "BTC/USDT" if table.market_type is MarketType.SPOT else "BTC/USDT:USDT"
            raise Misuse(f"--symbols {','.join(texts)} names none for {table.name}, such as {example}.")
    return of_market


def _meant(
    database: Database, market_type: MarketType, texts: list[str]
) -> tuple[tuple[str, ...], dict[str, NoSuchSymbol]]:
    """What the listed symbols that the texts mean in a market are asked for by; the errors of those that mean none."""
    from crypto_assets.collect.symbols import names_meant  # noqa: PLC0415 - loads pandas
    from crypto_assets.database.symbols import listed_symbols  # noqa: PLC0415 - loads SQLAlchemy
    from crypto_assets.database.tables import TABLES  # noqa: PLC0415 - likewise

    table = TABLES[market_type.entity_table]
    with database.connect(table.name) as connection:
        listed = listed_symbols(connection, table)
    unknown: dict[str, NoSuchSymbol] = {}
    for text in texts:
        try:
            find_listed([text], listed, table.name)
        except NoSuchSymbol as error:
            unknown[text] = error
        except Ambiguous:  # a name that several have: the one that trades is meant
            pass
    return names_meant(database, market_type, [text for text in texts if text not in unknown]), unknown
