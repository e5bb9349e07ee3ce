"""Currencies that an exchange went on trading under another symbol: their old market ended, a new one began.

An exchange says so in an announcement, not in its API, so they are listed here with their source. Called by
`orchestration`, which goes on with the new symbol where the old one is tracked.
"""

from __future__ import annotations

RENAMED = {
    "BTT": "BTTC",  # binance-public-data#311: BTTUSDT, then BTTCUSDT, January 2022
    "MATIC": "POL",  # ccxt#23637: September 2024
    "RNDR": "RENDER",  # binance-public-data#349: July 2024
}
"""The later symbol of a currency by its earlier one, at Binance."""


def successor(symbol: str) -> str | None:
    """The ccxt symbol under which a market went on, `POL/USDT` for `MATIC/USDT`; None if it never was renamed."""
    base, slash, rest = symbol.partition("/")
    return f"{RENAMED[base]}{slash}{rest}" if base in RENAMED else None
