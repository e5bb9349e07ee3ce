"""Figures as people say them: shares and times. Called by `charts` and `page`."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from crypto_assets.domain.intervals import MINUTE_MS, format_time, to_milliseconds


def percent(share: float) -> str:
    """`99.98 %` of 0.9998; rounded down, so that only what is whole reads 100 %, and what is there never 0 %."""
    if share >= 1:
        return "100 %"
    if 0 < share < 0.0001:  # noqa: PLR2004 - what two places can show
        return "< 0.01 %"
    return f"{math.floor(share * 10_000 + 1e-7) / 100:.2f} %"


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
