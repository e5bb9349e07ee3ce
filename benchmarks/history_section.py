"""The section about Dagster's history: what each partition of a range costs before anything is collected."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.processes import run
from benchmarks.report import Figure, Report

MAX_SHARE = 0.5


def measure_history(directory: Path, days: int, repeats: int, report: Report, say: Callable[[str], None]) -> None:
    """Adds the section, the shipped storage and Dagster's own by turns, in directories of their own."""
    measured: dict[bool, list[dict[str, float]]] = {True: [], False: []}
    for number in range(1, repeats + 1):
        say(f"histories of {days} partitions, {number} of {repeats}")
        for shipped, results in measured.items():
            with tempfile.TemporaryDirectory(dir=directory) as empty:
                results.append(run("benchmarks.history", directory=empty, days=days, shipped=shipped))
    figures = []
    for what, name, scale, unit in (
        ("CPU", "cpu", 1e3, "ms"),
        ("wall", "wall", 1e3, "ms"),
        ("commits", "commits", 1, ""),
    ):
        ours, other = (scale * statistics.median(each[name] for each in measured[shipped]) for shipped in (True, False))
        met = ours / other <= MAX_SHARE if name == "cpu" else None
        figures.append(Figure(what, ours, unit, other, ours / other, f"<= {MAX_SHARE}" if name == "cpu" else "", met))
    report.add(f"13. Dagster's history, SQLite, each of {days} partitions of a run (other: its own storage)", *figures)
