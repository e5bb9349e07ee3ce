"""The vitals of a database: what `crypto-assets health` prints and the asset check `healthy` judges.

Each vital is read by itself: one that cannot be read fails with the reason, and the others are still reported.
Databases that were never migrated are named by the vital `schema` and left out by the others. Changes nothing. What the
engine itself says of its files is asked by `database.care.soundness`. Called by `cli.health` and
`orchestration.assets.operations`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from crypto_assets.database.care.index_evidence import index_use
from crypto_assets.database.care.sizes import table_bytes
from crypto_assets.database.care.soundness import integrity, query_milliseconds
from crypto_assets.database.engines import Database
from crypto_assets.database.errors import DatabaseError, DatabaseNotReady
from crypto_assets.database.queries import entity_ids, row_count
from crypto_assets.database.revisions import HEAD
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets.quality.rules.candles import unknown_entities
from crypto_assets.quality.rules.entities import unresolved_references

SLOW_MILLISECONDS = 250.0
"""The last 1,000 candles of one symbol may not take longer."""

INDEX_USE = 0.95
"""More than this share of the standard queries must be served by indexes."""

_BUSY = 0.9


@dataclass(frozen=True)
class Vital:
    """One thing looked at: what, whether it is as it should be, its figure as text, and as a number where it is one."""

    what: str
    passed: bool
    figure: str
    value: float | None = None

    def as_dict(self) -> dict[str, object]:
        """The vital as a row of the report."""
        return {"what": self.what, "passed": self.passed, "figure": self.figure, "value": self.value}


def vitals(database: Database) -> list[Vital]:
    """Schema, every entity and candle table, references, integrity, query time, size, connections, index use."""
    looks: dict[str, Callable[[], Vital]] = {"schema": lambda: _schema(database)}
    for name in ("crypto_asset", "crypto_pair", "crypto_perp", *KDATA_TABLES):
        looks[name] = lambda name=name: _rows(database, name)  # type: ignore[misc]
    looks |= {
        "references": lambda: _references(database),
        "integrity": lambda: _integrity(database),
        "query_time": lambda: _query_time(database),
        "size": lambda: _size(database),
        "connections": lambda: _connections(database),
        "index_use": lambda: _index_use(database),
    }
    return [_seen(what, look) for what, look in looks.items()]


def _seen(what: str, look: Callable[[], Vital]) -> Vital:
    try:
        return look()
    except (DatabaseError, SQLAlchemyError, sqlite3.Error) as error:
        return Vital(what, passed=False, figure=str(error).splitlines()[0])


def _schema(database: Database) -> Vital:
    behind = sorted(unit for unit in database.units if database.revision(unit) != HEAD)
    figure = f"not at {HEAD}: {', '.join(behind)}" if behind else f"{HEAD} in {len(database.units)} databases"
    return Vital("schema", not behind, figure, len(behind))


def _rows(database: Database, name: str) -> Vital:
    with database.connect(name) as connection:
        rows = row_count(connection, TABLES[name])
    return Vital(name, passed=True, figure=f"{rows:,} rows", value=rows)


def _references(database: Database) -> Vital:
    """Rows of pairs and perpetuals whose currency, and of candles whose symbol, is not listed."""
    counts: dict[str, int] = {}
    for name in ("crypto_pair", "crypto_perp", *KDATA_TABLES):
        try:
            with database.connect(name) as connection:
                if name not in KDATA_TABLES:
                    finding = unresolved_references(connection, TABLES[name], TABLES["crypto_asset"])
                    counts[name] = finding.count
                    continue
                entities = TABLES[KDATA_TABLES[name].entity_table]
                # One lookup for each symbol; only where one is unknown are its candles counted.
                listed = set(connection.scalars(select(entities.c.id)))
                known = listed.issuperset(entity_ids(connection, TABLES[name]))
                counts[name] = 0 if known else unknown_entities(connection, TABLES[name], entities).count
        except DatabaseNotReady:
            continue
    broken = [f"{count:,} in {name}" for name, count in counts.items() if count]
    figure = f"unresolved: {', '.join(broken)}" if broken else f"all resolve in {len(counts)} tables"
    return Vital("references", not broken, figure, sum(counts.values()))


def _integrity(database: Database) -> Vital:
    found = integrity(database)
    figure = (
        "; ".join(found.faults) or f"{found.examined} {'files' if database.engine == 'sqlite' else 'schemas'} sound"
    )
    return Vital("integrity", not found.faults, figure, len(found.faults))


def _query_time(database: Database) -> Vital:
    sizes = {name: size for name, size in table_bytes(database).items() if name in KDATA_TABLES}
    if not sizes:
        return Vital("query_time", passed=True, figure="no candle table yet")
    biggest = max(sizes, key=lambda name: sizes[name])
    taken = query_milliseconds(database, biggest)
    figure = f"{taken:.1f} ms for the last 1,000 candles of a symbol in {biggest}"
    return Vital("query_time", taken <= SLOW_MILLISECONDS, figure, taken)


def _size(database: Database) -> Vital:
    size = sum(table_bytes(database).values())
    return Vital("size", passed=True, figure=f"{size:,} bytes", value=size)


def _connections(database: Database) -> Vital:
    status = database.pool_status()
    figure = f"{status.checked_out} in use, {status.idle} idle"
    if status.limit is None:
        return Vital("connections", passed=True, figure=f"{figure}, no limit", value=status.connections)
    figure += f"; the server has {status.connections} of at most {status.limit}"
    return Vital("connections", status.connections < _BUSY * status.limit, figure, status.connections)


def _index_use(database: Database) -> Vital:
    use = index_use(database)
    figure = f"{use.share:.1%} of {use.judged} standard queries"
    if use.not_served:
        figure += f"; not {', '.join(use.not_served)}"
    return Vital("index_use", use.share > INDEX_USE, figure, use.share)
