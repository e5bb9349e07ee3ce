"""The asset that is a page: the quality of everything collected, as one HTML file.

What it shows belongs to `report`. Called by `definitions`.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of the functions it decorates at runtime.

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from crypto_assets.collect.holes import all_priced
from crypto_assets.domain.intervals import to_milliseconds
from crypto_assets.orchestration.assets.schema import OWNERS
from crypto_assets.orchestration.failures import stating_user_errors
from crypto_assets.orchestration.resources import ArchiveResource, DatabaseResource, ExchangeResource, LedgerResource
from crypto_assets.quality.gaps.deciding import WAITING


@dg.asset(
    description="One HTML page, readable without a network: completeness by symbol and month, gaps, scores, freshness.",
    group_name="quality",
    kinds={"html"},
    owners=OWNERS,
    deps=["crypto_quality_schema"],
    code_version="1",
)
def crypto_quality_report(
    database: DatabaseResource, ledger: LedgerResource, archive: ArchiveResource, exchange: ExchangeResource
) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """The figures of now, written where the resource says."""
    from crypto_assets.report.figures import Hole, quality_figures  # noqa: PLC0415 - only this asset needs them
    from crypto_assets.report.page import PageNotWritten, write_page  # noqa: PLC0415 - likewise

    path = Path(database.report_file).absolute()
    with stating_user_errors(), database.open() as db:
        margin = timedelta(seconds=exchange.close_margin_seconds)
        figures = quality_figures(db, datetime.now(UTC), margin)
        if figures.tables:
            clock = to_milliseconds(ledger.now())
            holes = all_priced(db, ledger.policy, clock, has_archive=archive.is_there)
            figures = replace(figures, holes=tuple(Hole(**hole.as_row()) for hole in holes))
    try:
        write_page(figures, path)
    except PageNotWritten as error:
        raise dg.Failure(description=str(error), allow_retries=False) from None
    totals = figures.totals
    return dg.MaterializeResult(
        metadata={
            "report": dg.MetadataValue.path(path),
            "page": dg.MetadataValue.url(path.as_uri()),
            "completeness_percent": 100 * totals.completeness,
            "candles_owed": totals.owed,
            "candles_stored": totals.stored,
            "candles_missing": totals.missing,
            "candles_not_at_source": totals.source,
            "open_gaps": totals.open_gaps,
            "source_gaps": totals.source_gaps,
            "symbols": totals.symbols,
            "not_collected": sum(hole.candles for hole in figures.holes if hole.state == WAITING),
        }
    )
