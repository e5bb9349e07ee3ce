"""Klines as rows, as the engine receives them."""

from __future__ import annotations

import pandas as pd

from crypto_assets.domain.spans import Span
from crypto_assets.exchange.binance.klines import page_of
from crypto_assets.frames.candles import received_candles

ANY_TIME = Span(0, 2**62)


def received(rows: list[list]) -> pd.DataFrame:
    """The candles of these rows."""
    return received_candles(page_of(rows, ANY_TIME).columns)
