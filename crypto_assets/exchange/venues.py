"""Which exchanges there are, by the provider's name: the one place beside `exchange.<venue>` that names them.

A venue is imported when it is asked for. Called by `collect`, `orchestration` and `cli`.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import cast

from crypto_assets.exchange.errors import ConfigurationError
from crypto_assets.exchange.venue import Venue

_MODULES = {"binance": "crypto_assets.exchange.binance.venue"}
"""By provider, the module whose `VENUE` it is."""


@cache
def venue_of(provider: str) -> Venue:
    """The venue of a provider. Raises ConfigurationError for one that is not known."""
    if provider not in _MODULES:
        raise ConfigurationError(f"no exchange is known as {provider!r}; it must be one of {', '.join(_MODULES)}")
    return cast(Venue, import_module(_MODULES[provider]).VENUE)
