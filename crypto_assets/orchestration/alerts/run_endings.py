"""The endings of finished runs, read from Dagster's history in the order of their ends, a bounded number at a time.

Here belongs which events of a run count as trouble, and which show that something is well again. What follows from that
belongs to `alerts.incidents`. Called by `orchestration.alerts.sensor`.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from itertools import chain
from typing import Final

import dagster as dg

from crypto_assets.alerts.incidents import Ending, Trouble

_ENDS: Final = (dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_SUCCESS)
_TOLD = {
    *_ENDS,
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.STEP_SUCCESS,
}
_MAX_EVENTS = 2000
"""Read of one run: one for each step and check, of which this project has about a hundred."""

_SHOWN = 3
"""How many assets a run is named after."""

_RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
_PARTITION = "dagster/partition"


def newest_ending(instance: dg.DagsterInstance) -> int:
    """The position of the run that failed or succeeded last, 0 if there is none."""
    newest = (instance.fetch_run_status_changes(end, limit=1).records for end in _ENDS)
    return max((record.storage_id for record in chain.from_iterable(newest)), default=0)


def endings(
    instance: dg.DagsterInstance, *, position: int | None, time: float | None, until: int, limit: int
) -> Iterator[tuple[int, Ending]]:
    """The first `limit` runs that ended after a position or a time (UTC epoch seconds), with their positions.

    Positions are those of the history's own records of a status change: a run has one for its end, and what is done to
    it later, such as a new tag, moves nothing. Canceled runs are not among them. Give `until` what `newest_ending` said
    before: a success recorded between the two queries here must not be stepped over.
    """
    found = chain.from_iterable(
        instance.fetch_run_status_changes(
            dg.RunStatusChangeRecordsFilter(
                end,
                after_storage_id=position,
                after_timestamp=time,
                before_storage_id=until + 1,
            ),
            limit=limit,
            ascending=True,
        ).records
        for end in _ENDS
    )
    for record in sorted(found, key=lambda record: record.storage_id)[:limit]:
        run = instance.get_run_by_id(record.run_id)
        # A run that somebody deleted says nothing any more.
        yield record.storage_id, _ending(instance, run, record.timestamp) if run else Ending(record.run_id, "", 0)


def _ending(instance: dg.DagsterInstance, run: dg.DagsterRun, time: float) -> Ending:
    records = instance.get_records_for_run(run.run_id, of_type=_TOLD, limit=_MAX_EVENTS).records
    events = [event for record in records if (event := record.event_log_entry.dagster_event)]
    troubles, healthy = [], set()
    reasons: dict[str, str] = {}
    for event in events:
        if event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            verdict = event.asset_check_evaluation_data
            if verdict.passed:
                healthy.add(_check_key(verdict))
            elif verdict.blocking and verdict.severity is dg.AssetCheckSeverity.ERROR:
                troubles.append(_check_trouble(verdict, run))
        elif event.is_step_success or (event.is_step_failure and _is_a_failed_check(event)):
            # A step that ran to its end is well, be what it found bad.
            healthy.add(f"step:{event.step_key}")
        elif event.is_step_failure:
            reasons[event.step_key or ""] = _sentence(event)
    failed = run.status is dg.DagsterRunStatus.FAILURE
    if reasons or (failed and not troubles):
        troubles.append(_run_trouble(run, reasons, events))
    else:
        healthy.add(f"job:{run.job_name}")
    broken = {key for trouble in troubles for key in trouble.keys}
    return Ending(run.run_id, _name(run), time, troubles, healthy - broken)


def _check_key(verdict: dg.AssetCheckEvaluation) -> str:
    return f"check:{verdict.asset_key.to_user_string()}:{verdict.check_name}"


def _check_trouble(verdict: dg.AssetCheckEvaluation, run: dg.DagsterRun) -> Trouble:
    metadata = {name: value.value for name, value in verdict.metadata.items()}
    count = metadata.get("count")
    return Trouble(
        keys={_check_key(verdict)},
        what=f"{verdict.asset_key.to_user_string()}: {verdict.check_name}",
        how_much=verdict.description or (f"{count:,} found." if isinstance(count, int) else "It gives no figure."),
        repair=str(metadata.get("repair") or _again(run, [])),
    )


def _run_trouble(run: dg.DagsterRun, reasons: dict[str, str], events: list[dg.DagsterEvent]) -> Trouble:
    """The failure of a run, known by its failed steps; by its assets or its job where it never came to a step."""
    how_much = f"Steps failed: {len(reasons)}, succeeded: {sum(event.is_step_success for event in events)}."
    if reasons:
        keys = {f"step:{step}" for step in reasons}
        first, *others = reasons
        how_much += f" {first}: {reasons[first]}" + (f" (failed as well: {', '.join(others)})" if others else "")
    else:
        messages = [event.message for event in events if event.event_type is dg.DagsterEventType.RUN_FAILURE]
        keys = {f"step:{asset}" for asset in _assets(run) if _is_unnamed(run)} or {f"job:{run.job_name}"}
        how_much += f" {(messages and messages[-1]) or 'The run ended for no stated reason.'}"
    return Trouble(keys, _name(run, list(reasons)), how_much, _again(run, list(reasons)))


def _is_a_failed_check(event: dg.DagsterEvent) -> bool:
    """Whether a step failed for nothing but a blocking check's verdict, which is told as that check's."""
    error = event.step_failure_data.error
    return error is not None and error.cls_name == "DagsterAssetCheckFailedError"


def _sentence(event: dg.DagsterEvent) -> str:
    failure = event.step_failure_data
    if failure.user_failure_data and failure.user_failure_data.description:
        return failure.user_failure_data.description
    if failure.error is None:
        return event.message or "The step failed for no stated reason."
    return (failure.error.cause or failure.error).message.strip()


def _is_unnamed(run: dg.DagsterRun) -> bool:
    """Whether a run is of assets somebody chose, for which Dagster makes a job of its own."""
    return run.job_name.startswith("__")


def _assets(run: dg.DagsterRun) -> list[str]:
    return sorted(key.to_user_string() for key in run.asset_selection or ())


def _name(run: dg.DagsterRun, failed: list[str] | None = None) -> str:
    if not _is_unnamed(run):
        return f"job {run.job_name}"
    names = failed or _assets(run)
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    return f"materialization of {shown}" if names else "a run of chosen assets"


def _again(run: dg.DagsterRun, failed: list[str]) -> str:
    """The command that runs it again: the same partitions and config; of resources nothing, they may hold secrets."""
    config = {"ops": run.run_config["ops"]} if run.run_config.get("ops") else {}
    ends = [run.tags[name] for name in _RANGE if name in run.tags]
    command = ["dagster"]
    # A job over some of its assets is run again over these.
    if names := _assets(run) or (failed if _is_unnamed(run) else []):
        command += ["asset", "materialize", "-m", "crypto_assets.definitions", "--select", ",".join(names)]
        if _PARTITION in run.tags:
            command += ["--partition", run.tags[_PARTITION]]
        elif ends:
            command += ["--partition-range", "...".join(ends)]
    else:
        job = "integrity" if _is_unnamed(run) else run.job_name
        command += ["job", "execute", "-m", "crypto_assets.definitions", "-j", job]
        if tags := {name: run.tags[name] for name in (*_RANGE, _PARTITION) if name in run.tags}:
            command += ["--tags", json.dumps(tags)]
    if config:
        command += ["--config-json", json.dumps(config, ensure_ascii=False)]
    return shlex.join(command)
