"""Numbers of things and lengths of time as people say them. Called by `report`, `orchestration` and `cli`."""

from __future__ import annotations

from datetime import timedelta

from crypto_assets.domain.intervals import DAY_MS, MINUTE_MS

_UNITS = ((DAY_MS, "day"), (60 * MINUTE_MS, "hour"), (MINUTE_MS, "minute"), (1000, "second"))


def counted(number: int, noun: str) -> str:
    """`1 candle`, `1,200 candles`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(length: int | timedelta, units: int = 2) -> str:
    """The largest units of a length of time (milliseconds): `1 hour 20 minutes`, `12 days`."""
    rest = length if isinstance(length, int) else length // timedelta(milliseconds=1)
    parts = []
    for unit, name in _UNITS:
        if rest >= unit:
            parts.append(counted(rest // unit, name))
            rest %= unit
    return " ".join(parts[:units]) or "less than a second"
