"""How far a collection is: counted as candles come, told to whoever looks on. No Dagster here.

Here belong the count and its wording; where it is shown belongs to `resources` (the run's log) and `cli` (bars). Called
by `collect.run` and `collect.candles`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from crypto_assets.domain.durations import duration
from crypto_assets.domain.series import CandleTable


@dataclass(frozen=True)
class Progress:
    """Candles that came of those asked for, in one run over a table: of the symbol that got further, and of all."""

    candle_table: CandleTable
    symbol: str
    came: int
    """What the symbol got further by."""
    done: int
    planned: int
    all_done: int
    all_planned: int
    seconds: float

    @property
    def rows_per_second(self) -> float:
        """Of all symbols, since the run began."""
        return self.all_done / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """At this rate; None where nothing came yet."""
        return (self.all_planned - self.all_done) / self.rows_per_second if self.all_done and self.seconds else None

    def sentence(self) -> str:
        """`BTC/USDT 1m: 43 %; all 12 %, 52,000 rows/s, 2 minutes left`."""
        left = "" if self.seconds_left is None else f", {duration(round(self.seconds_left) * 1000)} left"
        return (
            f"{self.symbol} {self.candle_table.level}: {_percent(self.done, self.planned)} %; all"
            f" {_percent(self.all_done, self.all_planned)} %, {self.rows_per_second:,.0f} rows/s{left}"
        )


def _percent(done: int, planned: int) -> int:
    """Rounded down, so that 100 means all."""
    return min(100, 100 * done // planned) if planned else 100


Tell: TypeAlias = Callable[[Progress], None]
"""Is told of every step, by one thread at a time."""


class Tally:
    """Counts the candles of one run over a table by symbol. For any number of threads.

    `planned` is what each symbol is asked for, `clock` gives seconds.
    """

    def __init__(
        self,
        candle_table: CandleTable,
        planned: Mapping[str, int],
        tell: Tell,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._candle_table = candle_table
        self._planned = dict(planned)
        self._done = dict.fromkeys(planned, 0)
        self._tell = tell
        self._clock = clock
        self._began = clock()
        self._lock = threading.Lock()

    def expect(self, symbol: str, rows: int) -> None:
        """Plans so many more candles of a symbol, or fewer."""
        with self._lock:
            self._planned[symbol] += rows

    def add(self, symbol: str, rows: int) -> None:
        """Counts candles that came, and tells."""
        with self._lock:
            self._done[symbol] += rows
            self._tell(
                Progress(
                    self._candle_table,
                    symbol,
                    rows,
                    self._done[symbol],
                    self._planned[symbol],
                    sum(self._done.values()),
                    sum(self._planned.values()),
                    self._clock() - self._began,
                )
            )

    def end(self, symbol: str) -> None:
        """No more comes of a symbol: what it lacks of its plan is not waited for."""
        with self._lock:
            self._planned[symbol] = self._done[symbol]


def nobody(progress: Progress) -> None:
    """Is told and says nothing."""


def now_and_then(
    say: Callable[[str], object], every_s: float = 5.0, clock: Callable[[], float] = time.monotonic
) -> Tell:
    """Says how far a collection is: at its first step, then at most once in `every_s` seconds."""
    due = clock()

    def tell(progress: Progress) -> None:
        nonlocal due
        if clock() >= due:
            due = clock() + every_s
            say(progress.sentence())

    return tell
