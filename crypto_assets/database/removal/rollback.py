"""Rollback: which rows would be removed, and removing them after a backup was made.

    plan_rollback(database, Depth.PROVIDER, "binance", since=datetime(2024, 8, 1))  # changes nothing
    carry_out(database, Depth.DATA)  # RollbackOutcome(backup, removed)

Here belongs which rows a rollback means and in what order they go. The copies belong to `backups`, asking the user to
`cli` and `orchestration`, which call this. Times are UTC, naive or aware.

Rows go table by table, what refers to others before them, each table in one transaction: a run that is interrupted is
simply run again. With candles go the coverage, findings, gaps, archived months and loaded files that speak of them, in
the same transaction: a removed candle is no longer owed. Parquet files stay on disk. Collect nothing meanwhile: rows
that are written after their table was copied are in no backup.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, func, inspect, not_, or_, select, table

from crypto_assets.database.errors import DatabaseError
from crypto_assets.database.expressions import of_entity_type
from crypto_assets.database.migrations import plan_migration
from crypto_assets.database.removal.backups import back_up, naming_backup
from crypto_assets.database.removal.schema_removal import refuse_strangers, remove_databases
from crypto_assets.database.revisions import BASE
from crypto_assets.database.tables import META, QUALITY, TABLES, TICK, find_table, logical_database, time_column
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import Interval, PartitionScheme, format_time, partition_key, to_milliseconds
from crypto_assets.domain.series import KDATA_TABLES, CandleTable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Column, ColumnElement

    from crypto_assets.database.engines import Database

    Conditions = Mapping[str, tuple[ColumnElement[bool], ...]]

ARCHIVE = "crypto_kdata_archive"
_SOURCE_FILE = "crypto_source_file"
_OF_PARTITIONS = ("crypto_kdata_coverage", "crypto_kdata_finding")
_LEDGERS = ("crypto_kdata_gap", *_OF_PARTITIONS, "crypto_kdata_decision", ARCHIVE, _SOURCE_FILE)
"""What speaks of candles, by entity and interval."""

_ENTITIES = ("crypto_perp", "crypto_pair", "crypto_asset")
_KEPT_BY_ALL = ("crypto_weight_ledger",)
"""The weight that the exchange has counted, and its pauses and bans: no rollback undoes these."""

_ORDER = (*(name for name in TABLES if logical_database(name) != META and name not in _KEPT_BY_ALL), *_ENTITIES)
"""Every table that can be cleared, what refers to others before them. What the schema knows of itself is not here."""

_NO_SERIES = (*_ENTITIES, "crypto_websocket_sessions", "crypto_api_keys")
"""What is no series of values over time: with a `since` they are cleared only where they are named."""


class Depth(StrEnum):
    """How far back: to nothing at all, to an empty schema, or by one provider's rows."""

    SCHEMA = "schema"
    DATA = "data"
    PROVIDER = "provider"


@dataclass(frozen=True)
class PlannedRemoval:
    """The rows of one table that go: how many, and which (all where no condition is given)."""

    table: str
    rows: int
    where: tuple[ColumnElement[bool], ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True)
class RollbackOutcome:
    """What was done: the stamp of the backup (None where there was nothing to copy) and the rows removed by table.

    The rows of `crypto_kdata_archive` among them are Parquet files that stayed on disk and are known to nobody now.
    """

    backup: str | None
    removed: dict[str, int]


def plan_rollback(
    database: Database,
    depth: Depth,
    provider: str | None = None,
    tables: Sequence[str] = (),
    since: datetime | None = None,
) -> list[PlannedRemoval]:
    """What `carry_out` would remove, in its order; changes nothing. Tables without such rows are left out.

    `provider` goes with that depth only, and so do `tables` (all of the provider's where empty) and `since` (their time
    column, included; without `tables` only series over time). For the schema every table is listed, as all of them go.

    Raises DatabaseError for an unknown table, one that has no provider, a provider without rows, and where rows would
    remain that refer to removed ones; EnvironmentMismatch and DatabaseNotReady as `connect`.
    """
    if (depth is Depth.PROVIDER) != bool(provider) or (depth is not Depth.PROVIDER and (tables or since)):
        raise DatabaseError("A provider is named to remove its rows, and tables or a time only with a provider.")
    # Whose data these are is looked at by all that follows, before a row is counted.
    if depth is Depth.SCHEMA:
        return _plan_schema(database)
    if not provider:
        return _count(database, dict.fromkeys(_ORDER, ()))
    conditions = _conditions(provider, _chosen(tables, since), since)
    plan = _count(database, conditions)
    if not plan:
        within = f" in {', '.join(tables)}" if tables else ""
        after = f" since {format_time(to_milliseconds(since))}" if since else ""
        raise DatabaseError(f"Nothing of {provider} is stored{within}{after} in {database.location}.")
    _refuse_orphans(database, conditions)
    _refuse_cut_files(database, conditions, since)
    return plan


def carry_out(
    database: Database,
    depth: Depth,
    provider: str | None = None,
    tables: Sequence[str] = (),
    since: datetime | None = None,
) -> RollbackOutcome:
    """Copies the tables worth keeping, then removes what `plan_rollback` finds for the same arguments.

    Raises as it does and as `back_up`, with everything as it was; DatabaseError where removing fails (a lost
    connection, another writer), with the tables removed so far removed, and then the copies are named.
    """
    plan = plan_rollback(database, depth, provider, tables, since)
    if depth is Depth.SCHEMA:
        refuse_strangers(database)
    elif not plan:
        return RollbackOutcome(None, {})
    stamp = back_up(database)
    with naming_backup(stamp):
        if depth is Depth.SCHEMA:
            remove_databases(database)
        elif depth is Depth.DATA and database.engine == "postgresql":
            _truncate(database)
        else:
            return RollbackOutcome(stamp, _clear(database, plan))
    return RollbackOutcome(stamp, {each.table: each.rows for each in plan})


def _plan_schema(database: Database) -> list[PlannedRemoval]:
    """Every table that is there. The database may stand at any revision that is known, or be half removed."""
    plan = []
    for unit in plan_migration(database, revision=BASE):
        if unit.before is None:
            continue
        with database.migrating(unit.name) as connection:
            schema = database.schemas.get(unit.name)
            there = set(inspect(connection).get_table_names(schema))
            for name in TABLES:
                if name in there:
                    counted = select(func.count()).select_from(table(name, schema=schema))
                    plan.append(PlannedRemoval(name, connection.scalar(counted) or 0))
    return plan


def _chosen(names: Sequence[str], since: datetime | None) -> set[str]:
    """The tables that a provider's rollback means."""
    owned = {name for name in _ORDER if _owner(name) is not None}
    if not names:
        return owned if since is None else owned - set(_NO_SERIES)
    try:
        chosen = {find_table(name).name for name in names}
    except ValueError as error:
        raise DatabaseError(str(error)) from None
    if chosen - owned:
        raise DatabaseError(f"{min(chosen - owned)} has no provider's rows; only a rollback of all data clears it.")
    return chosen


def _conditions(provider: str, chosen: set[str], since: datetime | None) -> Conditions:
    """Which rows go, by table in the order they go in."""
    candles = [KDATA_TABLES[name] for name in _ORDER if name in chosen and name in KDATA_TABLES]
    conditions = {}
    for name in _ORDER:
        if name in chosen:
            conditions[name] = _rows_of(name, provider, since)
        elif name in _LEDGERS and candles:
            spoken_of = or_(*(and_(*_about(name, each)) for each in candles))
            conditions[name] = (*_rows_of(name, provider, since), spoken_of)
    return conditions


def _rows_of(name: str, provider: str, since: datetime | None) -> tuple[ColumnElement[bool], ...]:
    owner: Any = _owner(name)
    if since is None:
        return (owner == provider,)
    c = TABLES[name].c
    if name in _OF_PARTITIONS:
        keys = {scheme: partition_key(scheme, to_milliseconds(since)) for scheme in PartitionScheme}
        levels = {
            scheme: [each.value for each in Interval if each.partition_scheme is scheme] for scheme in PartitionScheme
        }
        later = or_(*(and_(c.level.in_(levels[scheme]), c.partition >= keys[scheme]) for scheme in PartitionScheme))
    else:
        # Of the ledgers the times of their candles count, not when they were written.
        of_candles = {
            "crypto_kdata_gap": "end",
            "crypto_kdata_decision": "end",
            ARCHIVE: "last_timestamp",
            _SOURCE_FILE: "last_timestamp",
        }
        last = of_candles.get(name, time_column(TABLES[name]))
        later = c[last] >= since
    return owner == provider, later


def _owner(name: str) -> Column[Any] | None:
    """The column that says whose a row is."""
    columns = TABLES[name].c
    return columns.get("provider", columns.get("exchange"))


def _about(ledger: str, candle_table: CandleTable) -> tuple[ColumnElement[bool], ...]:
    """The rows of a ledger that speak of a candle table."""
    c = TABLES[ledger].c
    return c.level == candle_table.level, of_entity_type(c.entity_id, candle_table.entity_type)


def _count(database: Database, conditions: Conditions) -> list[PlannedRemoval]:
    plan = []
    for name, where in conditions.items():
        with database.connect(name) as connection:
            rows = connection.scalar(select(func.count()).select_from(TABLES[name]).where(*where))
        if rows:
            plan.append(PlannedRemoval(name, rows, where))
    return plan


def _references() -> list[tuple[Column[Any], Column[Any]]]:
    """(what refers, what it refers to), also where no foreign key says so."""
    markets = [TABLES[each.entity_table].c.entity_id for each in MarketType]
    by_key = [(key.parent, key.column) for name in _ORDER for key in sorted(TABLES[name].foreign_keys, key=str)]
    by_id = [name for name in _ORDER if logical_database(name) == TICK or name == ARCHIVE]
    return by_key + [(TABLES[name].c.entity_id, market) for name in by_id for market in markets]


def _refuse_orphans(database: Database, conditions: Conditions) -> None:
    """Raises DatabaseError where a row would remain that refers to a removed one, on every engine alike."""
    for referring, referred in _references():
        child, parent = str(referring.table.name), str(referred.table.name)
        if parent not in conditions:
            continue
        where: list[ColumnElement[bool]] = [referring.in_(select(referred).where(*conditions[parent]))]
        if child in conditions:
            where.append(not_(and_(*conditions[child])))
        with database.connect(child) as connection:
            found = connection.scalar(select(referring).where(*where).limit(1))
        if found is not None:
            raise DatabaseError(
                f"{parent} cannot lose rows that {child} still refers to ({found}); remove those of {child} too."
            )


def _refuse_cut_files(database: Database, conditions: Conditions, since: datetime | None) -> None:
    """Raises DatabaseError where an archived month holds candles before and after `since`: it is known or it is not."""
    if since is None or ARCHIVE not in conditions:
        return
    c = TABLES[ARCHIVE].c
    cut = select(c.entity_id, c.level, c.month).where(*conditions[ARCHIVE], c.first_timestamp < since).limit(1)
    with database.connect(ARCHIVE) as connection:
        row = connection.execute(cut).first()
    if row is not None:
        raise DatabaseError(
            f"The {row.level} candles of {row.entity_id} of {row.month[:7]} are archived in one file, which cannot be"
            " cut; choose a time at the start of a month."
        )


def _truncate(database: Database) -> None:
    """Clears all tables with one statement: PostgreSQL truncates what others refer to only together with these."""
    with database.begin(META, also=[QUALITY, *KDATA_TABLES]) as connection:
        preparer = connection.dialect.identifier_preparer
        connection.exec_driver_sql(f"TRUNCATE {', '.join(preparer.format_table(TABLES[name]) for name in _ORDER)}")


def _clear(database: Database, plan: list[PlannedRemoval]) -> dict[str, int]:
    """Deletes the planned rows, one transaction for each table; how many of each."""
    ledgers = [each for each in plan if each.table in _LEDGERS]
    removed: Counter[str] = Counter()
    for each in plan:
        candle_table = KDATA_TABLES.get(each.table)
        with database.begin(each.table, [QUALITY] if candle_table else []) as connection:
            removed[each.table] += connection.execute(delete(TABLES[each.table]).where(*each.where)).rowcount
            if candle_table is None:
                continue
            for ledger in ledgers:
                where = *ledger.where, *_about(ledger.table, candle_table)
                removed[ledger.table] += connection.execute(delete(TABLES[ledger.table]).where(*where)).rowcount
    return dict(removed)
