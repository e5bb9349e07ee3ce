"""What is collected and what came of it: a symbol, the figures of its run, and all that a run leaves. Values only.

Made by `collect.candles` alone, added up by `collect.run`, shown by `metadata`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from crypto_assets.domain.spans import Span
from crypto_assets.quality.gaps.ledger import Answer


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
class Counts:
    """How many rows came inside the window, how many were kept out of the table, and what the others changed there.

    `archived` of those received came from bulk files of the exchange, the others from REST. `first` and `last` are the
    open times (ms UTC) of the candles that were written.
    """

    received: int = 0
    rejected: int = 0
    inserted: int = 0
    changed: int = 0
    unchanged: int = 0
    archived: int = 0
    first: int | None = None
    last: int | None = None

    def __add__(self, other: Counts) -> Counts:
        """Both runs as one."""
        firsts = [time for time in (self.first, other.first) if time is not None]
        lasts = [time for time in (self.last, other.last) if time is not None]
        return Counts(
            self.received + other.received,
            self.rejected + other.rejected,
            self.inserted + other.inserted,
            self.changed + other.changed,
            self.unchanged + other.unchanged,
            self.archived + other.archived,
            min(firsts, default=None),
            max(lasts, default=None),
        )


@dataclass(frozen=True)
class Outcome:
    """What came of a backfill plan, or of a part of it; parts add up in the order in which they were stored.

    - `asked`: the spans that were asked for to their end; `answers` is what REST said about them.
    - `sources`: by partition key, how many stored candles came from which source.
    - `files`: the periods of the bulk files among the sources.
    - `rewritten`: the keys of the partitions in which candles were written.
    - `refused`: the open times (ms UTC) of the candles that came and were refused.
    """

    counts: Counts = field(default_factory=Counts)
    asked: tuple[Span, ...] = ()
    answers: tuple[Answer, ...] = ()
    sources: Mapping[str, Counter[str]] = field(default_factory=dict)
    files: frozenset[str] = frozenset()
    rewritten: frozenset[str] = frozenset()
    refused: tuple[int, ...] = ()

    def __add__(self, later: Outcome) -> Outcome:
        """Both parts as one."""
        both = {key: self.sources.get(key, Counter()) + counter for key, counter in later.sources.items()}
        return Outcome(
            self.counts + later.counts,
            self.asked + later.asked,
            self.answers + later.answers,
            {**self.sources, **both} if both else self.sources,
            self.files | later.files if later.files else self.files,
            self.rewritten if later.rewritten <= self.rewritten else self.rewritten | later.rewritten,
            self.refused + later.refused if later.refused else self.refused,
        )

    def without_sources(self, partitions: Collection[str]) -> Outcome:
        """The same, before these partitions are asked for anew: what comes then are all of their sources."""
        return replace(self, sources={key: names for key, names in self.sources.items() if key not in partitions})
