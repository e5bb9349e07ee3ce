"""Everything that knows Binance: endpoints, weights, symbols, renames, errors, and its public bulk files.

Nothing outside this package names it, settings' defaults aside. Called through `exchange.client.Exchange`.
"""

from __future__ import annotations

PROVIDER = "binance"
