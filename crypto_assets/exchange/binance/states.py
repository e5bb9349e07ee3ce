"""Binance's words for the state of a symbol, as its documentation and exchangeInfo have them.

What becomes of a symbol in a state belongs to `collect.listings`. Called by `venue`.
"""

from __future__ import annotations

from crypto_assets.domain.entities import MarketType

PAUSED_OR_ENDED = "BREAK"
STATES = {
    MarketType.SPOT: frozenset(
        {
            *("TRADING", PAUSED_OR_ENDED, "HALT", "CANCEL_ONLY"),
            *("PRE_TRADING", "POST_TRADING", "END_OF_DAY", "AUCTION_MATCH"),
        }
    ),
    MarketType.SWAP: frozenset(
        {
            *("TRADING", "PENDING_TRADING", "PRE_SETTLE", "SETTLING", "CLOSE"),
            *("PRE_DELIVERING", "DELIVERING", "DELIVERED"),
        }
    ),
}
