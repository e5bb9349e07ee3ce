"""`python -m benchmarks`: every measurement, as one table. Exit code 0 unless one breaks."""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.budget_section import BudgetSection
from benchmarks.engine_section import EngineSection, EngineSize
from benchmarks.history_section import measure_history
from benchmarks.integrity_section import measure_integrity
from benchmarks.kept_sections import KeptSections
from benchmarks.kills_section import KillsSection
from benchmarks.processes import run
from benchmarks.report import Figure, Report
from benchmarks.rivals_section import RivalsSection, RivalsSize
from benchmarks.servers import ENGINES
from crypto_assets.domain.intervals import parse_time
from crypto_assets.sandbox.process import SandboxProcess

GENESIS = "2021-01-01"
START = parse_time("2021-02-01")  # later than the genesis, so that candles have their look-back, as mostly in practice

MIN_RATIO = 1.7
MAX_ARCHIVE_SHARE = 0.7
MAX_BYTES_PER_ROW = 250
MAX_IDLE_SECONDS = 1.0

_STAGES = {
    "exchange": "exchange: from the request to columns",
    "commit": "begin, commit",
    "rest": "judge, derive, write, verify",
}
SECTIONS = (
    "speed",
    "memory",
    "queries",
    "checks",
    *ENGINES,
    "integrity",
    "budget",
    "kills",
    "history",
    "scale",
    "rivals",
)
_STORED = ["BTC/USDT", "ETH/USDT", "SOL/USDT", "BNB/USDT"]


@dataclass(frozen=True)
class Size:
    """How much is measured: days of two symbols for speed, of four for memory, and how often for the median.

    `days_of_files` make up whole months from `START` on: only these does the archive have as files worth asking for.
    `looked_at` are days of twenty symbols, `scale` symbols and partitions of each, `minutes` is how long the request
    budget is spent, `kills` how often a backfill of `killed_days` of four symbols is killed, `partitions` how many a
    run has in Dagster's history; `engines` says the same of the sections that measure one engine each, `rivals` of the
    one named so.
    """

    repeats: int
    days: int
    days_of_files: int
    few_days: int
    many_days: int
    looked_at: int
    scale: tuple[int, int]
    minutes: int
    kills: int
    killed_days: int
    partitions: int
    engines: EngineSize
    rivals: RivalsSize


FULL = Size(  # 302,400, 256,320, 40,320, 2,004,480 and 10,022,400 rows
    repeats=3,
    days=105,
    days_of_files=89,
    few_days=7,
    many_days=348,
    looked_at=348,
    scale=(500, 3000),
    minutes=2,
    kills=100,
    killed_days=300,
    partitions=400,
    engines=EngineSize(3, 300_000, (1_000_000, 10_000_000)),
    rivals=RivalsSize(repeats=3, few_days=25, days=200, days_of_files=181),
)
QUICK = Size(
    repeats=1,
    days=4,
    days_of_files=28,
    few_days=1,
    many_days=4,
    looked_at=4,
    scale=(20, 300),
    minutes=1,
    kills=3,
    killed_days=8,
    partitions=20,
    engines=EngineSize(1, 20_000, (20_000, 50_000)),
    rivals=RivalsSize(repeats=1, few_days=25, days=50),
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rows: shows that it runs, not what it costs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--minutes", type=int, metavar="N", help="how long the budget is spent (default: 2, quick: 1)")
    parser.add_argument(
        "--only",
        action="append",
        choices=SECTIONS,
        metavar="NAME",
        help=f"a section, repeatable: {', '.join(SECTIONS)}",
    )
    parser.add_argument(
        "--without-freqtrade", action="store_true", help="rivals: leave out the one that is installed on first use"
    )
    options = parser.parse_args()
    size = QUICK if options.quick else FULL
    if options.minutes is not None:
        size = replace(size, minutes=options.minutes)
    if options.without_freqtrade:
        size = replace(size, rivals=replace(size.rivals, with_freqtrade=False))
    report = Report()
    started = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was made on servers is dropped first
    with (
        tempfile.TemporaryDirectory(prefix="crypto-assets-bench-") as directory,
        SandboxProcess(["--no-budget", "--gzip", "--genesis", GENESIS]) as sandbox,
        Console(stderr=True).status("") as status,
    ):
        bench = Bench(sandbox.url, Path(directory), size, report, status.update)
        for name in SECTIONS:
            if not options.only or name in options.only:
                bench.section(name)
    report.notes.append(
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {platform.machine()}; CPU time is user"
        f" and system time of the collecting process alone, medians of {size.repeats};"
        f" {time.monotonic() - started:.0f} s in all; load average {os.getloadavg()[1]:.1f} of {os.cpu_count()} cores."
    )
    report.print()
    if options.json:
        report.write(options.json)


class Bench:
    """The measurements of one run; those of collecting against the sandbox at `url`."""

    def __init__(self, url: str, directory: Path, size: Size, report: Report, say: Callable[[str], None]) -> None:
        self._url, self._directory, self._size, self._report, self._say = url, directory, size, report, say
        days = (size.few_days, size.many_days)
        kept = KeptSections(url, directory, _STORED, START, days, report, say)
        self._kept = {"memory": kept.memory, "queries": kept.queries, "checks": kept.checks}

    def section(self, name: str) -> None:
        """One of `SECTIONS`, named so."""
        if name in ENGINES:
            with self._new_directory() as directory:
                EngineSection(name, Path(directory), self._size.engines, self._report, self._say).measure()
        elif name in self._kept:
            self._kept[name]()
        else:
            getattr(self, name)()

    def budget(self) -> None:
        """The share of the exchange's request budget that is used."""
        arguments = ["--genesis", GENESIS]
        BudgetSection(self._size.minutes, arguments, START, self._report, self._say).measure()

    def kills(self) -> None:
        """What is asked for again after `kill -9`."""
        size = self._size
        with self._new_directory() as directory:
            section = KillsSection(parse_time(GENESIS), START, size.killed_days, size.kills, self._report, self._say)
            section.measure(Path(directory))

    def history(self) -> None:
        """What Dagster's own history costs a partition."""
        measure_history(self._directory, self._size.partitions, self._size.repeats, self._report, self._say)

    def rivals(self) -> None:
        """CPU time per row, ours and that of others who collect the same."""
        where = (self._url, self._directory, _STORED[:2], START)
        RivalsSection(*where, self._size.rivals, self._report, self._say).measure()

    def speed(self) -> None:
        """CPU time and bytes per row, ours and the loop's by turns, so that a busy minute hits both."""
        arguments = {"symbols": _STORED[:2], "start": START, "days": self._size.days}
        of_files = {**arguments, "days": self._size.days_of_files, "files": True}
        ours: list[dict[str, Any]] = []
        files: list[dict[str, Any]] = []
        loop: list[dict[str, Any]] = []
        engine: list[dict[str, Any]] = []
        with self._new_directory() as directory:
            # The sandbox prints its pages once and keeps them: neither side shall wait for that.
            self._say("warming up the sandbox")
            run("benchmarks.by_hand", url=self._url, directory=directory, into="sqlite3", **arguments)
        with self._new_directory() as directory:
            run("benchmarks.collecting", url=self._url, directory=directory, **of_files)
        for number in range(1, self._size.repeats + 1):
            self._say(f"collecting, {number} of {self._size.repeats}")
            for results, module, more in (
                (ours, "benchmarks.collecting", arguments),
                (files, "benchmarks.collecting", of_files),
                (loop, "benchmarks.by_hand", {**arguments, "into": "sqlite3"}),
                (engine, "benchmarks.by_hand", {**arguments, "into": "sqlalchemy"}),
            ):
                with self._new_directory() as directory:
                    results.append(run(module, url=self._url, directory=directory, **more))
        self._add_speed(ours, loop, engine)
        self._add_files(files, ours)

    def _add_files(self, files: list[dict[str, Any]], rest: list[dict[str, Any]]) -> None:
        section = "1. The same from the archive's files (other: our REST path)"
        of_files, of_rest = (
            statistics.median(each["stages"]["exchange"] for each in results) for results in (files, rest)
        )
        self._report.add(section, Figure("request to columns", of_files, "µs", of_rest, of_files / of_rest))
        of_files, of_rest = _median(files, "microseconds"), _median(rest, "microseconds")
        share = of_files / of_rest
        met = share <= MAX_ARCHIVE_SHARE
        self._report.add(section, Figure("total", of_files, "µs", of_rest, share, f"<= {MAX_ARCHIVE_SHARE}", met))

    def _add_speed(self, ours: list[dict[str, Any]], loop: list[dict[str, Any]], engine: list[dict[str, Any]]) -> None:
        section = f"1. CPU per row, HTTP to committed row ({ours[0]['rows']:,} candles of 1m)"
        for stage, what in _STAGES.items():
            self._report.add(section, Figure(what, statistics.median(each["stages"][stage] for each in ours), "µs"))
        total = _median(ours, "microseconds")
        for results, what, target in (
            (loop, "total; by hand: fetch_ohlcv + to_sql(sqlite3)", f">= {MIN_RATIO}"),
            (engine, "total; by hand: fetch_ohlcv + to_sql(SQLAlchemy engine)", ""),
        ):
            other = _median(results, "microseconds")
            met = other / total >= MIN_RATIO if target else None
            self._report.add(section, Figure(what, total, "µs", other, other / total, target, met))
        speed, other = _median(ours, "rows_per_second"), _median(loop, "rows_per_second")
        self._report.add(section, Figure("rows per second, wall", speed, "", other, speed / other, digits=0))
        size, other = _median(ours, "bytes_per_row"), _median(loop, "bytes_per_row")
        self._report.add(
            "2. Bytes per stored row, SQLite",
            Figure(
                "file and log, after a checkpoint (by hand: 7 columns, no key)",
                size,
                "B",
                other,
                other / size,
                f"<= {MAX_BYTES_PER_ROW} B",
                size <= MAX_BYTES_PER_ROW,
                digits=0,
            ),
        )

    def integrity(self) -> None:
        """Looking at everything stored: six-hourly, deeply, and as people do with pandas."""
        with self._new_directory() as directory:
            measure_integrity(directory, self._size.looked_at, self._size.repeats, self._report, self._say)

    def scale(self) -> None:
        """What a large database costs when nothing changed."""
        symbols, partitions = self._size.scale
        self._say("making a large database, then looking at it")
        with self._new_directory() as directory:
            seconds = run("benchmarks.scale", directory=directory, symbols=symbols, partitions=partitions)
        self._report.add(
            f"14. {symbols:,} symbols x {partitions:,} partitions of 1m, nothing changed, CPU (SQLite)",
            *(
                Figure(what, took, "s", target=f"<= {MAX_IDLE_SECONDS} s", met=took <= MAX_IDLE_SECONDS)
                if "tick" in what or "check" in what
                else Figure(what, took, "s")
                for what, took in seconds.items()
            ),
        )

    @contextmanager
    def _new_directory(self) -> Iterator[str]:
        """A new, empty directory, gone afterwards."""
        with tempfile.TemporaryDirectory(dir=self._directory) as directory:
            yield directory


def _median(results: list[dict[str, Any]], key: str) -> float:
    return float(statistics.median(each[key] for each in results))


if __name__ == "__main__":
    main()
