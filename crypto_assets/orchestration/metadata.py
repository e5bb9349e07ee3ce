"""What the UI shows beside an asset or a check: column schemas, run figures, tables of findings.

Here belongs the shape of metadata; the figures are handed in. Called by the assets, checks and jobs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import dagster as dg
from sqlalchemy import Table

from crypto_assets.collect.holes import PricedHole, commands, config_of, rows_of, waiting
from crypto_assets.collect.run import TableRun
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.intervals import format_time, to_datetime
from crypto_assets.domain.series import KDATA_TABLES

_LINEAGE = {
    "turnover": ["volume_quote"],
    "volume_base": ["volume"],
    "vwap": ["volume_quote", "volume"],
    "change_pct": ["close"],
    "is_high_volatility": ["high", "low", "open"],
    "is_high_volume": ["volume"],
}

_SHOWN = 20


def table_metadata(name: str) -> dict[str, Any]:
    """The definition metadata of the asset that is table `name`: its qualified name, columns and their lineage."""
    table = TABLES[name]
    metadata: dict[str, Any] = {
        "dagster/table_name": table.fullname,
        "dagster/column_schema": column_schema(table),
    }
    if name in KDATA_TABLES:
        metadata["dagster/column_lineage"] = dg.TableColumnLineage(
            {
                column: [dg.TableColumnDep(asset_key=dg.AssetKey(name), column_name=source) for source in sources]
                for column, sources in _LINEAGE.items()
            }
        )
    return metadata


def column_schema(table: Table) -> dg.TableSchema:
    """The table's columns with type, meaning and constraints as the UI shows them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=str(column.type),
                description=column.comment,
                constraints=dg.TableColumnConstraints(
                    nullable=bool(column.nullable),
                    unique=bool(column.unique) or list(table.primary_key.columns) == [column],
                    other=["generated"] if column.computed is not None else [],
                ),
            )
            for column in table.columns
        ]
    )


def run_metadata(run: TableRun) -> dict[str, Any]:
    """The figures of a run over a candle table: totals of its whole range, which each of its partitions shows.

    So their names begin with `run_`. Those of a partition are `partition_metadata`.
    """
    total = run.total
    metadata: dict[str, Any] = {
        "run_window_start": format_time(run.window.start),
        "run_window_end": format_time(run.window.end),
        "run_planned_rows": run.planned_rows,
        "run_rows_received": total.received,
        "run_percent_of_plan": round(100 * total.received / run.planned_rows, 1) if run.planned_rows else 100.0,
        "run_rows_inserted": total.inserted,
        "run_rows_changed": total.changed,
        "run_rows_unchanged": total.unchanged,
        "run_rows_rejected": total.rejected,
        "run_rows_missing": sum(each.missing for each in run.partitions.values()),
        "run_source_candles": sum(each.source_candles for each in run.partitions.values()),
        "run_planned_requests": run.planned_requests,
        "run_requests": run.requests,
        "run_seconds": round(run.seconds, 3),
        "run_rows_per_second": round(total.received / run.seconds) if run.seconds else 0,
        "dagster/row_count": run.row_count,
    }
    metadata |= _archive_metadata(run)
    metadata |= {f"run_{name}": value for name, value in hole_metadata(run.holes).items()}
    if run.nothing_due:
        metadata["run_not_listed"] = ", ".join(run.nothing_due)
    if run.clock:
        metadata["run_exchange_clock"] = dg.MetadataValue.timestamp(to_datetime(run.clock))
    if run.counts:
        metadata["run_symbols"] = table_value(
            [
                {
                    "symbol": symbol,
                    "received": part.received,
                    "inserted": part.inserted,
                    "changed": part.changed,
                    "rejected": part.rejected,
                    "first": "" if part.first is None else format_time(part.first),
                    "last": "" if part.last is None else format_time(part.last),
                }
                for symbol, part in run.counts.items()
            ]
        )
    return metadata


def partition_metadata(run: TableRun) -> dict[str, dict[str, Any]]:
    """What there is of each partition of a run's range, by key, all symbols together."""
    return {
        key: {
            "dagster/partition_row_count": each.rows,
            "rows": each.rows,
            "expected": each.expected,
            "missing": each.missing,
            "source_candles": each.source_candles,
            "sources": ", ".join(sorted(each.sources)),
        }
        for key, each in run.partitions.items()
    }


def hole_metadata(holes: Sequence[PricedHole]) -> dict[str, Any]:
    """Long holes of one table: what waits for a decision, what that takes, how it is made; nothing without holes."""
    if not holes:
        return {}
    undecided = waiting(holes)
    metadata: dict[str, Any] = {
        "not_collected": sum(hole.candles for hole in undecided),
        "not_collected_requests": sum(hole.requests for hole in undecided),
        "not_collected_files": sum(hole.files for hole in undecided),
        "holes": table_value(rows_of([*undecided, *(hole for hole in holes if hole not in undecided)], _SHOWN)),
    }
    if undecided:
        metadata |= commands(undecided) | {"decide_holes": config_of(undecided)}
    return metadata


def _archive_metadata(run: TableRun) -> dict[str, Any]:
    """What came from the exchange's archive; nothing where no file was asked for."""
    if not run.archive_requests:
        return {}
    metadata: dict[str, Any] = {
        "run_rows_from_archive": run.total.archived,
        "run_rows_from_rest": run.total.received - run.total.archived,
        "run_archive_requests": run.archive_requests,
        "run_archive_files": len(run.archive.used),
        "run_archive_files_lacking": run.archive.lacking,
        "run_archive_files_refused": len(run.archive.refused),
    }
    if run.archive.refused:
        refused = run.archive.refused[:_SHOWN]
        metadata["run_refused_files"] = table_value([{"file": name, "reason": reason} for name, reason in refused])
    if run.archive.disputed:
        shown = ", ".join(f"{each.day} in {each.file}" for each in run.archive.disputed[:_SHOWN])
        metadata["run_archive_days_disputed"] = shown + (" and more" if run.archive.disputed[_SHOWN:] else "")
    if run.archive.given_up:
        metadata["run_archive_given_up"] = run.archive.given_up
    return metadata


def table_value(rows: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue:
    """Rows (all with the keys of the first, at least one) as a table in the UI."""
    records = [dg.TableRecord({key: _cell(value) for key, value in row.items()}) for row in rows]
    types = {int: "int", float: "float", bool: "bool"}
    columns = [
        dg.TableColumn(name=key, type=types.get(type(value), "string")) for key, value in records[0].data.items()
    ]
    return dg.MetadataValue.table(records=records, schema=dg.TableSchema(columns=columns))


def _cell(value: Any) -> str | int | float | bool | None:
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="milliseconds")
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)
