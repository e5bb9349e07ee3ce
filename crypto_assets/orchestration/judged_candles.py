"""The exchange's rows on their way into a table: parsed, judged, in order, derived; batch after batch of one series.

Here belongs what a batch remembers of those before it. What the rules are belongs to `frames`, storing to `collection`,
which calls this. No Dagster here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from crypto_assets.domain.intervals import Interval
from crypto_assets.domain.spans import Span
from crypto_assets.frames.candles import LOOKBACK, derive, in_order, parse_candles
from crypto_assets.frames.contracts import judge_candles
from crypto_assets.quality.rejections import Rejection


class JudgedCandles:
    """The candles of one span and its context, as they come in order of time."""

    def __init__(self, interval: Interval, span: Span, circulating_supply: float | None) -> None:
        self._interval = interval
        self._span = span
        self._supply = circulating_supply
        self._before: pd.DataFrame | None = None
        self._seen: int | None = None

    @property
    def has_begun(self) -> bool:
        """Whether there was a batch."""
        return self._seen is not None

    def take(self, rows: Sequence[Sequence[Any]]) -> tuple[pd.DataFrame, list[Rejection]]:
        """Of the next batch the candles that keep the contract, with their derived columns; of the span the others."""
        parsed = parse_candles(rows)
        # Judged before duplicates are dropped: a broken delivery must not displace a good one.
        verdict = judge_candles(parsed, self._interval)
        kept = in_order(verdict.kept, after=self._seen)
        self._seen = max(self._seen or 0, int(parsed["open_time"].max()))
        history = kept if self._before is None else pd.concat([self._before, kept], ignore_index=True)
        derived = derive(history, self._interval, self._supply).iloc[len(history) - len(kept) :]
        self._before = history.iloc[-LOOKBACK:]
        if not verdict.reasons:
            return derived, []
        refused = parsed.loc[list(verdict.reasons), ["open_time", "row"]]
        rejections = [
            Rejection(rows[row], verdict.reasons[label])
            for label, time, row in zip(refused.index, refused["open_time"], refused["row"], strict=True)
            if self._span.start <= time < self._span.end
        ]
        return derived, rejections
