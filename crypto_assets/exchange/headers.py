"""What the headers of an answer say of time, as HTTP defines them: the exchange's clock, and how long to wait.

Here belongs what is the same for every exchange. What else an answer says belongs to `exchange.<venue>`. Called by both
that and `budget`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime


def header_time(headers: Mapping[str, str]) -> float | None:
    """The exchange's clock from an answer's Date header, in seconds since 1970; None when absent or unreadable."""
    return _http_date(headers.get("Date", ""))


def _http_date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).astimezone(UTC).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def retry_after_s(headers: Mapping[str, str], clock_s: float) -> float | None:
    """An answer's Retry-After in seconds, of which it may be the number or the HTTP date of their end; or None.

    `clock_s` is the exchange's, in seconds since 1970.
    """
    retry_after = headers.get("Retry-After", "")
    try:
        seconds = float(retry_after)
    except ValueError:
        end = _http_date(retry_after)
        return None if end is None else end - clock_s
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
