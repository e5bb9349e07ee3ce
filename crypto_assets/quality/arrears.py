"""Histories that some symbols of a candle table have and others lack: what a new, relisted or lagging one owes in fact.

What lies between the first and the last collected partition of a symbol is owed and belongs to the gap ledger; here is
what lies outside, as far as the table reaches. Called by `orchestration.new_listings`. Reads the database only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from crypto_assets.database.tables import TABLES
from crypto_assets.domain.entities import KDATA_TABLES
from crypto_assets.domain.intervals import Interval, partition_keys, partition_span, to_milliseconds
from crypto_assets.domain.spans import Span, intersect
from crypto_assets.quality.coverage import covered_partitions, listed_spans

PARTITIONS_PER_RUN = 100


@dataclass(frozen=True)
class Arrears:
    """A range of partitions of one candle table in which these ccxt symbols were listed and never collected."""

    table: str
    symbols: tuple[str, ...]
    partitions: tuple[str, str]

    @property
    def digest(self) -> str:
        """What tells this range of these symbols from any other."""
        said = repr((self.table, self.symbols, self.partitions))
        return hashlib.blake2b(said.encode(), digest_size=8).hexdigest()


def arrears(connection: Connection, table_name: str, tracked: Collection[str]) -> list[Arrears]:
    """What `tracked` symbols lack of the range that the table was collected in by any of them; newest first.

    A table that nobody collected lacks nothing, nor does a symbol of which no candle is known, as it does not trade
    yet, nor one that the exchange lists no more, even as ended: it cannot be asked for.
    """
    market_type, interval = KDATA_TABLES[table_name]
    entities = TABLES[market_type.entity_table]
    still_listed = entities.c.timestamp == select(func.max(entities.c.timestamp)).scalar_subquery()
    chosen = (entities.c.name.in_(tracked), entities.c.list_date.is_not(None), still_listed)
    rows = connection.execute(select(entities.c.id, entities.c.name).where(*chosen)).all()
    names = {row.id: row.name for row in rows}
    covered = {
        entity_id: partitions
        for entity_id, partitions in covered_partitions(connection, market_type, interval).items()
        if entity_id in names
    }
    if not covered:
        return []
    scheme = interval.partition_scheme
    first, last = min(map(min, covered.values())), max(map(max, covered.values()))
    reached = partition_keys(scheme, partition_span(scheme, first)[0], partition_span(scheme, last)[1])
    listed = listed_spans(connection, entities, list(names), interval)
    lacking: dict[tuple[str, str], set[str]] = {}
    for entity_id, name in names.items():
        own = covered.get(entity_id, {})
        outside = [key for key in reached if not own or not min(own) <= key <= max(own)]
        wanted = [key for key in outside if intersect([Span(*partition_span(scheme, key))], listed[entity_id])]
        if own and _ends_too_soon(interval, max(own), own[max(own)].verified_at, listed[entity_id], last):
            wanted = sorted([*wanted, max(own)])
        for chunk in _chunks(reached, wanted):
            lacking.setdefault((chunk[0], chunk[-1]), set()).add(name)
    found = [Arrears(table_name, tuple(sorted(symbols)), partitions) for partitions, symbols in lacking.items()]
    return sorted(found, key=lambda each: each.partitions, reverse=True)


def _ends_too_soon(interval: Interval, key: str, asked_at: datetime, listed: Sequence[Span], last: str) -> bool:
    """Whether the last partition of a symbol was asked for while it ran, and there will be no more of it.

    Of the table's `last` partition that can be said of a symbol that ended; of others it is still growing.
    """
    scheme = interval.partition_scheme
    rest = Span(interval.closed_before(to_milliseconds(asked_at)), partition_span(scheme, key)[1])
    is_final = key != last or listed[-1].end <= partition_span(scheme, last)[1]
    return is_final and bool(intersect([rest], listed))


def _chunks(reached: Sequence[str], wanted: Sequence[str]) -> Iterator[list[str]]:
    """The wanted partitions as runs of neighbours, each of at most so many as one run takes."""
    position = {key: number for number, key in enumerate(reached)}
    chunk: list[str] = []
    for key in wanted:
        if chunk and (position[key] != position[chunk[-1]] + 1 or len(chunk) == PARTITIONS_PER_RUN):
            yield chunk
            chunk = []
        chunk.append(key)
    if chunk:
        yield chunk
