"""The asset checks: what `quality` finds, as verdicts with counts, a sample and the command that repairs it.

One step per table runs all its checks over one connection. They cover everything stored, need the database alone, and
are blocking, so that a red one turns the run and the exit code red. Called by `definitions`.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of the functions it decorates at runtime.

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import dagster as dg
from sqlalchemy import Connection, Table, select

from crypto_assets.database.tables import TABLES
from crypto_assets.domain.entities import KDATA_TABLES, MarketType
from crypto_assets.domain.intervals import Interval, format_time, parse_time, partition_key
from crypto_assets.domain.spans import Span, subtract
from crypto_assets.orchestration.failures import stating_user_errors
from crypto_assets.orchestration.metadata import table_value
from crypto_assets.orchestration.partitions import partition_window
from crypto_assets.orchestration.resources import DatabaseResource
from crypto_assets.quality.candles import duplicates, invalid_ohlc, null_ohlc, off_grid, unknown_entities
from crypto_assets.quality.entities import duplicate_ids, null_ids, unresolved_references
from crypto_assets.quality.findings import SAMPLE_SIZE, Finding
from crypto_assets.quality.gaps import Completeness, completeness

_MATERIALIZE = "dagster asset materialize -m crypto_assets.definitions --select"
_BOOTSTRAP = "dagster job execute -m crypto_assets.definitions -j bootstrap"

KDATA_CHECKS = {
    "no_duplicates": "No entity has two candles at one instant.",
    "no_null_ohlc": "Every candle has its four prices.",
    "valid_ohlc": "High is the highest, low the lowest, prices are positive, volumes not negative.",
    "no_gaps": "Every owed candle is stored: the grid from an entity's first collected partition to its last, cut to "
    "its listing and to the exchange's clock when that partition was asked.",
    "on_grid": "Every candle opens on the interval's UTC grid.",
    "known_entities": "Every candle's entity is listed in the entity table.",
}

ENTITY_CHECKS = {
    "unique_ids": "Every id and entity id is there once.",
    "no_null_ids": "Every row has an id, a code and a name.",
    "references_resolve": "Every currency a market refers to is in crypto_asset.",
}


def build_kdata_checks(table: str) -> dg.AssetChecksDefinition:
    """The six checks of a candle table."""
    return _build_checks(table, KDATA_CHECKS, partial(_judge_kdata, table))


def build_entity_checks(table: str) -> dg.AssetChecksDefinition:
    """The checks of an entity table; `crypto_asset` refers to nothing."""
    descriptions = {
        name: text for name, text in ENTITY_CHECKS.items() if table != "crypto_asset" or name != "references_resolve"
    }
    return _build_checks(table, descriptions, partial(_judge_entities, table))


def _build_checks(
    table: str, descriptions: Mapping[str, str], judge: Callable[[str, Connection, Span | None], dg.AssetCheckResult]
) -> dg.AssetChecksDefinition:
    @dg.multi_asset_check(
        name=f"{table}_checks",
        specs=[
            dg.AssetCheckSpec(name, asset=table, description=text, blocking=True) for name, text in descriptions.items()
        ],
        can_subset=True,
    )
    def checks(context: dg.AssetCheckExecutionContext, database: DatabaseResource) -> Iterator[dg.AssetCheckResult]:
        selected = {key.name for key in context.selected_asset_check_keys}
        in_partitions = context.has_partition_key or context.has_partition_key_range
        asked = partition_window(context) if in_partitions else None
        with stating_user_errors(), database.open() as opened, opened.connect(table) as connection:
            for name in descriptions:
                if name in selected:
                    yield judge(name, connection, asked)

    return checks


def _judge_kdata(table_name: str, check: str, connection: Connection, asked: Span | None) -> dg.AssetCheckResult:
    market_type, interval = KDATA_TABLES[table_name]
    table, entities = TABLES[table_name], TABLES[market_type.entity_table]
    if check == "no_gaps":
        found = completeness(connection, table, entities, interval)
        names = _names(connection, entities, {each.entity_id for each in found if each.gaps})
        return _gap_result(table_name, interval, found, asked, names)
    finders: dict[str, Callable[[], Finding]] = {
        "no_duplicates": lambda: duplicates(connection, table),
        "no_null_ohlc": lambda: null_ohlc(connection, table),
        "valid_ohlc": lambda: invalid_ohlc(connection, table),
        "on_grid": lambda: off_grid(connection, table, interval),
        "known_entities": lambda: unknown_entities(connection, table, entities),
    }
    finding = finders[check]()
    names = _names(connection, entities, {str(row["entity_id"]) for row in finding.sample})
    repair = _kdata_repair(table_name, _name_in_sql(connection, table), check, interval, finding, names)
    return _result(table_name, check, finding, repair)


def _names(connection: Connection, entities: Table, ids: set[str]) -> list[str]:
    """The ccxt symbols of entities, in order: a repair must ask for them, whatever is configured."""
    return list(connection.scalars(select(entities.c.name).where(entities.c.id.in_(ids)).order_by(entities.c.name)))


def _judge_entities(table_name: str, check: str, connection: Connection, _asked: Span | None) -> dg.AssetCheckResult:
    table = TABLES[table_name]
    finders: dict[str, Callable[[], Finding]] = {
        "unique_ids": lambda: duplicate_ids(connection, table),
        "no_null_ids": lambda: null_ids(connection, table),
        "references_resolve": lambda: unresolved_references(connection, table, TABLES["crypto_asset"]),
    }
    return _result(table_name, check, finders[check](), _BOOTSTRAP)


def _result(table: str, check: str, finding: Finding, repair: str) -> dg.AssetCheckResult:
    metadata: dict[str, Any] = {"count": finding.count, "rows": finding.rows}
    if not finding.passed:
        metadata |= {"sample": table_value(finding.sample), "repair": repair}
    return dg.AssetCheckResult(
        asset_key=table,
        check_name=check,
        passed=finding.passed,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{finding.count:,} of {finding.rows:,} rows offend." if finding.count else None,
        metadata=metadata,
    )


def _gap_result(
    table: str, interval: Interval, entities: list[Completeness], asked: Span | None, names: list[str]
) -> dg.AssetCheckResult:
    """Gaps, as an error, unless all of them lie in the window this very run has just asked the exchange for.

    Those are the exchange's own for now: the run did what it could and must not fail for them. Job integrity, which
    asks nobody, calls them an error.
    """
    gaps = [(entity.entity_id, span) for entity in entities for span in entity.gaps]
    missing = sum(entity.missing for entity in entities)
    answered = asked is not None and not subtract((span for _, span in gaps), [asked])
    metadata: dict[str, Any] = {
        "count": missing,
        "gaps": len(gaps),
        "expected": sum(entity.expected for entity in entities),
        "present": sum(entity.present for entity in entities),
    }
    if entities:
        metadata["completeness"] = table_value([_completeness_row(entity) for entity in entities])
    if gaps:
        metadata["sample"] = table_value(
            [
                {
                    "entity_id": entity_id,
                    "first_missing": format_time(span.start),
                    "last_missing": format_time(span.end - interval.milliseconds),
                    "missing": interval.count(*span),
                }
                for entity_id, span in gaps[:SAMPLE_SIZE]
            ]
        )
        times = [time for _, span in gaps for time in (span.start, span.end - interval.milliseconds)]
        metadata["repair"] = _repair_range(table, interval, times, names)
    return dg.AssetCheckResult(
        asset_key=table,
        check_name="no_gaps",
        passed=not missing,
        severity=dg.AssetCheckSeverity.WARN if answered else dg.AssetCheckSeverity.ERROR,
        description=f"{missing:,} owed candles are missing in {len(gaps)} gaps." if missing else None,
        metadata=metadata,
    )


def _completeness_row(entity: Completeness) -> dict[str, Any]:
    return {
        "entity_id": entity.entity_id,
        "owed_from": format_time(entity.owed.start) if entity.expected else "",
        "owed_until": format_time(entity.owed.end) if entity.expected else "",
        "expected": entity.expected,
        "present": entity.present,
        "missing": entity.missing,
        "percent": 100.0 * entity.present / entity.expected if entity.expected else 100.0,
    }


def _name_in_sql(connection: Connection, table: Table) -> str:
    """A table's name as a user's client takes it: with its schema on a server; on SQLite it is a file of its own."""
    if connection.dialect.name == "sqlite":
        return table.name
    schemas: Any = connection.get_execution_options().get("schema_translate_map") or {}
    return f"{schemas.get(table.schema, table.schema)}.{table.name}"


def _kdata_repair(table: str, name: str, check: str, interval: Interval, finding: Finding, names: list[str]) -> str:
    """The command that repairs what a check found in a table, called `name` in SQL."""
    if finding.passed:
        return ""
    if check == "known_entities":
        strangers = ", ".join(sorted({f"'{row['entity_id']}'" for row in finding.sample}))
        return f"{_BOOTSTRAP}; still unknown then: DELETE FROM {name} WHERE entity_id IN ({strangers})"
    times = [time for row in finding.sample if (time := _time(row["timestamp"])) is not None]
    if check in ("no_duplicates", "on_grid") or not times:
        # Spelled out: no list of pairs is understood by all three engines.
        keys = " OR ".join(
            f"(entity_id = '{row['entity_id']}' AND timestamp = '{row['timestamp']}')" for row in finding.sample
        )
        return f"DELETE FROM {name} WHERE {keys}"
    return _repair_range(table, interval, times, names)


def _time(written: Any) -> int | None:
    try:
        return parse_time(str(written))
    except ValueError:
        return None


def _repair_range(table: str, interval: Interval, times: list[int], names: list[str]) -> str:
    start, end = (partition_key(interval.partition_scheme, time) for time in (min(times), max(times)))
    partitions = f"--partition {start}" if start == end else f"--partition-range {start}...{end}"
    config = json.dumps({"ops": {table: {"config": {"symbols": names}}}}, ensure_ascii=False)
    return f"{_MATERIALIZE} {table} {partitions} --config-json '{config}'"


def entity_tables() -> list[str]:
    """The entity tables, currencies first."""
    return ["crypto_asset", *(market_type.entity_table for market_type in MarketType)]
