"""Gaps asked about until the ledger knows whose they are: the requests of the repair sensor, carried out at once.

When a gap is to be asked about again and when it is the exchange's own is decided by `quality.gaps.ledger`. Called by
`demo`, whose exchange is on this machine: there an answer a second later counts as another one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date

import dagster as dg

from crypto_assets.database.engines import Database
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets.orchestration.resources import LedgerResource
from crypto_assets.orchestration.sensors.gap_backfill import requests
from crypto_assets.quality.gaps.ledger import OPEN, Gap
from crypto_assets.quality.gaps.rows import load_gaps


def confirm_gaps(
    database: Database,
    ledger: LedgerResource,
    instance: dg.DagsterInstance,
    start: date,
    carry_out: Callable[[dg.RunRequest], object],
) -> None:
    """Has the exchange asked about every open gap as often as confirms one, with the waits that the ledger demands.

    Of gaps before `start`, where the definitions' partitions begin, it is not. What is still open then has no candle
    beside it, and only time tells. Raises what `carry_out` raises.
    """
    for _ in range(ledger.answers):
        unconfirmed = [gap for gap in _open_gaps(database) if gap.attempts < ledger.answers]
        if not unconfirmed:
            return
        due = max(gap.due_at(ledger.policy) for gap in unconfirmed)
        time.sleep(max(0.0, (due - ledger.now()).total_seconds()))
        while runs := [each for each in requests(instance, database, ledger, start) if isinstance(each, dg.RunRequest)]:
            for run in runs:
                carry_out(run)


def _open_gaps(database: Database) -> list[Gap]:
    with database.connect("crypto_kdata_gap") as connection:
        of_tables = [load_gaps(connection, candle_table, statuses=[OPEN]) for candle_table in KDATA_TABLES.values()]
    return [gap for of_table in of_tables for gaps in of_table.values() for gap in gaps]
