"""Partitions by time only: days for 1m and 5m, months for the rest. Symbols are rows, chosen by run config.

Which scheme an interval uses is said by `domain.intervals`. Called by `orchestration.assets.kdata`,
`orchestration.checks.definitions` and the sensors.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time

import dagster as dg

from crypto_assets.domain.intervals import Interval, PartitionScheme, partition_key, to_milliseconds
from crypto_assets.domain.spans import Span

RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def partitions_definition(interval: Interval, start: date) -> dg.TimeWindowPartitionsDefinition:
    """The partitions of an interval from the day or month that contains `start` to the running one included."""
    if interval.partition_scheme is PartitionScheme.DAILY:
        return dg.DailyPartitionsDefinition(start_date=start.isoformat(), end_offset=1)
    return dg.MonthlyPartitionsDefinition(start_date=start.replace(day=1).isoformat(), end_offset=1)


def first_partition(interval: Interval, start: date) -> str:
    """The key of the partition that contains `start`."""
    return partition_key(interval.partition_scheme, to_milliseconds(datetime.combine(start, time(), UTC)))


def refuse_unknown_partitions(context: dg.AssetExecutionContext, definition: dg.PartitionsDefinition[str]) -> None:
    """Raises dagster's Failure, one sentence, for a range that names what is no partition, or ends before it starts.

    Dagster checks the keys of a backfill, but not keys that come as tags of a run.
    """
    keys = context.run.tags.get(RANGE_START), context.run.tags.get(RANGE_END)
    if keys == (None, None):
        keys = context.partition_key, context.partition_key
    first, last = (key or "" for key in keys)
    for key in (first, last):
        if not definition.has_partition_key(key):
            raise _refusal(
                f"{key!r} is no partition of {context.asset_key.to_user_string()}: they go from"
                f" {definition.get_first_partition_key()} to {definition.get_last_partition_key()}."
            )
    if first > last:
        raise _refusal(f"The range starts at {first}, which is after its end {last}.")


def _refusal(sentence: str) -> dg.Failure:
    return dg.Failure(description=f"{sentence} Nothing was asked for.", allow_retries=False)


def partition_window(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> Span:
    """The milliseconds that the run's partition, or range of partitions, covers."""
    window = context.partition_time_window
    return Span(to_milliseconds(window.start), to_milliseconds(window.end))
