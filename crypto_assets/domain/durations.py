"""Lengths of time as people read them. Called by `report`, `orchestration` and `cli`."""

from __future__ import annotations

from datetime import timedelta


def human_duration(duration: timedelta) -> str:
    """The two largest units of a duration: `1 h 20 min`, `33 d 12 h`, `45 s`."""
    seconds = max(0, round(duration.total_seconds()))
    parts = [(seconds // 86_400, "d"), (seconds // 3_600 % 24, "h"), (seconds // 60 % 60, "min"), (seconds % 60, "s")]
    first = next((number for number, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count) or "0 s"
