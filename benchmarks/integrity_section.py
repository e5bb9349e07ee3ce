"""The section about integrity runs: what looking at all that is stored costs, beside other ways of looking."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.integrity import CHANGED_DAYS
from benchmarks.processes import run
from benchmarks.report import Figure, Report

MAX_UNCHANGED_SHARE = 0.02  # of the deep run's time
MAX_PROPORTION = 1.5  # what ten changed days cost / ten times what one costs
MAX_DEEP_RATIO = 2.0  # the deep run / the passes it needs


def measure_integrity(directory: str, days: int, repeats: int, report: Report, say: Callable[[str], None]) -> None:
    """Adds the section, measured in `directory`, which is empty and deleted by the caller."""
    say("filling a table, then looking at all of it")
    measured = run("benchmarks.integrity", url=f"sqlite:///{directory}", days=days, repeats=repeats)
    rows, seconds = measured["rows"], measured["seconds"]
    floor, every, deep, idle = (seconds[name] for name in ("floor", "every value", "deep", "unchanged"))
    figures = [_under("six-hourly run, nothing changed; deep run", idle, deep, MAX_UNCHANGED_SHARE)]
    added = {count: seconds[f"changed {count}"] - idle for count in CHANGED_DAYS if f"changed {count}" in seconds}
    for count, more in added.items():
        if count == 1:
            share = deep / days
            figures.append(Figure("  a changed day adds; its share of the deep run", more, "s", share, more / share))
        else:
            figures.append(
                _under(f"  {count} changed days add; {count} times one", more, count * added[1], MAX_PROPORTION)
            )
    figures += [
        Figure("reading every value in SQL; SELECT count(*), sum(close)", every, "s", floor, every / floor),
        _under(f"deep run; {every / floor:.1f} passes of count(*), sum(close)", deep, every, MAX_DEEP_RATIO),
        Figure("deep run; pandas: load, sort, diff", deep, "s", seconds["pandas"], seconds["pandas"] / deep),
    ]
    for what, ours, other in (
        ("CPU per row: deep run; one pass", deep, floor),
        ("CPU per row: verifying after a collection; storing", seconds["verified"], seconds["stored"]),
    ):
        figures.append(Figure(what, ours / rows * 1e6, "µs", other / rows * 1e6, ours / other))
    report.add(f"9. Looking at {rows:,} candles of 1m, CPU (SQLite)", *figures)
    report.notes.append(
        "A pass of count(*), sum(close) reads one value of each row. The deep run must read eleven and the time; how"
        " many passes that is worth is measured by adding the eleven up at once. A changed day is one of all symbols."
    )


def _under(what: str, ours: float, other: float, limit: float) -> Figure:
    return Figure(what, ours, "s", other, ours / other, f"<= {limit}", ours / other <= limit, digits=3)
