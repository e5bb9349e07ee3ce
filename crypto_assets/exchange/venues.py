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


def add_venue(provider: str, module: str) -> None:
    """Makes an exchange of somebody's own known: `module` has its `Venue` as `VENUE`.

    Raises ConfigurationError for a name that ids cannot hold, or that another module has.
    """
    if not provider.isalnum() or not provider.islower():
        raise ConfigurationError(f"{provider!r} cannot be a provider's name: lower-case letters and digits only")
    if _MODULES.setdefault(provider, module) != module:
        raise ConfigurationError(f"{provider!r} is {_MODULES[provider]} already")


@cache
def venue_of(provider: str) -> Venue:
    """The venue of a provider. Raises ConfigurationError for one that is not known."""
    if provider not in _MODULES:
        raise ConfigurationError(f"no exchange is known as {provider!r}; it must be one of {', '.join(_MODULES)}")
    return cast(Venue, import_module(_MODULES[provider]).VENUE)
