"""What the engines are measured with: symbols, a database that lists them, and realistic one-minute candles.

Prices walk at random in steps of their symbol's precision; every value is the double nearest to a decimal of 2 to 8
places, as an exchange sends them, and all stored columns have one.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd

from crypto_assets.database.engines import Database, open_database
from crypto_assets.database.migrations import migrate
from crypto_assets.database.tables import META, QUALITY, TABLES
from crypto_assets.database.writes.text_rows import as_frame
from crypto_assets.domain.entities import PROVIDER, asset_id, entity_id
from crypto_assets.domain.intervals import Interval, parse_time
from crypto_assets.domain.series import CANDLE_COLUMNS
from crypto_assets.domain.spans import Span
from crypto_assets.frames.candles import LOOKBACK, Candles, candle_records, derive

TABLE = "cryptopair_1m_kdata"
START = parse_time("2024-01-01")
BATCH = 10_000
MINUTE_MS = 60_000
BASES = (
    *("BTC", "ETH", "SOL", "BNB", "XRP", "ADA", "DOGE", "TRX", "AVAX", "LINK"),
    *("DOT", "LTC", "BCH", "UNI", "ATOM", "ETC", "FIL", "APT", "ARB", "OP"),
)
ENTITIES = tuple(entity_id("cryptopair", PROVIDER, f"{base.lower()}usdt") for base in BASES)
_PLACES = ((60_000.0, 2, 5), (3_000.0, 4, 4), (0.5, 6, 1))  # first price, decimal places of prices and of amounts
_QUOTE_PLACES = 8
_SUPPLY = 19_700_000.0


def prepare(url: str, minutes: int) -> Database:
    """The database at `url`, migrated, with all symbols listed, and partitions for so many minutes from `START` on."""
    database = open_database(url, "sandbox")
    migrate(database, names=[META, TABLE, QUALITY])
    with database.begin(META) as connection:
        if connection.execute(TABLES["crypto_pair"].select().limit(1)).first() is None:
            connection.execute(TABLES["crypto_asset"].insert(), [_asset(base) for base in (*BASES, "USDT")])
            connection.execute(TABLES["crypto_pair"].insert(), [_pair(base) for base in BASES])
    database.ensure_partitions(TABLE, Span(START, START + minutes * MINUTE_MS))
    return database


def batches(symbol: int, rows: int) -> list[pd.DataFrame]:
    """The stored columns of the first `rows` candles of a symbol (by its position), `BATCH` at a time."""
    derived = derive(_candles(symbol, rows + LOOKBACK), Interval.M1, _SUPPLY)[LOOKBACK:]
    name = f"{BASES[symbol]}/USDT"
    records = partial(candle_records, entity_id=ENTITIES[symbol], provider=PROVIDER, name=name)
    return [as_frame(records(derived[first : first + BATCH])) for first in range(0, rows, BATCH)]


def _candles(symbol: int, count: int) -> Candles:
    """`count` candles as an exchange sends them; the look-back lies before `START`."""
    random = np.random.default_rng(symbol)
    first, price_places, amount_places = _PLACES[symbol % len(_PLACES)]
    close = _rounded(first * np.exp(np.cumsum(random.normal(0, 4e-4, count))), price_places)
    opened = np.concatenate([close[:1], close[:-1]])
    above, below = (1 + np.abs(random.normal(0, 2e-4, count)) for _ in range(2))
    volume = _rounded(random.lognormal(2, 1, count), amount_places)
    columns = {
        "open_time": START + (np.arange(count) - LOOKBACK) * MINUTE_MS,
        "open": opened,
        "high": _rounded(np.maximum(opened, close) * above, price_places),
        "low": _rounded(np.minimum(opened, close) / below, price_places),
        "close": close,
        "volume": volume,
        "volume_quote": _rounded(volume * (opened + close) / 2, _QUOTE_PLACES - price_places + 2),
        "trade_count": random.integers(1, 5_000, count),
    }
    return Candles.of(np.array([columns[name] for name in CANDLE_COLUMNS], dtype=np.float64))


def _rounded(values: npt.NDArray[np.float64], places: int) -> npt.NDArray[np.float64]:
    """The doubles nearest to the decimals: a quotient of two exact numbers is rounded correctly."""
    rounded: npt.NDArray[np.float64] = np.rint(values * 10**places) / 10**places
    return rounded


def _asset(base: str) -> dict[str, object]:
    of_it = asset_id(PROVIDER, base)
    return _common(of_it, "crypto", base) | {"symbol": base}


def _pair(base: str) -> dict[str, object]:
    return _common(ENTITIES[BASES.index(base)], "cryptopair", f"{base}usdt") | {
        "base_symbol": base,
        "quote_symbol": "USDT",
        "base_asset_id": asset_id(PROVIDER, base),
        "quote_asset_id": asset_id(PROVIDER, "USDT"),
        "price_step": 0.01,
        "qty_step": 0.00001,
    }


def _common(of_it: str, kind: str, code: str) -> dict[str, object]:
    return {
        "id": of_it,
        "entity_id": of_it,
        "entity_type": kind,
        "exchange": PROVIDER,
        "code": code.lower(),
        "name": code,
        "timestamp": datetime.now(UTC),
    }
