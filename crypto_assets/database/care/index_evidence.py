"""Whether indexes serve the standard queries: what the engine's own EXPLAIN says, and which indexes serve none.

    with database.connect("crypto_pair") as connection:
        explain(connection, select(TABLES["crypto_pair"]).where(...))   # PlanSummary(indexes={...}, full_scans=set())
    index_use(database)                                                 # IndexUse(share=1.0, unused=[], ...)

The queries themselves are in `database.care.standard_queries`. Called by `quality.vitals`, `orchestration` and tests.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Alias, ColumnClause, Connection, Select, Table, func, inspect, select
from sqlalchemy.sql import visitors

from crypto_assets.database.care.standard_queries import STANDARD_QUERIES, StandardQuery
from crypto_assets.database.engines import Database
from crypto_assets.database.errors import DatabaseNotReady
from crypto_assets.database.tables import TABLES

__all__ = ["SMALL", "STANDARD_QUERIES", "IndexUse", "PlanSummary", "StandardQuery", "explain", "index_use"]

SMALL = 1000
"""Rows below which a table is not judged: reading a few pages in full is cheaper than an index, and planners know.

Of candles and ticks, twenty times as many: a standard query asks for the last thousand.
"""

_SMALL_PARTITION = 256 * 1024

_MONTH = re.compile(r"_\d{4}_\d{2}(?=$|_)")
"""What PostgreSQL appends to a table's name to name its partitions and their indexes."""

_PARTIAL = {
    index.name
    for table in TABLES.values()
    for index in table.indexes
    if index.dialect_options["sqlite"]["where"] is not None
}


@dataclass(frozen=True)
class PlanSummary:
    """What a plan reads: the indexes (a key under the engine's name for it), and the tables from end to end."""

    indexes: set[str] = field(default_factory=set)
    full_scans: set[str] = field(default_factory=set)

    @property
    def uses_index(self) -> bool:
        """Whether indexes lead to every row that is read."""
        return not self.full_scans


@dataclass(frozen=True)
class IndexUse:
    """The share (0 to 1) of the `judged` standard queries that indexes serve, those they do not, and idle indexes."""

    share: float
    judged: int
    not_served: list[str]
    unused: list[str]


def index_use(database: Database) -> IndexUse:
    """What indexes do for the standard queries of every table that is large enough to need one.

    With no such table the share is 1. Idle indexes are those of such tables that neither serve a standard query nor
    hold a constraint. What was never migrated is left out. Raises DatabaseError where the database cannot be read.
    """
    summaries: dict[str, PlanSummary] = {}
    unused: list[str] = []
    for name in dict.fromkeys(query.table for query in STANDARD_QUERIES.values()):
        try:
            with database.connect(name) as connection:
                own, idle = _judged(connection, TABLES[name])
        except DatabaseNotReady:
            continue
        summaries |= own
        unused += idle
    not_served = [title for title, summary in summaries.items() if not summary.uses_index]
    share = 1 - len(not_served) / len(summaries) if summaries else 1.0
    return IndexUse(share, len(summaries), not_served, unused)


def _judged(connection: Connection, table: Table) -> tuple[dict[str, PlanSummary], list[str]]:
    """The plans of a table's standard queries, and its indexes that none of them uses; nothing of a small table."""
    if not _is_large(connection, table):
        return {}, []
    queries = {title: query for title, query in STANDARD_QUERIES.items() if query.table == table.name}
    own = {title: explain(connection, query.build(connection)) for title, query in queries.items()}
    used = set[str]().union(*(summary.indexes for summary in own.values()))
    return own, sorted(_optional_indexes(connection, table) - used)


def explain(connection: Connection, statement: Select[Any]) -> PlanSummary:
    """How the engine would answer `statement`; it is not run."""
    schemas = connection.get_execution_options().get("schema_translate_map")
    compiled = statement.compile(
        dialect=connection.dialect,
        schema_translate_map=schemas,
        render_schema_translate=True,
        compile_kwargs={"literal_binds": True},
    )
    if connection.dialect.name == "postgresql":
        plans = connection.exec_driver_sql(f"EXPLAIN (VERBOSE, FORMAT JSON) {compiled}").scalar_one()
        return _of_postgresql(connection, list(_nodes(plans[0]["Plan"])))
    names = _names(statement)
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}")
        return _of_sqlite([str(row[3]) for row in rows], names)
    return _of_mysql([dict(row) for row in connection.exec_driver_sql(f"EXPLAIN {compiled}").mappings()], names)


_STEP = re.compile(
    r"^(SCAN|SEARCH) (?:\w+\.)?(\S+)(?: USING (AUTOMATIC )?(?:PARTIAL )?(?:COVERING )?(INDEX|PRIMARY KEY) ?(\S*))?"
)


def _of_sqlite(steps: list[str], names: Mapping[str, str]) -> PlanSummary:
    summary = PlanSummary()
    for step in steps:
        match = _STEP.match(step)
        if match is None or match[2] not in names:
            continue  # a sort, or what a part of the statement has left behind
        how, name, automatic, kind, index = match.groups()
        if kind is not None and not automatic:
            summary.indexes.add(index if kind == "INDEX" else kind)
        # An automatic index is made for the one statement, of every row.
        if automatic or (how == "SCAN" and index not in _PARTIAL):
            summary.full_scans.add(names[name])
    return summary


def _of_postgresql(connection: Connection, nodes: list[Mapping[str, Any]]) -> PlanSummary:
    summary = PlanSummary()
    for node in nodes:
        kind = node["Node Type"]
        if kind.endswith("Seq Scan"):
            table = _MONTH.sub("", node["Relation Name"])
            # The partition of a month that has just begun is a few pages, which nobody looks up in an index.
            if table == node["Relation Name"] or _size(connection, node) >= _SMALL_PARTITION:
                summary.full_scans.add(table)
        elif "Index" in kind:
            index = _MONTH.sub("", node["Index Name"])
            summary.indexes.add(index)
            if "Index Cond" not in node and index not in _PARTIAL:
                summary.full_scans.add(_MONTH.sub("", node["Relation Name"]))
    return summary


def _size(connection: Connection, node: Mapping[str, Any]) -> int:
    name = f'"{node["Schema"]}"."{node["Relation Name"]}"'
    return int(connection.scalar(select(func.pg_relation_size(name))) or 0)


def _nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def _of_mysql(rows: list[dict[str, Any]], names: Mapping[str, str]) -> PlanSummary:
    """Of the plain form: MySQL's and MariaDB's JSON are two different languages."""
    summary = PlanSummary()
    for row in rows:
        if row["table"] not in names:
            continue  # what a part of the statement has left behind
        if row["key"] is not None:
            summary.indexes.add(row["key"])
        if row["type"] in ("ALL", "index"):
            summary.full_scans.add(names[row["table"]])
    return summary


def _names(statement: Select[Any]) -> dict[str, str]:
    """The tables that a statement reads, by the names that it gives them."""
    found: dict[str, str] = {}
    for element in visitors.iterate(statement):
        source = element.table if isinstance(element, ColumnClause) else element
        if isinstance(source, Table):
            found[source.name] = source.name
        elif isinstance(source, Alias) and isinstance(source.element, Table):
            found[str(source.name)] = source.element.name
    return found


def _is_large(connection: Connection, table: Table) -> bool:
    enough = 20 * SMALL if table.info.get("by_entity") else SMALL
    some = select(*table.primary_key.columns).limit(enough).subquery()
    return (connection.scalar(select(func.count()).select_from(some)) or 0) >= enough


def _optional_indexes(connection: Connection, table: Table) -> set[str]:
    """The table's indexes as they are stored, without those that a constraint needs."""
    schemas: Mapping[Any, Any] = connection.get_execution_options().get("schema_translate_map") or {}
    stored = inspect(connection).get_indexes(table.name, schemas.get(table.schema, table.schema))
    return {str(index["name"]) for index in stored if not index["unique"] and not str(index["name"]).startswith("fk_")}
