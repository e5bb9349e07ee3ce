"""Clients of ccxt at the sandbox, as people make them: one to wait on, one for asyncio.

Here belongs how a client is pointed at the sandbox. What is asked with it belongs to the rivals, which call this. Our
own path has its client from `crypto_assets.exchange`.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import ccxt
import ccxt.async_support

_OPTIONS: dict[str, Any] = {
    "enableRateLimit": False,  # as on our side, which does not throttle on loopback
    "requests_trust_env": False,
    "options": {"fetchMarkets": {"types": ["spot"]}, "fetchMargins": False},
}


def client_options(url: str) -> dict[str, Any]:
    """What ccxt's constructor takes to ask the sandbox at `url` for spot alone, without a throttle."""
    hosts = {
        name: url + urlsplit(address).path
        for name, address in ccxt.binance().urls["api"].items()
        if name.startswith(("public", "private", "v1"))
    }
    return {**_OPTIONS, "urls": {"api": hosts}}


def waiting_client(url: str) -> Any:
    """A client whose calls wait for the answer. Its markets are loaded."""
    client = ccxt.binance(client_options(url))
    client.load_markets()
    return client


async def async_client(url: str) -> Any:
    """A client whose calls are awaited; the caller closes it. Its markets are loaded."""
    client = ccxt.async_support.binance(client_options(url))
    try:
        await client.load_markets()
    except BaseException:
        await client.close()
        raise
    return client
