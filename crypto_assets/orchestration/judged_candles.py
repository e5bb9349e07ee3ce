"""Deliveries on their way into a table: parsed, judged, in order, derived; batch after batch of one series.

Here belongs what a batch remembers of those before it. What the rules are belongs to `frames`, storing to `collection`,
which calls this. No Dagster here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from crypto_assets.domain.intervals import Interval
from crypto_assets.domain.spans import Span
from crypto_assets.frames.candles import LOOKBACK, derive, in_order
from crypto_assets.frames.contracts import candle_contract, judge
from crypto_assets.orchestration.deliveries import Delivery, RestRows
from crypto_assets.quality.rejections import Rejection


@dataclass(frozen=True)
class Judged:
    """A batch: the candles that keep the contract (`archived`: whether from a file), and those of the span that do not.

    `off_grid` are open times of the latter, `newest` is the latest open time of all.
    """

    deliveries: Sequence[Delivery]
    kept: pd.DataFrame
    rejections: list[Rejection]
    off_grid: list[int]
    newest: int

    def __add__(self, later: Judged) -> Judged:
        """Both as one; where a candle is in both, that of `later` counts."""
        return Judged(
            [*self.deliveries, *later.deliveries],
            pd.concat([self.kept, later.kept], ignore_index=True),
            self.rejections + later.rejections,
            self.off_grid + later.off_grid,
            max(self.newest, later.newest),
        )


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

    def judge(self, deliveries: Sequence[Delivery]) -> Judged:
        """The candles of these deliveries by the contract. Counts what REST sent in vain."""
        frames = [delivery.frame().assign(archived=delivery.archived) for delivery in deliveries]
        parsed = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
        # Judged before duplicates are dropped: a broken delivery must not displace a good one.
        verdict = judge(parsed, candle_contract(self._interval))
        rejections: list[Rejection] = []
        off_grid: list[int] = []
        start = 0
        for delivery, frame in zip(deliveries, frames, strict=True) if verdict.reasons else ():
            of_this = [label for label in sorted(verdict.reasons) if start <= label < start + len(frame)]
            start += len(frame)
            times = parsed["open_time"].loc[of_this]
            inside = times[(times >= self._span.start) & (times < self._span.end)]
            labels = inside.index.tolist()
            rows = delivery.raw(parsed["row"].loc[labels].tolist()) if labels else []
            rejections += [Rejection(row, verdict.reasons[label]) for row, label in zip(rows, labels, strict=True)]
            off_grid += [time for time in inside.tolist() if not self._interval.on_grid(time)]
            if isinstance(delivery, RestRows):
                delivery.window.refused += len(labels)
        return Judged(deliveries, verdict.kept, rejections, off_grid, int(parsed["open_time"].max()))

    def follow(self, batch: Judged) -> pd.DataFrame:
        """The candles of the next batch, each once, in order, with their derived columns."""
        kept = in_order(batch.kept, after=self._seen)
        self._seen = max(self._seen or 0, batch.newest)
        history = kept if self._before is None else pd.concat([self._before, kept], ignore_index=True)
        derived = derive(history, self._interval, self._supply).iloc[len(history) - len(kept) :]
        self._before = history.iloc[-LOOKBACK:]
        return derived
