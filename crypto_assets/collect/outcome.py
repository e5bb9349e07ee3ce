"""What is collected and what came of it: a symbol, and the figures of its run. Values only.

Filled by `collect.candles`, added up by `collect.run`, shown by `metadata`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Symbol:
    """A collected symbol: the exchange's own id, the entity it is stored under, and its base's supply where known.

    `name` is what a run calls it, a ccxt symbol or exchange id; `display_name`, the ccxt symbol, is stored for people.
    """

    exchange_id: str
    entity_id: str
    name: str
    display_name: str
    circulating_supply: float | None = None
    is_listing_known: bool = True


@dataclass(frozen=True)
class Collected:
    """What one symbol's run did: rows received inside the window, rows kept out of the table, and what was written.

    `archived` of those received came from files of the exchange's archive, the others from REST.
    """

    received: int = 0
    rejected: int = 0
    inserted: int = 0
    changed: int = 0
    unchanged: int = 0
    archived: int = 0
    first: int | None = None
    last: int | None = None

    def __add__(self, other: Collected) -> Collected:
        """Both runs as one."""
        firsts = [time for time in (self.first, other.first) if time is not None]
        lasts = [time for time in (self.last, other.last) if time is not None]
        return Collected(
            self.received + other.received,
            self.rejected + other.rejected,
            self.inserted + other.inserted,
            self.changed + other.changed,
            self.unchanged + other.unchanged,
            self.archived + other.archived,
            min(firsts, default=None),
            max(lasts, default=None),
        )
