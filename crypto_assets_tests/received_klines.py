"""Klines as rows, as the engine receives them."""

from __future__ import annotations

from crypto_assets.domain.spans import Span
from crypto_assets.exchange.binance.klines import page_of
from crypto_assets.frames.candles import Candles

ANY_TIME = Span(0, 2**64)  # as far as a whole number is read as one


def received(rows: list[list]) -> Candles:
    """The candles of these rows."""
    return Candles.of(page_of(rows, ANY_TIME).table)
