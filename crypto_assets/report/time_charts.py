"""What is drawn over time: the gaps with the resets, and the scores. Places are percent of the width.

Called by `page`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from crypto_assets.domain.durations import counted, duration
from crypto_assets.domain.intervals import DAY_MS, MINUTE_MS, Interval, naive_utc, to_datetime, to_milliseconds
from crypto_assets.report.charts import Chart, Label, Mark
from crypto_assets.report.figures import Gap
from crypto_assets.report.scores import Reset, Score
from crypto_assets.report.wording import day, moment, percent

_MAX_LANES = 60
_MARGIN = 0.012
"""Of the width, kept free at both ends so that no mark is cut."""
_DRAWN = ("repaired", "source", "open")
"""What is drawn last lies on top."""
_MOST_LABELS = 7
_HOUR_MS = 60 * MINUTE_MS
_STEPS = (*(_HOUR_MS * number for number in (1, 3, 6, 12)), *(DAY_MS * number for number in (1, 2, 7, 14)))
_MONTH_STEPS = (1, 2, 3, 6, 12, 24, 60, 120)
_BOTTOMS = (0.99, 0.95, 0.9, 0.75, 0.5, 0.0)


@dataclass(frozen=True)
class Axis:
    """Times in milliseconds to places in percent, from the first time to the last with a margin on both sides."""

    first: int
    last: int

    def place(self, value: int) -> float:
        """Where a time lies."""
        return round(100 * (_MARGIN + (1 - 2 * _MARGIN) * (value - self.first) / self._length), 3)

    def width(self, length: int) -> float:
        """How wide a length of time is."""
        return round(100 * (1 - 2 * _MARGIN) * length / self._length, 3)

    @property
    def _length(self) -> int:
        return max(1, self.last - self.first)

    def scale(self) -> tuple[tuple[float, str], ...]:
        """At most seven round times with their labels."""
        return tuple((self.place(value), text) for value, text in round_times(self.first, self.last))


def round_times(first: int, last: int) -> list[tuple[int, str]]:
    """At most seven round times between two (milliseconds, both included), each with its label."""
    for step in _STEPS:
        values = range(-(-first // step) * step, last + 1, step)
        if len(values) <= _MOST_LABELS:
            return [(value, _label(to_datetime(value))) for value in values] or [(first, moment(to_datetime(first)))]
    start, end = to_datetime(first), to_datetime(last)
    # Months since the year 0; the month of `first` has begun before it.
    months = range(start.year * 12 + start.month, end.year * 12 + end.month)
    step = next(each for each in _MONTH_STEPS if len(months) <= each * _MOST_LABELS)
    starts = [datetime(each // 12, each % 12 + 1, 1, tzinfo=UTC) for each in months if each % step == 0]
    return [(to_milliseconds(each), f"{each:%Y}" if each.month == 1 else f"{each:%b %Y}") for each in starts]


def _label(at: datetime) -> str:
    return f"{at.day} {at:%b}" if at.hour == 0 else f"{at:%H:%M}"


def gap_timeline(gaps: Sequence[Gap], resets: Sequence[Reset], now: datetime, gaps_in_all: int) -> Chart | None:
    """The gaps of each symbol until now, and where its source started over; None where there are neither."""
    names = {each.entity_id: each.name for each in gaps} | {each.entity_id: each.name for each in resets}
    if not names:
        return None
    lanes = sorted(list(names)[:_MAX_LANES], key=lambda each: (names[each], each))
    row_of = {entity_id: row for row, entity_id in enumerate(lanes)}
    shown = [each for each in gaps if each.entity_id in row_of]
    marked = [each for each in resets if each.entity_id in row_of]
    starts = [gap.start for gap in shown] + [reset.at for reset in marked]
    axis = Axis(to_milliseconds(min(starts)), to_milliseconds(max(naive_utc(now), *starts)))
    marks = [
        Mark(
            axis.place(to_milliseconds(gap.start)),
            axis.width(gap_length(gap)),
            row_of[gap.entity_id],
            gap.status,
            gap_text(gap),
        )
        for gap in sorted(shown, key=lambda each: _DRAWN.index(each.status))
    ]
    marks += [
        Mark(axis.place(to_milliseconds(reset.at)), 0, row_of[reset.entity_id], "reset", reset_text(reset))
        for reset in marked
    ]
    hidden = gaps_in_all - len(shown)
    counts = [sum(gap.entity_id == each for gap in shown) for each in lanes]
    return Chart(
        title=f"{moment(to_datetime(axis.first))} to {moment(to_datetime(axis.last))}",
        rows=tuple(Label(names[each], f"{count:,}") for each, count in zip(lanes, counts, strict=True)),
        marks=tuple(marks),
        scale=axis.scale(),
        note=f"Shown are the newest gaps, without {counted(hidden, 'other')}." if hidden else "",
    )


def gap_length(gap: Gap) -> int:
    """From the first missing candle's open to the end of the last, in milliseconds."""
    return to_milliseconds(gap.end) - to_milliseconds(gap.start) + Interval(gap.level).milliseconds


def gap_text(gap: Gap) -> str:
    """A gap as one sentence."""
    asked = f"asked {counted(gap.attempts, 'time')}"
    states = {
        "open": f"open, {asked}",
        "source": f"the exchange has none, {asked}",
        "repaired": f"repaired {moment(gap.repaired_at)}".strip(),
    }
    return (
        f"{gap.name} {gap.level}: {counted(gap.missing, 'candle')}, {moment(gap.start)} to {moment(gap.end)} UTC"
        f" ({duration(gap_length(gap))}); {states[gap.status]}"
    )


def reset_text(reset: Reset) -> str:
    """A reset as one sentence."""
    return (
        f"{reset.name}: the source started over, noticed {moment(reset.at)} UTC;"
        f" its first candle was {reset.before} and is now {reset.now}"
    )


@dataclass(frozen=True)
class Dot:
    """The scores of one hour or day: their place and heights, in percent from the left and from the top, in words."""

    x: float
    mean: float
    lowest: float
    text: str


@dataclass(frozen=True)
class ScoreChart:
    """The scores over time, and both scales as (place, text) in percent."""

    dots: tuple[Dot, ...]
    levels: tuple[tuple[float, str], ...]
    scale: tuple[tuple[float, str], ...]


def score_chart(scores: Sequence[Score]) -> ScoreChart | None:
    """The mean and the lowest score over time, over as much of 0 to 1 as they need; None without any."""
    if not scores:
        return None
    bottom = next(each for each in _BOTTOMS if each <= max(0.0, min(score.lowest for score in scores)))
    times = [to_milliseconds(score.at) for score in scores]
    axis = Axis(times[0], times[-1])
    single = len(set(times)) == 1
    places = [50.0 if single else axis.place(time) for time in times]

    def height(value: float) -> float:
        return round(100 * (1 - value) / (1 - bottom), 2)

    return ScoreChart(
        dots=tuple(
            Dot(x, height(score.mean), height(score.lowest), _score_text(score))
            for x, score in zip(places, scores, strict=True)
        ),
        levels=tuple((height(value), percent(value)) for value in (1.0, (1 + bottom) / 2, bottom)),
        scale=((50.0, moment(scores[0].at)),) if single else axis.scale(),
    )


def _score_text(score: Score) -> str:
    at = moment(score.at) if score.at.hour else day(score.at)
    return f"{at}: mean {percent(score.mean)}, lowest {percent(score.lowest)}, {counted(score.results, 'result')}"
