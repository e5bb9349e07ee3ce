"""The job `decide_holes`: `crypto-assets gaps collect`, `leave` and `undo` for those who work in the UI.

What a decision leads to belongs to `quality.gaps.deciding`. Called by `definitions`.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of the functions it decorates at runtime.

from typing import Any

import dagster as dg
from pydantic import Field

from crypto_assets.collect.holes import decide_by_name, priced, rows_of
from crypto_assets.database.errors import DatabaseError
from crypto_assets.domain.intervals import to_milliseconds
from crypto_assets.orchestration.failures import stating_user_errors
from crypto_assets.orchestration.metadata import table_value
from crypto_assets.orchestration.resources import ArchiveResource, DatabaseResource, LedgerResource
from crypto_assets.quality.gaps.deciding import Verdict

_SHOWN = 100


class HoleConfig(dg.Config):
    """What is decided, and about what."""

    table: str = Field(description="The candle table, such as cryptopair_1m_kdata.")
    decision: str = Field(
        description="collect: owe what lies between the collected partitions, so that gap_backfill_sensor collects it;"
        " leave: let it be; undo: take back what was decided. Without symbols, start and end the first two are about"
        " what waits for a decision."
    )
    symbols: list[str] = Field(default=[], description="ccxt symbols, e.g. BTC/USDT; all where empty.")
    start: str = Field(default="", description="The first day or time, UTC, whose partition is meant; all if empty.")
    end: str = Field(default="", description="The last day or time, UTC, whose partition is meant; all if empty.")


@dg.op(name="decide_about_holes", out=dg.Out(dg.Nothing))
def decide_about_holes(
    context: dg.OpExecutionContext,
    config: HoleConfig,
    database: DatabaseResource,
    archive: ArchiveResource,
    ledger: LedgerResource,
) -> None:
    """Decides about the long holes of a candle table, and shows what that was about."""
    now = ledger.now()
    with stating_user_errors(), database.open() as db:
        if config.decision not in Verdict.__members__.values():
            raise DatabaseError(f"{config.decision!r} is no decision; there are {', '.join(Verdict)}.")
        changed = decide_by_name(
            db,
            config.table,
            Verdict(config.decision),
            now,
            f"job decide_holes, run {context.run_id}",
            ledger.policy,
            symbols=config.symbols,
            start=config.start,
            end=config.end,
        )
    shown = priced(changed, archive.venue, to_milliseconds(now), has_archive=archive.is_there)
    context.log.info("%s: %s holes of %s", config.decision, len(shown), config.table)
    metadata: dict[str, Any] = {"holes": len(changed), "candles": sum(hole.candles for hole in shown)}
    if shown:
        metadata["decided"] = table_value(rows_of(shown, _SHOWN))
    context.add_output_metadata(metadata)


@dg.job(
    name="decide_holes",
    description="Decides about long holes between collected partitions, which nobody owes by themselves: to have them"
    " collected, to let them be, or to take that back. Like crypto-assets gaps collect, leave and undo.",
    executor_def=dg.in_process_executor,
)
def decide_holes() -> None:
    """One op."""
    decide_about_holes()
