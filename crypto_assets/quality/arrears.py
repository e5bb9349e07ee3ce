"""Histories that some symbols of a candle table have and others lack: what a new, relisted or lagging one owes in fact.

What lies between the first and the last collected partition of a symbol is owed and belongs to the gap ledger; here is
what lies outside, as far as the table reaches. Called by `orchestration.new_listings`. Reads the database only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from crypto_assets.database.tables import TABLES
from crypto_assets.domain.entities import KDATA_TABLES
from crypto_assets.domain.intervals import partition_keys, partition_span
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

    A table that nobody collected lacks nothing.
    """
    market_type, interval = KDATA_TABLES[table_name]
    entities = TABLES[market_type.entity_table]
    rows = connection.execute(select(entities.c.id, entities.c.name).where(entities.c.name.in_(tracked))).all()
    names = {row.id: row.name for row in rows}
    covered = {
        entity_id: sorted(partitions)
        for entity_id, partitions in covered_partitions(connection, market_type, interval).items()
        if entity_id in names
    }
    if not covered:
        return []
    scheme = interval.partition_scheme
    first, last = min(keys[0] for keys in covered.values()), max(keys[-1] for keys in covered.values())
    reached = partition_keys(scheme, partition_span(scheme, first)[0], partition_span(scheme, last)[1])
    listed = listed_spans(connection, entities, list(names), interval)
    lacking: dict[tuple[str, str], set[str]] = {}
    for entity_id, name in names.items():
        own = covered.get(entity_id, [])
        outside = [key for key in reached if not own or not own[0] <= key <= own[-1]]
        wanted = [key for key in outside if intersect([Span(*partition_span(scheme, key))], listed[entity_id])]
        for chunk in _chunks(reached, wanted):
            lacking.setdefault((chunk[0], chunk[-1]), set()).add(name)
    found = [Arrears(table_name, tuple(sorted(symbols)), partitions) for partitions, symbols in lacking.items()]
    return sorted(found, key=lambda each: each.partitions, reverse=True)


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
