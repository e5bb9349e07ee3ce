"""The exchange's rows on their way into a table: parsed, judged, in order, derived; batch after batch of one series.

Here belongs what a batch remembers of those before it, and what stands in for a candle that an answer spoilt or left
out and that is stored. What the rules are belongs to `frames`, storing to `collection`, which calls this. No Dagster
here. Times are milliseconds UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from crypto_assets.domain.intervals import Interval
from crypto_assets.domain.spans import Span
from crypto_assets.frames.candles import LOOKBACK, derive, in_order, parse_candles
from crypto_assets.frames.contracts import judge_candles
from crypto_assets.quality.rejections import Rejection

Stored: TypeAlias = Callable[[Span], pd.DataFrame]
"""Reads the stored candles of a span, with the columns of `frames.candles.CANDLE_COLUMNS`, in order."""


@dataclass(frozen=True)
class Batch:
    """Candles to write, with their derived columns; how many of the span came; and the span's rows that were refused.

    Among the candles are stored ones that did not come: what they derive from may have changed.
    """

    candles: pd.DataFrame
    received: int
    rejections: list[Rejection]
    lacks_context: bool = False
    """Whether a candle before the span was refused and is not stored: those after it look back at nothing."""


class JudgedCandles:
    """The candles of `span` and of its `context` on both sides, as they come in order of time."""

    def __init__(self, interval: Interval, span: Span, context: Span, supply: float | None, stored: Stored) -> None:
        self._interval = interval
        self._span = span
        self._context = context
        self._supply = supply
        self._stored = stored
        self._before: pd.DataFrame | None = None
        self._seen: int | None = None

    @property
    def has_begun(self) -> bool:
        """Whether there was a batch."""
        return self._seen is not None

    def take(self, rows: Sequence[Sequence[Any]]) -> Batch:
        """What comes of the next rows of the exchange."""
        parsed = parse_candles(rows)
        # Judged before duplicates are dropped: a broken delivery must not displace a good one.
        verdict = judge_candles(parsed, self._interval)
        kept = in_order(verdict.kept, after=self._seen)
        start, self._seen = self._reached, max(self._seen or 0, int(parsed["open_time"].max()))
        refused = parsed.loc[list(verdict.reasons), ["open_time", "row"]]
        rejections = [
            Rejection(rows[row], verdict.reasons[label])
            for label, time, row in zip(refused.index, refused["open_time"], refused["row"], strict=True)
            if self._span.start <= time < self._span.end
        ]
        times = kept["open_time"]
        received = int(((times >= self._span.start) & (times < self._span.end)).sum())
        derived = self._derived(kept, Span(start, self._reached))
        spoilt = {self._interval.floor(time) for time in refused["open_time"] if time < self._span.start}
        return Batch(derived, received, rejections, not spoilt.issubset(derived["open_time"]))

    def finish(self) -> Batch:
        """What comes of the rest of the context, in which the exchange had nothing more."""
        start, self._seen = self._reached, self._context.end
        return Batch(self._derived(parse_candles([]), Span(start, self._context.end)), 0, [])

    @property
    def _reached(self) -> int:
        """The first grid point that no batch has come to."""
        if self._seen is None:
            return self._interval.ceil(self._context.start)
        return self._interval.floor(self._seen) + self._interval.milliseconds

    def _derived(self, kept: pd.DataFrame, span: Span) -> pd.DataFrame:
        """The candles of `span` with their derived columns: those that came, and stored ones where none came."""
        if len(kept) < self._interval.count(*span):
            stored = self._stored(span)
            absent = stored[~np.isin(stored["open_time"].to_numpy(), kept["open_time"].to_numpy())]
            if len(absent):
                kept = in_order(pd.concat([absent, kept], ignore_index=True))
        history = kept if self._before is None else pd.concat([self._before, kept], ignore_index=True)
        derived = derive(history, self._interval, self._supply).iloc[len(history) - len(kept) :]
        self._before = history.iloc[-LOOKBACK:]
        return derived
