"""What is broken, since when, and what has to be told of it. No Dagster here.

An incident opens when something that was well breaks, and ends when all of it was seen well again. Each is told twice,
at its opening and at its end, however often it is seen in between. Here belongs this memory, kept as JSON between two
ticks, and the wording of the messages. What a run says of the world belongs to `orchestration.alerts.run_endings`,
delivery to `webhook`. Called by `alerts`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel, Field

MAX_INCIDENTS = 200
"""Open at once: twice the number of all checks. What breaks beyond them is told when there is room."""

_MAX_SENTENCE = 600
_MAX_REPAIR = 2000


@dataclass(frozen=True)
class Trouble:
    """One thing a run found broken: the keys it is known by, and what to say of it."""

    keys: AbstractSet[str]
    what: str
    how_much: str
    repair: str


@dataclass(frozen=True)
class Ending:
    """What a finished run says: when it ended (UTC epoch seconds), what is broken, and the keys of what is well."""

    run_id: str
    run: str
    time: float
    troubles: list[Trouble] = field(default_factory=list)
    healthy: AbstractSet[str] = frozenset()


class Incident(BaseModel):
    """Something broken: the keys not yet seen well again, since when (UTC epoch seconds) and how often it was seen."""

    keys: list[str]
    what: str
    since: float
    times: int = 1


class Alerts(BaseModel):
    """The memory: the last run ending read, the open incidents, and the messages nobody has taken yet, oldest first."""

    position: int = Field(ge=0)
    incidents: list[Incident] = []
    waiting: list[str] = []

    def note(self, ending: Ending, environment: str) -> list[Trouble]:
        """Takes up what a run says, in the order in which runs ended; what there was no room for is returned."""
        left_out = []
        for trouble in ending.troubles:
            new = set(trouble.keys)
            for incident in self.incidents:
                if new.intersection(incident.keys):
                    incident.times += 1
                    new.difference_update(incident.keys)
            if new and len(self.incidents) < MAX_INCIDENTS:
                self.incidents.append(Incident(keys=sorted(new), what=trouble.what, since=ending.time))
                self.waiting.append(opening(trouble, ending, environment))
            elif new:
                left_out.append(trouble)
        for incident in self.incidents:
            incident.keys = [key for key in incident.keys if key not in ending.healthy]
            if not incident.keys:
                self.waiting.append(recovery(incident, ending, environment))
        self.incidents = [incident for incident in self.incidents if incident.keys]
        return left_out


def opening(trouble: Trouble, ending: Ending, environment: str) -> str:
    """The message of a new incident, in Slack's mrkdwn, at most 3,000 characters."""
    repair = _escaped(trouble.repair, _MAX_REPAIR)
    if repair.endswith("…"):
        # A command cut short may do something else than the whole one.
        repair = f"too long for a message: see the metadata of run {ending.run_id}"
    return (
        f":red_circle: *[{environment}] {_escaped(trouble.what)} failed*\n"
        f"{_escaped(trouble.how_much)}\n"
        f"Since {_moment(ending.time)}, run `{ending.run_id}` of {_escaped(ending.run, 200)}\n"
        f"Repair:\n```{repair}```"
    )


def recovery(incident: Incident, ending: Ending, environment: str) -> str:
    """The message of an incident's end, in Slack's mrkdwn."""
    lasted = timedelta(seconds=round(max(0.0, ending.time - incident.since)))
    seen = "once" if incident.times == 1 else f"{incident.times:,} times"
    return (
        f":large_green_circle: *[{environment}] {_escaped(incident.what)} is well again*\n"
        f"Broken since {_moment(incident.since)}, for {lasted}, seen {seen}\n"
        f"Run `{ending.run_id}` of {_escaped(ending.run, 200)}, {_moment(ending.time)}"
    )


def _moment(time: float) -> str:
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _escaped(text: str, limit: int = _MAX_SENTENCE) -> str:
    """The text as Slack takes it, ending in an ellipsis if it had to be cut; no entity is cut in two."""
    escaped = html.escape(text.strip().replace("```", "'''"), quote=False)
    return escaped if len(escaped) <= limit else re.sub(r"&[a-z]{0,3}$", "", escaped[: limit - 1]) + "…"
