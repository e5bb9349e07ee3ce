"""The job and schedule that notice replaced files of the exchange's archive, and load what they cover again.

An exchange replaces files without notice, some of them years later. `quality.provenance` keeps the checksum that each
file was loaded with. Here these are compared with the published ones, a bounded number a day. Called by `definitions`.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of the functions it decorates at runtime.

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import dagster as dg
from sqlalchemy import select

from crypto_assets.collect.provenance import files_to_check, note_checked
from crypto_assets.collect.run import collect_table
from crypto_assets.database.engines import Database
from crypto_assets.database.entity_names import spellings
from crypto_assets.database.expressions import of_own_exchange
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.entities import PROVIDER, MarketType
from crypto_assets.domain.intervals import Interval
from crypto_assets.domain.series import CandleTable, Series
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.bulk_files import BulkFile, BulkFiles
from crypto_assets.exchange.errors import ContractViolation
from crypto_assets.orchestration.failures import stating_user_errors
from crypto_assets.orchestration.jobs.assets import request_where_stored
from crypto_assets.orchestration.jobs.refresh import report_partitions
from crypto_assets.orchestration.resources import ArchiveResource, DatabaseResource, ExchangeResource, LedgerResource

RECENT = timedelta(days=40)
"""Files with candles of these days are compared before older ones: they are replaced most often."""

FILES_PER_RUN = 500
"""A run compares so many recent files and so many older ones: those that were compared longest ago."""

_FILES = "crypto_source_file"
_SHOWN = 20


@dataclass
class Comparison:
    """What comparing showed: how many files, those replaced (with their ccxt symbol), those without a checksum now."""

    compared: int = 0
    replaced: list[tuple[str, BulkFile]] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)

    def reloads(self) -> dict[tuple[CandleTable, Span], list[str]]:
        """The symbols to collect again, by table and window, which is of whole partitions."""
        found: dict[tuple[CandleTable, Span], list[str]] = defaultdict(list)
        for symbol, file in self.replaced:
            candle_table = CandleTable(file.market_type, file.interval)
            window = candle_table.whole_partitions(file.span)
            if symbol not in found[candle_table, window]:
                found[candle_table, window].append(symbol)
        return dict(found)


def compare_checksums(database: Database, archive: BulkFiles, now: datetime, limit: int) -> Comparison:
    """Compares the files whose turn it is at `now` (naive UTC), and notes when. Raises the archive's errors."""
    with database.connect(_FILES) as connection:
        rows = files_to_check(connection, now - RECENT, limit)
    symbols = _symbols(database)
    said = Comparison()
    settled: list[tuple[Series, str]] = []
    try:
        for row in rows:
            if row.entity_id not in symbols:
                continue
            market_type, name, exchange_id = symbols[row.entity_id]
            series = Series(database.provider, market_type, exchange_id, row.entity_id, Interval(row.level))
            file = archive.file(*series.at_exchange, row.period)
            try:
                published = archive.checksum(file)
            except ContractViolation:
                published = None
            said.compared += 1
            if published is None:
                said.silent.append(file.name)
            elif published != row.sha256:
                # Not noted as compared: it is compared again until its candles were loaded.
                said.replaced.append((name, file))
                continue
            settled.append((series, row.period))
    finally:
        with database.begin(_FILES) as connection:
            for series, period in settled:
                note_checked(connection, series, period, now)
    return said


def _symbols(database: Database) -> dict[str, tuple[MarketType, str, str]]:
    """By entity id the market, the name that it is asked for by, and the exchange's own id."""
    found: dict[str, tuple[MarketType, str, str]] = {}
    for market_type in MarketType:
        table = TABLES[market_type.entity_table]
        with database.connect(table.name) as connection:
            own = select(table.c.id, table.c.exchange_id).where(of_own_exchange(connection, table))
            ids = {row.id: row.exchange_id for row in connection.execute(own)}
            names = spellings(connection, table, ids)
            found |= {entity_id: (market_type, names[entity_id], ids[entity_id]) for entity_id in ids}
    return found


@dg.op(pool=PROVIDER)
def reload_replaced_files(
    context: dg.OpExecutionContext,
    exchange: ExchangeResource,
    archive: ArchiveResource,
    database: DatabaseResource,
    ledger: LedgerResource,
) -> None:
    """Compares checksums, then collects the partitions of replaced files again: what was revised replaces ours."""
    with stating_user_errors(), archive.open() as bulk_files, database.open() as db:
        if bulk_files is None:
            context.log.info("no archive is asked in this environment")
            return
        said = compare_checksums(db, bulk_files, ledger.now(), FILES_PER_RUN)
        context.add_output_metadata(_shown(said))
        with exchange.open() as client:
            runs = [
                collect_table(
                    client,
                    db,
                    candle_table,
                    symbols,
                    window,
                    only_missing=False,
                    policy=ledger.policy,
                    now=ledger.now,
                    archive=bulk_files,
                )
                for (candle_table, window), symbols in said.reloads().items()
            ]
    for run in sorted(runs, key=lambda each: bool(each.failures)):
        report_partitions(context, run)


def _shown(said: Comparison) -> dict[str, int | str]:
    return {
        "files_compared": said.compared,
        "files_replaced": len(said.replaced),
        "files_without_checksum": len(said.silent),
        "replaced": _names(file.name for _, file in said.replaced),
        "without_checksum": _names(said.silent),
    }


def _names(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:_SHOWN]) + (" and more" if listed[_SHOWN:] else "")


@dg.job(
    description="Compares the checksums of loaded archive files with those published, and loads replaced files again.",
    executor_def=dg.in_process_executor,
)
def refresh_archive_files() -> None:
    """Compares and reloads."""
    reload_replaced_files()


@dg.schedule(
    name="archive_schedule",
    job=refresh_archive_files,
    cron_schedule="30 7 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every morning: were files of the exchange's archive replaced that candles came from?",
)
def archive_schedule(archive: ArchiveResource, database: DatabaseResource) -> dg.RunRequest | dg.SkipReason:
    """A run of job refresh_archive_files, or the reason why there is nothing to compare."""
    with archive.open() as bulk_files:
        if bulk_files is None:
            return dg.SkipReason("No archive is asked in this environment.")
    return request_where_stored(database)
