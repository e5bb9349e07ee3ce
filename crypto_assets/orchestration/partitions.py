"""Partitions by time only: days for 1m and 5m, months for the rest. Symbols are rows, chosen by run config.

Which scheme an interval uses is said by the domain. Called by `assets.kdata` and `checks`.
"""

from __future__ import annotations

from datetime import date

import dagster as dg

from crypto_assets.domain.intervals import Interval, PartitionScheme, to_milliseconds
from crypto_assets.domain.spans import Span


def partitions_definition(interval: Interval, start: date) -> dg.TimeWindowPartitionsDefinition:
    """The partitions of an interval from the day or month that contains `start` to the running one included."""
    if interval.partition_scheme is PartitionScheme.DAILY:
        return dg.DailyPartitionsDefinition(start_date=start.isoformat(), end_offset=1)
    return dg.MonthlyPartitionsDefinition(start_date=start.replace(day=1).isoformat(), end_offset=1)


def partition_window(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> Span:
    """The milliseconds that the run's partition, or range of partitions, covers."""
    window = context.partition_time_window
    return Span(to_milliseconds(window.start), to_milliseconds(window.end))
