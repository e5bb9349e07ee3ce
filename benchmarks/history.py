"""What Dagster's own history costs for each partition of a range, in the storage of dagster.yaml or in Dagster's own.

`measure` runs in a process of its own (`benchmarks.processes`): a storage has batches switched on for its process.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of the functions it decorates at runtime.

import os
import time
import warnings
from pathlib import Path
from typing import Any

from benchmarks.processes import cpu_seconds

DAGSTERS_OWN = "storage: {sqlite: {base_dir: .dagster/storage}}\ntelemetry: {enabled: false}\nnux: {enabled: false}\n"
_SHIPPED = Path(__file__).resolve().parent.parent / "dagster.yaml"
_FIGURES = 20  # of metadata on each materialization


def measure(*, directory: str, days: int, shipped: bool) -> dict[str, Any]:
    """CPU and wall seconds for each of `days` partitions more in one run, commits of its two files included.

    Measured in `directory`, which is empty, with the shipped dagster.yaml or with Dagster's own storage.
    """
    import dagster as dg  # noqa: PLC0415 - in the measured process alone
    from sqlalchemy import Engine, event  # noqa: PLC0415 - likewise

    warnings.filterwarnings("ignore", category=dg.BetaWarning)
    partitions = dg.DailyPartitionsDefinition(start_date="2018-01-01")
    keys = partitions.get_partition_keys()

    @dg.asset(partitions_def=partitions, backfill_policy=dg.BackfillPolicy.single_run())
    def nothing() -> dg.MaterializeResult:
        return dg.MaterializeResult(metadata=dict.fromkeys(map(str, range(_FIGURES)), 1))

    job = dg.Definitions(assets=[nothing], executor=dg.in_process_executor).resolve_implicit_global_asset_job_def()
    os.chdir(directory)
    Path("dagster.yaml").write_text(_SHIPPED.read_text() if shipped else DAGSTERS_OWN)
    commits = [0]

    def count(_connection: object) -> None:
        commits[0] += 1

    event.listen(Engine, "commit", count)

    with dg.DagsterInstance.from_config(".") as instance:

        def collect(last: int) -> tuple[float, float, int]:
            cpu, wall, committed = cpu_seconds(), time.monotonic(), commits[0]
            job.execute_in_process(
                instance=instance,
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                tags={"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[last]},
            )
            return cpu_seconds() - cpu, time.monotonic() - wall, commits[0] - committed

        collect(0)  # opens and fills what is filled once
        one, many = collect(0), collect(days)
    cpu, wall, committed = ((of_many - of_one) / days for of_one, of_many in zip(one, many, strict=True))
    return {"cpu": cpu, "wall": wall, "commits": committed}
