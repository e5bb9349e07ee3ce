"""The asset checks: what `quality` finds, as verdicts with counts, a sample and the command that repairs it.

One step per table runs all its checks. They judge everything stored, read only the database, and are blocking: a red
one turns the run and the exit code red. A new check is named and described here; its rule belongs to `quality.rules`,
its verdict to `orchestration.checks.verdicts`. Called by `definitions`.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of the functions it decorates at runtime.

from collections.abc import Callable, Iterator

import dagster as dg

from crypto_assets.collect.holes import priced
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import Interval, to_milliseconds
from crypto_assets.domain.series import CandleTable
from crypto_assets.orchestration.checks.verdicts import (
    NamedExamination,
    agreement_verdict,
    altered_verdict,
    gap_verdict,
    plausible_verdict,
    row_verdict,
    simple_verdict,
)
from crypto_assets.orchestration.failures import stating_user_errors
from crypto_assets.orchestration.partitions import partition_window
from crypto_assets.orchestration.resources import ArchiveResource, DatabaseResource, LedgerResource
from crypto_assets.quality.gaps.deciding import holes_of
from crypto_assets.quality.rules.agreement import compare_hours
from crypto_assets.quality.rules.entities import duplicate_ids, null_ids, unresolved_references
from crypto_assets.quality.rules.findings import Finding
from crypto_assets.quality.rules.partition_findings import AGREES, PLAUSIBLE
from crypto_assets.quality.rules.plausibility import look_for_implausible
from crypto_assets.quality.scores import record_scores
from crypto_assets.quality.verification.examination import examine

DEEP = "crypto_assets/deep"
"""The run tag with which the checks read every partition again, instead of those that changed."""

KDATA_CHECKS = {
    "no_duplicates": "No entity has two candles at one instant.",
    "no_null_ohlc": "Every candle has its four prices.",
    "valid_ohlc": "High is the highest, low the lowest, prices are positive, amounts are there and not negative.",
    "no_gaps": "Every owed candle is stored, or the ledger has the evidence that the exchange has none.",
    "on_grid": "Every candle opens on the interval's UTC grid.",
    "known_entities": "Every candle's entity is listed in the entity table.",
    "unaltered": "Every candle is as it was when its partition was verified.",
    PLAUSIBLE: "No price jumps beyond reason, and no feed repeats itself. A warning only.",
}

HOURLY_CHECKS = {
    AGREES: "Every hour is what its sixty minutes make, where all of them are stored. Of hours before 2021 a warning.",
}

ENTITY_CHECKS = {
    "unique_ids": "Every id and entity id is there once.",
    "no_null_ids": "Every row has an id, a code and a name.",
    "references_resolve": "Every currency a market refers to is in crypto_asset.",
}


def build_kdata_checks(candle_table: CandleTable) -> dg.AssetChecksDefinition:
    """The checks of a candle table: one examination, of which each check shows its part."""
    table = candle_table.name
    descriptions = KDATA_CHECKS | (HOURLY_CHECKS if candle_table.interval is Interval.H1 else {})

    @dg.multi_asset_check(name=f"{table}_checks", specs=_specs(table, descriptions), can_subset=True)
    def checks(
        context: dg.AssetCheckExecutionContext,
        database: DatabaseResource,
        ledger: LedgerResource,
        archive: ArchiveResource,
    ) -> Iterator[dg.AssetCheckResult]:
        selected = {key.name for key in context.selected_asset_check_keys}
        in_partitions = context.has_partition_key or context.has_partition_key_range
        asked = partition_window(context) if in_partitions else None
        deep, now = context.run.tags.get(DEEP) == "true", ledger.now()
        with stating_user_errors(), database.open() as db:
            examination = examine(db, candle_table, now, ledger.policy, deep=deep)
            record_scores(db, examination, now, deep=deep)
            with db.connect(table) as connection:
                named = NamedExamination.of(connection, examination)
            findings = {PLAUSIBLE: look_for_implausible(db, candle_table, now)}
            if AGREES in descriptions:
                findings[AGREES] = compare_hours(db, candle_table.market_type, now, ledger.agreement_tolerance)
        holes = priced(
            holes_of(candle_table, examination.owed, named.symbols),
            archive.venue,
            to_milliseconds(now),
            has_archive=archive.is_there,
        )
        verdicts: dict[str, Callable[[], dg.AssetCheckResult]] = {
            "no_gaps": lambda: gap_verdict(named, holes, asked, now),
            "unaltered": lambda: altered_verdict(named),
            PLAUSIBLE: lambda: plausible_verdict(named, findings[PLAUSIBLE]),
            AGREES: lambda: agreement_verdict(named, findings[AGREES]),
        }
        for name in descriptions:
            if name in selected:
                yield verdicts[name]() if name in verdicts else row_verdict(named, name)

    return checks


def build_entity_checks(table: str) -> dg.AssetChecksDefinition:
    """The checks of an entity table; `crypto_asset` refers to nothing."""
    descriptions = {
        name: text for name, text in ENTITY_CHECKS.items() if table != "crypto_asset" or name != "references_resolve"
    }

    @dg.multi_asset_check(name=f"{table}_checks", specs=_specs(table, descriptions), can_subset=True)
    def checks(context: dg.AssetCheckExecutionContext, database: DatabaseResource) -> Iterator[dg.AssetCheckResult]:
        selected = {key.name for key in context.selected_asset_check_keys}
        with stating_user_errors(), database.open() as db, db.connect(table) as connection:
            finders: dict[str, Callable[[], Finding]] = {
                "unique_ids": lambda: duplicate_ids(connection, TABLES[table]),
                "no_null_ids": lambda: null_ids(connection, TABLES[table]),
                "references_resolve": lambda: unresolved_references(connection, TABLES[table], TABLES["crypto_asset"]),
            }
            for name in descriptions:
                if name in selected:
                    yield simple_verdict(table, name, finders[name]())

    return checks


def _specs(table: str, descriptions: dict[str, str]) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(name, asset=table, description=text, blocking=name != PLAUSIBLE)
        for name, text in descriptions.items()
    ]


def entity_tables() -> list[str]:
    """The entity tables, currencies first."""
    return ["crypto_asset", *(market_type.entity_table for market_type in MarketType)]
