"""The sensor that tells a webhook what broke and when it is well again: each incident once, each recovery once.

It is a plain sensor: Dagster's own sensor for failed runs never sees that something is well again. It reads only
Dagster's history, so it works when the market database is broken. Here belongs one tick. Reading runs belongs to
`orchestration.alerts.run_endings`, the memory and the wording to `alerts.incidents`, delivery to `alerts.webhook`.
Called by `definitions`.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of the functions it decorates at runtime.

import time

import dagster as dg
from pydantic import ValidationError

from crypto_assets.alerts.incidents import MAX_INCIDENTS, Alerts
from crypto_assets.alerts.webhook import NotDelivered, Webhook
from crypto_assets.orchestration.alerts.run_endings import endings, newest_ending

RUNS_PER_TICK = 20
MESSAGES_PER_TICK = 5
MAX_WAITING = 20
"""While so many messages are undelivered, no further run is read: Dagster's history is a better place to wait."""

_LOOK_BACK_SECONDS = 3600.0


def build_alert_sensor(webhook: Webhook | None, environment: str) -> dg.SensorDefinition:
    """The sensor `run_failure_alert_sensor`, on by default; without a webhook it says so and does nothing.

    The webhook is an argument and no resource: the UI shows a resource's fields, and its URL is a secret.
    """

    @dg.sensor(
        name="run_failure_alert_sensor",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Posts one message per incident, a failed run or blocking check, and one when it is well again.",
    )
    def run_failure_alert_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        """One tick: reads the runs that ended since, then posts what waits, oldest first, until a delivery fails.

        A message that was not delivered waits in the cursor for the next tick. One whose answer did not come in time,
        or after which the daemon died, is posted again: twice is better than never.
        """
        if webhook is None:
            # The cursor stays: nothing is lost when the variable was forgotten at one start.
            return dg.SensorResult(skip_reason="Set CRYPTO_ASSETS_ALERT_WEBHOOK to be told of failures.")
        alerts = _read(context, environment)
        posted, problem = 0, ""
        while alerts.waiting and posted < MESSAGES_PER_TICK and not problem:
            try:
                webhook.post(alerts.waiting[0])
            except NotDelivered as error:
                problem = f" {error} It is tried again."
                context.log.warning("%s", error)
            else:
                posted += 1
                del alerts.waiting[0]
        return dg.SensorResult(
            skip_reason=f"Messages posted: {posted}, waiting: {len(alerts.waiting)}; incidents open:"
            f" {len(alerts.incidents)}.{problem}",
            cursor=alerts.model_dump_json(),
        )

    return run_failure_alert_sensor


def _read(context: dg.SensorEvaluationContext, environment: str) -> Alerts:
    """The memory in the cursor, brought up to date with the runs that ended since."""
    newest = newest_ending(context.instance)
    alerts = _remembered(context)
    # At first the last hour: a failure just before the first tick is told, and years of history are not.
    position, since = (alerts.position, None) if alerts else (None, time.time() - _LOOK_BACK_SECONDS)
    alerts = alerts or Alerts(position=newest)
    if len(alerts.waiting) >= MAX_WAITING:
        return alerts
    found = list(endings(context.instance, position=position, time=since, until=newest, limit=RUNS_PER_TICK))
    for ended, ending in found:
        for trouble in alerts.note(ending, environment):
            context.log.warning("Not told, as %s incidents are open: %s failed.", MAX_INCIDENTS, trouble.what)
        alerts.position = ended
        if len(alerts.waiting) >= MAX_WAITING:
            return alerts
    if len(found) < RUNS_PER_TICK:
        # Also where the history was wiped and counts from one again.
        alerts.position = newest
    return alerts


def _remembered(context: dg.SensorEvaluationContext) -> Alerts | None:
    if not context.cursor:
        return None
    try:
        return Alerts.model_validate_json(context.cursor)
    except ValidationError:
        context.log.warning("The cursor is not one of this sensor's: it starts anew.")
        return None
