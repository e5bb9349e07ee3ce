"""Where Binance is asked in each environment: the hosts of its markets, and of its public archive.

Called by `client` and `venue`.
"""

from __future__ import annotations

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.environments import Environment

HOSTS: dict[Environment, dict[MarketType, str]] = {
    Environment.TESTNET: {
        MarketType.SPOT: "https://testnet.binance.vision",
        MarketType.SWAP: "https://testnet.binancefuture.com",
    },
    Environment.LIVE: {MarketType.SPOT: "https://api.binance.com", MarketType.SWAP: "https://fapi.binance.com"},
    Environment.DEMO: {
        MarketType.SPOT: "https://demo-api.binance.com",
        MarketType.SWAP: "https://demo-fapi.binance.com",
    },
    Environment.SANDBOX: {MarketType.SPOT: "http://127.0.0.1:8730", MarketType.SWAP: "http://127.0.0.1:8730"},
}
"""The host of each environment and market. Public data needs no key on any of them."""

NO_ARCHIVE = "none"
"""What the setting says where no archive is to be asked."""
_LIVE_ARCHIVE = "https://data.binance.vision"


def archive_host(environment: Environment, archive_url: str | None = None) -> str | None:
    """The scheme and host of an environment's archive, None where none is to be asked.

    `archive_url` replaces it, `NO_ARCHIVE` turns it off. Only `live` has one of its own; the sandbox serves one at its
    own address, and is asked for it where that is named.
    """
    if archive_url is not None:
        return None if archive_url == NO_ARCHIVE else archive_url
    return _LIVE_ARCHIVE if environment == Environment.LIVE else None
