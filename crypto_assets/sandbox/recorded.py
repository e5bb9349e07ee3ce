"""A directory of recorded candles, served as the exchange stood when the newest of them closed.

Rows, gaps and short close times are served as they were recorded; higher intervals are aggregated from the minutes. How
candles look on the wire belongs to `klines`. Made by `server`'s users with the directory they were given.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import DAY_MS, MINUTE_MS, Interval
from crypto_assets.sandbox.dataset import NO_DELIVERY_MS, Candles, FundingRate, Integers, SymbolInfo, aggregate

FOLDERS = {MarketType.SPOT: "spot", MarketType.SWAP: "usdm"}
_QUOTES = ("FDUSD", "USDT", "USDC", "BUSD", "TUSD", "BTC", "ETH", "BNB", "EUR", "TRY")
_MAX_DECIMALS = 8
_COLUMNS = tuple(Candles.__slots__)
_PRICES = ("open", "high", "low", "close")
_SIZES = ("volume", "taker_base")
_QUOTE_SIZES = ("quote_volume", "taker_quote")
_INT64_MAX = 2**63 - 1


class RecordedDataset:
    """Recorded candles of `directory/<spot|usdm>/klines/<SYMBOL>-1m.parquet`. See `sandbox.dataset.Dataset`.

    The clock stands half a minute after the newest minute of all recordings: by then that is final. A symbol whose
    recording ends earlier counts as delisted there. `skipped` names the files that could not be served and why. Raises
    ValueError when none could be.
    """

    def __init__(self, directory: Path | str) -> None:
        self._directory = Path(directory)
        self.skipped: list[tuple[str, str]] = []
        self._minutes: dict[tuple[MarketType, str], Candles] = {}
        self._scales: dict[tuple[MarketType, str], tuple[int, int, int]] = {}
        for market, folder in FOLDERS.items():
            for file in sorted((self._directory / folder / "klines").glob("*-1m.parquet")):
                self._load(market, file)
        if not self._minutes:
            raise ValueError(f"{self._directory} holds no recording to serve (<spot|usdm>/klines/<SYMBOL>-1m.parquet)")
        self._end = max(int(minutes.open_time[-1]) for minutes in self._minutes.values()) + MINUTE_MS
        self._symbols = {key: self._info(*key) for key in self._minutes}
        self._aggregated = lru_cache(maxsize=64)(self._aggregate)

    def clock_ms(self) -> int:
        """Half a minute after the newest recorded minute; it never moves."""
        return self._end + MINUTE_MS // 2

    def symbols(self, market: MarketType) -> Sequence[SymbolInfo]:
        """The recorded symbols of a market by name."""
        return [info for (of, _), info in self._symbols.items() if of is market]

    def candles(
        self, market: MarketType, symbol: str, interval: Interval, start_ms: int, end_ms: int, clock_ms: int
    ) -> Candles:
        """Recorded minutes, or what they make. The clock is frozen, so `clock_ms` decides nothing."""
        del clock_ms
        return self._aggregated(market, symbol, interval).between(start_ms, end_ms)

    def funding(self, symbol: str, start_ms: int, end_ms: int) -> Sequence[FundingRate]:
        """The recorded fundings of `usdm/fundingRate/<SYMBOL>.parquet`, if it exists; mark prices were not recorded."""
        rates = self._funding_file(symbol)
        return [rate for rate in rates if start_ms <= rate.time_ms < end_ms]

    def _aggregate(self, market: MarketType, symbol: str, interval: Interval) -> Candles:
        return aggregate(self._minutes[market, symbol], interval)

    def _funding_file(self, symbol: str) -> list[FundingRate]:
        file = self._directory / "usdm" / "fundingRate" / f"{symbol}.parquet"
        if not file.is_file():
            return []
        table = pq.read_table(file, columns=["fundingTime", "fundingRate"])
        rates = dict(zip(*(column.to_pylist() for column in table.columns), strict=True))
        return [FundingRate(time, int(Decimal(rate).scaleb(_MAX_DECIMALS)), "") for time, rate in sorted(rates.items())]

    def _load(self, market: MarketType, file: Path) -> None:
        name = str(file.relative_to(self._directory))
        symbol = file.name.removesuffix("-1m.parquet")
        try:
            _split(symbol)
            self._minutes[market, symbol], self._scales[market, symbol] = _shrink(_sorted_unique(_table(file)))
        except (ValueError, pa.ArrowException, OSError) as error:
            self.skipped.append((name, str(error)))

    def _info(self, market: MarketType, symbol: str) -> SymbolInfo:
        minutes = self._minutes[market, symbol]
        base, quote = _split(symbol)
        end = int(minutes.open_time[-1]) + MINUTE_MS
        ended = end if end < self._end else None
        swap = market is MarketType.SWAP
        return SymbolInfo(
            symbol,
            base,
            quote,
            *self._scales[market, symbol],
            listed_ms=int(minutes.open_time[0]),
            ended_ms=ended,
            delivery_ms=ended if swap and ended is not None else NO_DELIVERY_MS,
            funding_hours=8 if swap else 0,
        )


def _split(symbol: str) -> tuple[str, str]:
    """Base and quote of a symbol id. Raises ValueError for a quote not known here."""
    for quote in _QUOTES:
        if symbol.endswith(quote) and symbol != quote:
            return symbol.removesuffix(quote), quote
    raise ValueError(f"{symbol} ends in no known quote asset")


def _table(file: Path) -> pa.Table:
    """The columns of a kline file in our order. Raises ValueError that names those it lacks."""
    names = pq.read_schema(file).names
    missing = [column for column in _COLUMNS if column not in names]
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}")
    return pq.read_table(file, columns=list(_COLUMNS))


def _scaled(column: pa.ChunkedArray, name: str) -> Integers:
    """A parquet column as integers: times and counts as they are, decimals times 10^8, exactly.

    Raises ValueError for nulls, and for numbers that are not decimals or do not fit.
    """
    if column.null_count:
        raise ValueError(f"column {name} has {column.null_count} nulls")
    if pa.types.is_integer(column.type):
        return np.asarray(column.cast(pa.int64()).to_numpy())
    if not pa.types.is_decimal(column.type):
        raise ValueError(f"column {name} is {column.type}, not decimal")
    whole = column.cast(pa.decimal128(38, _MAX_DECIMALS)).combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = pa.concat_arrays(whole.chunks)
    # An Arrow decimal is a little-endian 128 bit integer: the low half is the value while the high one is its sign.
    halves = np.frombuffer(whole.buffers()[1], np.int64).reshape(-1, 2)[whole.offset : whole.offset + len(whole)]
    if np.any(halves[:, 1] != halves[:, 0] >> 63) or np.any(halves[:, 0] < 0):
        raise ValueError(f"column {name} holds a negative or too large number")
    return halves[:, 0].copy()


def _sorted_unique(table: pa.Table) -> Candles:
    """The rows by open time; of several rows with one open time the last wins. Raises ValueError when there is none."""
    if not table.num_rows:
        raise ValueError("it holds no rows")
    columns = [_scaled(table[name], name) for name in _COLUMNS]
    # np.unique keeps the first of equals, so it looks at the rows backwards.
    _, kept = np.unique(columns[0][::-1], return_index=True)
    rows = len(columns[0]) - 1 - kept
    return Candles(*(column[rows] for column in columns))


def _shrink(candles: Candles) -> tuple[Candles, tuple[int, int, int]]:
    """The candles in the coarsest decimals that lose nothing, and those decimals for prices, sizes and quote sizes.

    Raises ValueError if a day's sum might pass 64 bits.
    """
    columns = dict(zip(_COLUMNS, candles.columns(), strict=True))
    scales: list[int] = []
    for names in (_PRICES, _SIZES, _QUOTE_SIZES):
        decimals = _MAX_DECIMALS
        while decimals and not any(np.any(columns[name] % 10) for name in names):
            decimals -= 1
            for name in names:
                columns[name] = columns[name] // 10
        scales.append(decimals)
    for name in (*_SIZES, *_QUOTE_SIZES):
        _, day = np.unique(candles.open_time // DAY_MS, return_inverse=True)
        if np.bincount(day, columns[name].astype(np.float64)).max() > _INT64_MAX / 2:
            raise ValueError(f"a day's {name} is too large to be summed exactly")
    return Candles(**columns), (scales[0], scales[1], scales[2])
