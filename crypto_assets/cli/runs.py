"""Jobs of the project run in this process, in the history that `make dev` shows. Called by `demo` and `backfill`.

What a job does belongs to its definitions; what is printed of it to the commands.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import dagster as dg

from crypto_assets.collect.progress import Tell
from crypto_assets.orchestration.history_opening import HistoryUnusable, opening
from crypto_assets.orchestration.resources import ProgressResource

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def run_job(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    job: str,
    assets: Mapping[str, dict[str, Any]] | None = None,
    partitions: tuple[str, str] = ("", ""),
    *,
    raise_on_error: bool = True,
) -> dg.ExecuteInProcessResult:
    """Runs a job of the definitions here and now; with `assets`, these with their config over a range of partitions.

    Raises KeyboardInterrupt where Ctrl-C ended it, and unless told otherwise ClickException where it failed.
    """
    chosen = definitions.resolve_job_def(job)
    config: dict[str, Any] = _QUIET
    tags: dict[str, str] = {}
    if assets:
        # A subset asks for its checks again unless it is told to have none.
        keys = frozenset(dg.AssetKey(asset) for asset in assets)
        chosen = chosen.get_subset(asset_selection=keys, asset_check_selection=frozenset())
        config = _QUIET | {"ops": {asset: {"config": each} for asset, each in assets.items()}}
        tags = {
            "dagster/asset_partition_range_start": partitions[0],
            "dagster/asset_partition_range_end": partitions[1],
        }
    try:
        result = chosen.execute_in_process(
            instance=instance, run_config=config, tags=tags, raise_on_error=raise_on_error
        )
    except dg.Failure as failure:
        raise click.ClickException(str(failure.description)) from failure
    except dg.DagsterExecutionInterruptedError:
        raise KeyboardInterrupt from None
    errors = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    if any(error is not None and error.cls_name == dg.DagsterExecutionInterruptedError.__name__ for error in errors):
        raise KeyboardInterrupt
    return result


def failures(result: dg.ExecuteInProcessResult) -> list[str]:
    """Why steps of a run failed, a sentence each; for what nobody expected, what was raised."""
    sentences: list[str] = []
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            described = data.user_failure_data.description if data.user_failure_data else None
            sentences.append(described or f"{event.step_key}: {data.error_display_string.strip().splitlines()[0]}")
    return sentences


def telling(shows: Sequence[Tell]) -> ProgressResource:
    """The project's progress resource, telling `shows` beside the run's log."""

    class ShownProgressResource(ProgressResource):
        def tell(self, log: logging.Logger) -> Tell:
            logged = super().tell(log)

            def tell(progress: Any) -> None:
                for each in (logged, *shows):
                    each(progress)

            return tell

    return ShownProgressResource()


@contextmanager
def project_instance() -> Iterator[dg.DagsterInstance]:
    """The Dagster history that `make dev` shows: DAGSTER_HOME's, else that of dagster.yaml here, else none.

    Raises ClickException where it cannot be opened.
    """
    try:
        instance = _open()
    except HistoryUnusable as error:
        raise click.ClickException(str(error)) from error
    with instance:
        yield instance


def _open() -> dg.DagsterInstance:
    home = os.environ.get("DAGSTER_HOME")
    if home:
        # A dagster.yaml of the user's own, or none, names storages that do not wait for each other.
        with opening(Path(home)):
            return dg.DagsterInstance.get()
    if Path("dagster.yaml").exists():
        return dg.DagsterInstance.from_config(".")
    return dg.DagsterInstance.ephemeral()
