"""The section about integrity runs: what looking at all that is stored costs, beside other ways of looking."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.integrity import CHANGED_DAYS
from benchmarks.processes import run
from benchmarks.report import Figure, Report

MAX_UNCHANGED_SHARE = 0.02  # of the deep run's time
MAX_PROPORTION = 1.5  # what ten changed days cost / ten times what one costs
PASSES = 4  # that the deep run needs: times, prices, whole parts of amounts, fractions
MAX_DEEP_RATIO = 2.0  # the deep run / as many passes


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
        _under(f"deep run; {PASSES} passes of SELECT count(*), sum(close)", deep, PASSES * floor, MAX_DEEP_RATIO),
        Figure("deep run; SELECT count(*) and the sum of every value", deep, "s", every, deep / every),
        Figure("deep run; pandas: load, sort, diff", deep, "s", seconds["pandas"], seconds["pandas"] / deep),
    ]
    for what, ours, other in (
        ("CPU per row: deep run; one pass", deep, floor),
        ("CPU per row: verifying after a collection; storing", seconds["verified"], seconds["stored"]),
    ):
        figures.append(Figure(what, ours / rows * 1e6, "µs", other / rows * 1e6, ours / other))
    report.add(f"9. Looking at {rows:,} candles of 1m, CPU (SQLite)", *figures)
    report.notes.append(
        f"A pass reads one value of each row. The deep run needs {PASSES}: the times, the prices, the whole parts of"
        " amounts and counts, and the fractions; one statement for each partition makes them. A changed day is one"
        " of all symbols; most of what a single one costs is one transaction for each."
    )


def _under(what: str, ours: float, other: float, limit: float) -> Figure:
    return Figure(what, ours, "s", other, ours / other, f"<= {limit}", ours / other <= limit, digits=3)
