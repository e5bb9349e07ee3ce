"""The verdict of a check: whether it passed, how many rows offend, a sample, and the command that repairs these.

Finding them belongs to `quality`, running the checks to `orchestration.checks.definitions`, which calls this.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import dagster as dg
from sqlalchemy import Connection

from crypto_assets.collect.holes import PricedHole, said_of, waiting
from crypto_assets.database.entity_names import spellings
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.durations import duration
from crypto_assets.domain.intervals import Interval, format_time, parse_time
from crypto_assets.domain.series import CandleTable
from crypto_assets.domain.spans import Span, subtract
from crypto_assets.orchestration.metadata import hole_metadata, table_value
from crypto_assets.quality.gaps.ledger import Gap
from crypto_assets.quality.gaps.missing import Completeness
from crypto_assets.quality.rules.agreement import RELIABLE_SINCE
from crypto_assets.quality.rules.findings import SAMPLE_SIZE, Finding
from crypto_assets.quality.rules.partition_findings import SymbolFindings
from crypto_assets.quality.verification.examination import Examination

_MATERIALIZE = "dagster asset materialize -m crypto_assets.definitions --select"
BOOTSTRAP = "dagster job execute -m crypto_assets.definitions -j bootstrap"


@dataclass(frozen=True)
class NamedExamination:
    """An examination with names that can be typed again: of symbols, and of the table as SQL clients take it."""

    examination: Examination
    symbols: dict[str, str]
    name_in_sql: str

    @classmethod
    def of(cls, connection: Connection, examination: Examination) -> NamedExamination:
        """The examination of a candle table, with the names that its verdicts need."""
        candle_table = examination.candle_table
        entities, name = TABLES[candle_table.entity_table], candle_table.name
        if connection.dialect.name != "sqlite":  # there a table is a file of its own
            schemas: Any = connection.get_execution_options().get("schema_translate_map") or {}
            schema = TABLES[name].schema
            name = f"{schemas.get(schema, schema)}.{name}"
        return cls(examination, spellings(connection, entities), name)

    @property
    def candle_table(self) -> CandleTable:
        """The candle table."""
        return self.examination.candle_table

    @property
    def table(self) -> str:
        """Its name, which is the asset's key."""
        return self.candle_table.name

    @property
    def interval(self) -> Interval:
        """Its interval."""
        return self.candle_table.interval

    def repair(self, times: Sequence[int], entity_ids: Iterable[str]) -> str:
        """The command that asks for the partitions around `times` again."""
        start, end = (self.candle_table.partition_key(time) for time in (min(times), max(times)))
        partitions = f"--partition {start}" if start == end else f"--partition-range {start}...{end}"
        names = sorted(self.symbols.get(entity_id, entity_id) for entity_id in set(entity_ids))
        config = json.dumps({"ops": {self.table: {"config": {"symbols": names}}}}, ensure_ascii=False)
        return f"{_MATERIALIZE} {self.table} {partitions} --config-json '{config}'"


def simple_verdict(table: str, check: str, finding: Finding) -> dg.AssetCheckResult:
    """The verdict of a check of an entity table, which job bootstrap repairs."""
    return _verdict(table, check, finding, BOOTSTRAP)


def row_verdict(named: NamedExamination, check: str) -> dg.AssetCheckResult:
    """The verdict of a check that looks at rows."""
    finding = named.examination.findings[check]
    return _verdict(named.table, check, finding, _repair_of_rows(named, check, finding))


def altered_verdict(named: NamedExamination) -> dg.AssetCheckResult:
    """Partitions that changed since they were verified, though all their rows are sound; asking again repairs them."""
    altered = named.examination.altered
    metadata: dict[str, Any] = {"count": len(altered), "partitions_looked_at": named.examination.looked_at}
    if altered:
        metadata["sample"] = table_value(
            [{"entity_id": each.entity_id, "partition": each.partition} for each in altered[:SAMPLE_SIZE]]
        )
        times = [named.candle_table.partition_span(each.partition).start for each in altered]
        metadata["repair"] = named.repair(times, (each.entity_id for each in altered))
    return dg.AssetCheckResult(
        asset_key=named.table,
        check_name="unaltered",
        passed=not altered,
        description=f"{len(altered):,} partitions are other than they were verified." if altered else None,
        metadata=metadata,
    )


def plausible_verdict(named: NamedExamination, known: Sequence[SymbolFindings]) -> dg.AssetCheckResult:
    """Candles that are hard to believe: a warning."""
    return _findings_verdict(named, "plausible", known, severity=dg.AssetCheckSeverity.WARN)


def agreement_verdict(named: NamedExamination, known: Sequence[SymbolFindings]) -> dg.AssetCheckResult:
    """Hours that are not what their minutes make; a warning where all of them are of the exchange's early history."""
    early = all(month < RELIABLE_SINCE for each in known for month in each.found)
    severity = dg.AssetCheckSeverity.WARN if early else dg.AssetCheckSeverity.ERROR
    return _findings_verdict(named, "agrees_with_minutes", known, severity=severity)


def _findings_verdict(
    named: NamedExamination, check: str, known: Sequence[SymbolFindings], *, severity: dg.AssetCheckSeverity
) -> dg.AssetCheckResult:
    found = [(each.entity_id, key, what) for each in known for key, what in sorted(each.found.items())]
    count = sum(what["count"] for _, _, what in found)
    metadata: dict[str, Any] = {"count": count, "partitions": len(found)}
    if found:
        metadata["sample"] = table_value(
            [{"entity_id": entity_id, "partition": key, **what} for entity_id, key, what in found[:SAMPLE_SIZE]]
        )
        times = [named.candle_table.partition_span(key).start for _, key, _ in found]
        metadata["repair"] = named.repair(times, (entity_id for entity_id, _, _ in found))
    return dg.AssetCheckResult(
        asset_key=named.table,
        check_name=check,
        passed=not found,
        severity=severity,
        description=f"{count:,} candles in {len(found)} partitions." if found else None,
        metadata=metadata,
    )


def gap_verdict(
    named: NamedExamination, holes: Sequence[PricedHole], asked: Span | None, now: datetime
) -> dg.AssetCheckResult:
    """Open gaps, as an error, unless all of them lie in the window this very run has just asked the exchange for.

    Those are the exchange's own for now: the run did what it could and must not fail for them. Gaps that the exchange
    has confirmed are shown and fail nothing, nor do long holes that wait for a decision: nobody said that they are
    meant. `holes` are those, and those that were decided about.
    """
    series = named.examination.completeness
    gaps = [(each.entity_id, gap) for each in series for gap in each.gaps]
    source = [(each.entity_id, gap) for each in series for gap in each.source]
    missing = sum(each.missing for each in series)
    answered = asked is not None and not subtract((gap.span for _, gap in gaps), [asked])
    metadata: dict[str, Any] = {
        "count": missing,
        "gaps": len(gaps),
        "expected": sum(each.expected for each in series),
        "present": sum(each.present for each in series),
        "source_gaps": len(source),
        "source_candles": sum(each.absent for each in series),
    }
    metadata |= hole_metadata(holes)
    if series:
        metadata["completeness"] = table_value([_completeness_row(each) for each in series])
    if gaps:
        metadata["sample"] = table_value([_gap_row(named, *each, now) for each in gaps[:SAMPLE_SIZE]])
        times = [time for _, gap in gaps for time in (gap.span.start, gap.span.end - named.interval.milliseconds)]
        metadata["repair"] = named.repair(times, (entity_id for entity_id, _ in gaps))
    if source:
        newest = sorted(source, key=lambda each: each[1].span, reverse=True)[:SAMPLE_SIZE]
        metadata["source"] = table_value([_gap_row(named, *each, now) for each in newest])
    undecided = waiting(holes)
    return dg.AssetCheckResult(
        asset_key=named.table,
        check_name="no_gaps",
        passed=not missing,
        severity=dg.AssetCheckSeverity.WARN if answered else dg.AssetCheckSeverity.ERROR,
        description=" ".join([_completeness(metadata), *([said_of(undecided)] if undecided else [])]),
        metadata=metadata,
    )


def _completeness(figures: dict[str, Any]) -> str:
    """What the figures of `no_gaps` say, in one sentence."""
    if figures["count"]:
        return f"{figures['count']:,} owed candles are missing in {figures['gaps']} gaps."
    if figures["source_gaps"]:
        absent = f"in {figures['source_gaps']} gaps it has none of {figures['source_candles']:,}"
        return f"All {figures['present']:,} candles that the exchange has are stored; {absent}."
    return f"All {figures['present']:,} owed candles are stored."


def _verdict(table: str, check: str, finding: Finding, repair: str) -> dg.AssetCheckResult:
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


def _completeness_row(series: Completeness) -> dict[str, Any]:
    return {
        "entity_id": series.entity_id,
        "owed_from": format_time(series.owed[0].start) if series.expected else "",
        "owed_until": format_time(series.owed[-1].end) if series.expected else "",
        "expected": series.expected,
        "present": series.present,
        "missing": series.missing,
        "source_has_none": series.absent,
        "percent": series.percent,
    }


def _gap_row(named: NamedExamination, entity_id: str, gap: Gap, now: datetime) -> dict[str, Any]:
    return {
        "entity_id": entity_id,
        "first_missing": format_time(gap.span.start),
        "last_missing": format_time(gap.span.end - named.interval.milliseconds),
        "missing": named.interval.count(*gap.span),
        "lasts": duration(gap.span.end - gap.span.start),
        "asked": gap.attempts,
        "known_for": duration(now - gap.first_seen),
    }


def _repair_of_rows(named: NamedExamination, check: str, finding: Finding) -> str:
    """The command that repairs what a check found."""
    if finding.passed:
        return ""
    if check == "known_entities":
        strangers = ", ".join(sorted({f"'{row['entity_id']}'" for row in finding.sample}))
        return f"{BOOTSTRAP}; still unknown then: DELETE FROM {named.name_in_sql} WHERE entity_id IN ({strangers})"
    times = [time for row in finding.sample if (time := _time(row["timestamp"])) is not None]
    if check in ("no_duplicates", "on_grid") or not times:
        # Spelled out: no list of pairs is understood by all three engines.
        keys = " OR ".join(
            f"(entity_id = '{row['entity_id']}' AND timestamp = '{row['timestamp']}')" for row in finding.sample
        )
        return f"DELETE FROM {named.name_in_sql} WHERE {keys}"
    return named.repair(times, (str(row["entity_id"]) for row in finding.sample))


def _time(written: Any) -> int | None:
    try:
        return parse_time(str(written))
    except ValueError:
        return None
