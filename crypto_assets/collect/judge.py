"""Fetched candles on their way into a table: parsed, judged, in order, derived; batch after batch of one series.

Here belongs what a batch remembers of those before it, what stands in for a candle that is stored and came spoilt or
not at all, and from where to where stored candles around a span are to be replaced. What the rules are belongs
to `frames`, storing to `collect.candles`, which calls this. No Dagster here. Times are milliseconds UTC.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from crypto_assets.collect.fetched import Fetched, FileRows, RestRequest, RestRows
from crypto_assets.collect.publications import are_other, conflicts, days_that_differ, times_that_differ
from crypto_assets.domain.intervals import Interval
from crypto_assets.domain.spans import Span
from crypto_assets.frames.candles import (
    LOOKBACK,
    Candles,
    DerivedCandles,
    derive,
    in_order,
    joined,
    no_candles,
)
from crypto_assets.frames.contracts import judge_candles
from crypto_assets.quality.conflicts import Conflict
from crypto_assets.quality.rejections import Rejection

_STRAY = "open_time: a whole number inside the window that was asked for"
_CONTRADICTED = "open_time: comes again in the same answer with other numbers"

Stored: TypeAlias = Callable[[Span], Candles]
"""Reads the stored candles of a span, in order."""


@dataclass(frozen=True)
class Judged:
    """The candles that keep the contract, and those of the span that do not.

    `refused` counts what each request to REST sent in vain. `spoilt` are grid points before the span that a refused
    candle lies on or after, `newest` is the latest open time of all.
    """

    fetched: Sequence[Fetched]
    kept: Candles
    rejections: list[Rejection]
    refused: Counter[RestRequest]
    spoilt: set[int]
    newest: int
    refused_times: tuple[int, ...] = ()
    """The open times of the candles of the span that break the contract."""

    def __add__(self, later: Judged) -> Judged:
        """Both as one; where a candle is in both, that of `later` counts."""
        return Judged(
            [*self.fetched, *later.fetched],
            joined([self.kept, later.kept]),
            self.rejections + later.rejections,
            self.refused + later.refused,
            self.spoilt | later.spoilt,
            max(self.newest, later.newest),
            self.refused_times + later.refused_times,
        )


@dataclass(frozen=True)
class Batch:
    """Candles to write, with their derived columns, and what of the span they came from.

    Among the candles are stored ones that did not come: what they derive from may have changed. `received` are the
    open times of the candles of the span that came, `archived` whether each is from a file, `files` the bulk files,
    `conflicts` where these say something else than what is to be written. Candles that open before `since` are not to
    be written: they are stored as they came. `is_first` says whether no batch of the span came before.
    """

    candles: DerivedCandles
    received: np.ndarray[Any, np.dtype[np.int64]]
    archived: np.ndarray[Any, np.dtype[np.bool_]]
    rejections: list[Rejection]
    files: list[FileRows]
    conflicts: list[Conflict]
    since: int
    is_first: bool = False
    lacks_context: bool = False
    """Whether a candle before the span was refused and is not stored: those after it look back at nothing."""
    refused_times: tuple[int, ...] = ()
    """The open times of the candles of the span that were refused."""


class JudgedCandles:
    """The candles of `span` and of its `context` on both sides, as they come in order of time."""

    def __init__(
        self,
        interval: Interval,
        span: Span,
        context: Span,
        supply: float | None,
        stored: Stored,
        unpublished: frozenset[str] = frozenset(),
    ) -> None:
        self._interval = interval
        self._unpublished = unpublished
        self._span = span
        self._context = context
        self._supply = supply
        self._stored = stored
        self._before = no_candles()
        self._seen: int | None = None
        self._since = span.start
        self._stored_before = no_candles()

    def judge(self, fetched: Sequence[Fetched]) -> Judged:
        """What was fetched, at least one page or file, by the contract."""
        parts = [rows.taken() for rows in fetched]
        came = joined(parts)
        # Judged before duplicates are dropped: a broken candle must not displace a good one.
        reasons = judge_candles(came, self._interval, self._unpublished)
        reasons |= _contradicted(came, np.delete(np.arange(len(came)), list(reasons)), parts)
        newest = max(rows.newest for rows in fetched)
        rejections, in_vain = _strays(fetched)
        if not reasons:
            return Judged(fetched, came, rejections, in_vain, set(), newest)
        refused = np.array(sorted(reasons))
        times = came.times[refused]
        spoilt = {self._interval.floor(time) for time in times.tolist() if time < self._span.start}
        told = refused[(times >= self._span.start) & (times < self._span.end)]
        start = 0
        for rows, part in zip(fetched, parts, strict=True):
            of_this = told[(told >= start) & (told < start + len(part))].tolist()
            raw = rows.raw([at - start for at in of_this]) if of_this else []
            rejections += [Rejection(row, reasons[at]) for row, at in zip(raw, of_this, strict=True)]
            if isinstance(rows, RestRows):
                in_vain[rows.request] += len(of_this)
            start += len(part)
        kept = np.delete(np.arange(len(came)), refused)
        refused_times = tuple(came.times[told].tolist())
        return Judged(fetched, came[kept], rejections, in_vain, spoilt, newest, refused_times)

    def undisputed(self, fetched: Iterable[Fetched]) -> list[Fetched]:
        """The same, files without the days of which other candles are stored: REST says which of them are right."""
        return [
            rows.without(days_that_differ(rows.whole(), self._stored(rows.file.span)))
            if isinstance(rows, FileRows)
            else rows
            for rows in fetched
        ]

    def lacking(self, judged: Judged | None = None) -> npt.NDArray[np.int64]:
        """The candles of the span, by open time, that did not come up to the newest of `judged`, or to the span's end.

        Those before belong to the batches that were.
        """
        step = self._interval.milliseconds
        end = self._span.end if judged is None else min(self._interval.floor(judged.newest) + step, self._span.end)
        grid = np.arange(self._interval.ceil(max(self._reached, self._span.start)), end, step)
        if judged is None:
            return grid
        # Counted in steps: numbers that lie close together numpy looks up, others it sorts.
        return grid[~np.isin(grid // step, judged.kept.times // step)]

    def derive(self, judged: Judged) -> Batch:
        """The next batch: each candle once, in order, with its derived columns."""
        kept = in_order(judged.kept, after=self._seen)
        is_first = self._seen is None
        if is_first:
            self._recall()
        start, self._seen = self._reached, max(self._seen or 0, judged.newest)
        self._compare(kept)
        inside = kept.within(*self._span)
        derived = self._derived(kept, Span(start, self._reached))
        files = [rows for rows in judged.fetched if isinstance(rows, FileRows)]
        lacks_context = any(time not in derived.candles.times for time in judged.spoilt)
        disputed = [conflict for file in files for conflict in conflicts(file, kept, self._interval)]
        return Batch(
            derived,
            inside.times,
            inside.archived,
            judged.rejections,
            files,
            disputed,
            self._since,
            is_first,
            lacks_context,
            judged.refused_times,
        )

    def derive_rest(self) -> Batch:
        """The last batch: stored candles of the rest of the context, in which the exchange had nothing more."""
        start, self._seen = self._reached, self._context.end
        none = no_candles()
        derived = self._derived(none, Span(start, self._context.end))
        return Batch(derived, none.times, none.archived, [], [], [], self._since)

    def _recall(self) -> None:
        """Reads what is stored before the span, and what those candles look back at."""
        start = max(0, self._context.start - LOOKBACK * self._interval.milliseconds)
        stored = self._stored(Span(start, self._span.start))
        self._before = stored.within(start, self._context.start)
        self._stored_before = stored.within(self._context.start, self._span.start)

    def _compare(self, kept: Candles) -> None:
        """Notes from where on, and how far beyond the span, stored candles are other than those that came."""
        before = times_that_differ(kept.within(0, self._span.start), self._stored_before)
        self._since = min([self._since, *before.tolist()])
        after = kept.within(self._span.end, self._context.end)
        if not len(after):
            return
        differing = times_that_differ(after, self._stored(Span(self._span.end, self._context.end)))
        if len(differing):
            # Up to here stored candles look back at one that is replaced.
            self._seen = max(self._seen or 0, int(differing.max()) + LOOKBACK * self._interval.milliseconds)

    @property
    def _reached(self) -> int:
        """The first grid point that no batch has come to."""
        if self._seen is None:
            return self._interval.ceil(self._context.start)
        return self._interval.floor(self._seen) + self._interval.milliseconds

    def _derived(self, kept: Candles, span: Span) -> DerivedCandles:
        """The candles of `span` with their derived columns: those that came, and stored ones where none came."""
        if len(kept) < self._interval.count(*span):
            stored = self._stored(span)
            kept = in_order(joined([stored[~np.isin(stored.times, kept.times)], kept]))
        history = joined([self._before, kept])
        self._before = history[-LOOKBACK:]
        return derive(history, self._interval, self._supply)[len(history) - len(kept) :]


def _strays(fetched: Sequence[Fetched]) -> tuple[list[Rejection], Counter[RestRequest]]:
    """What came without having been asked for, and how much of it in answer to which request."""
    strays: list[Rejection] = []
    in_vain = Counter[RestRequest]()
    for rows in fetched:
        if isinstance(rows, RestRows):
            in_vain[rows.request] += len(rows.page.strays)
            strays += [Rejection(row, [_STRAY]) for row in rows.page.strays]
    return strays, in_vain


def _contradicted(came: Candles, sound: npt.NDArray[np.intp], parts: Sequence[Candles]) -> dict[int, list[str]]:
    """By position, candles that come again in the same page or file with other numbers: the last one is taken.

    Only those at the positions `sound`, in order, are looked at.
    """
    contradicted: dict[int, list[str]] = {}
    ends = np.cumsum([len(part) for part in parts])
    for at in np.split(sound, sound.searchsorted(ends[:-1])):
        if bool((np.diff(came.times[at]) > 0).all()):
            continue
        own = came[at]
        taken = in_order(own)
        same = taken.times.searchsorted(own.times)
        differs = are_other(own, taken[same])
        contradicted |= {position: [_CONTRADICTED] for position in at[differs].tolist()}
    return contradicted
