"""Figures as people say them: shares, numbers, durations, times. Called by `charts` and `page`."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from crypto_assets.domain.intervals import DAY_MS, MINUTE_MS, format_time, to_milliseconds

_UNITS = ((DAY_MS, "day"), (60 * MINUTE_MS, "hour"), (MINUTE_MS, "minute"), (1000, "second"))


def percent(share: float) -> str:
    """`99.98 %` of 0.9998; rounded down, so that only what is whole reads 100 %, and what is there never 0 %."""
    if share >= 1:
        return "100 %"
    if 0 < share < 0.0001:  # noqa: PLR2004 - what two places can show
        return "< 0.01 %"
    return f"{math.floor(share * 10_000 + 1e-7) / 100:.2f} %"


def counted(number: int, noun: str) -> str:
    """`1 candle`, `1,200 candles`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(milliseconds: int, units: int = 2) -> str:
    """The largest units of a length of time: `1 hour 20 minutes`, `12 days`."""
    parts = []
    rest = milliseconds
    for length, name in _UNITS:
        if rest >= length:
            parts.append(counted(rest // length, name))
            rest %= length
    return " ".join(parts[:units]) or "less than a second"


def moment(value: datetime | None) -> str:
    """`2023-03-24 12:40`, UTC; empty for none."""
    if value is None:
        return ""
    # What is smaller than a minute matters to nobody here.
    return format_time(to_milliseconds(value) // MINUTE_MS * MINUTE_MS)


def day(value: datetime) -> str:
    """`24 March 2023`, UTC."""
    aware = value if value.tzinfo is None else value.astimezone(UTC)
    return f"{aware.day} {aware:%B %Y}"
