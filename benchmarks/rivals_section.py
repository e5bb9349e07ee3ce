"""The section `rivals`: our path beside others that collect the same candles, and beside the floor under all.

By REST beside everybody; from the public archive, which is freqtrade's own default for minutes, beside freqtrade.

Here belongs who is compared, in which turns, and that all got the same rows; each rival is a module of its own. Called
by `__main__`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.freqtrade_environment import NotInstalledError, freqtrade_command, freqtrade_version
from benchmarks.processes import run
from benchmarks.report import Figure, Report
from crypto_assets.settings import Settings

MIN_FREQTRADE_RATIO = 1.25  # its CPU for a row / ours

_OURS = "ours"
_Results = list[dict[str, Any]]


@dataclass(frozen=True)
class RivalsSize:
    """How often, and how many days of two symbols; `few_days` are for what start-up costs.

    Both are multiples of 25 days of 1m, which fill 36 pages of 1000: no side gets rows beyond the window.
    `few_days_of_files` and `days_of_files` are those of the archive, and make up whole months, which have files that
    spare requests. `with_freqtrade` says whether the one that has to be installed takes part.
    """

    repeats: int
    few_days: int
    days: int
    few_days_of_files: int = 28
    days_of_files: int = 120
    with_freqtrade: bool = True


@dataclass(frozen=True)
class _Rival:
    what: str
    module: str
    options: dict[str, Any]
    stores: bool = True


_RIVALS = {
    _OURS: _Rival("ours", "benchmarks.collecting", {"in_flight": Settings.model_fields["pages_in_flight"].default}),
    "sqlite3": _Rival(
        "ccxt fetch_ohlcv + to_sql(sqlite3), a page at a time", "benchmarks.by_hand", {"into": "sqlite3"}
    ),
    "sqlalchemy": _Rival("ccxt fetch_ohlcv + to_sql(SQLAlchemy engine)", "benchmarks.by_hand", {"into": "sqlalchemy"}),
    "async": _Rival("ccxt async, gather; to_sql(sqlite3) once a symbol", "benchmarks.by_hand_async", {}),
    "ccxt": _Rival(
        "floor: ccxt publicGetKlines, decoded, nothing kept", "benchmarks.floor", {"through": "ccxt"}, stores=False
    ),
    "requests": _Rival(
        "floor: requests.Session + orjson, nothing kept", "benchmarks.floor", {"through": "requests"}, stores=False
    ),
}


class RivalsSection:
    """Measured against the sandbox at `url`, from `start` (ms), in directories below `directory`."""

    def __init__(
        self,
        url: str,
        directory: Path,
        symbols: list[str],
        start: int,
        size: RivalsSize,
        report: Report,
        say: Callable[[str], None],
    ) -> None:
        self._directory, self._size, self._report, self._say = directory, size, report, say
        self._rows = len(symbols) * size.days * 1440
        self._arguments = {"url": url, "symbols": symbols, "start": start}
        self._section = f"12. CPU per row beside rivals, REST ({self._rows:,} candles of 1m; other: the rival)"
        self._rows_of_files = len(symbols) * size.days_of_files * 1440
        self._section_of_files = (
            f"12. From the public archive ({self._rows_of_files:,} candles of 1m; other: the rival)"
        )

    def measure(self) -> None:
        """Adds both tables to the report."""
        freqtrade, missing = self._freqtrade()
        self._by_rest(freqtrade, missing)
        if freqtrade is not None:
            self._from_files(freqtrade)

    def _by_rest(self, freqtrade: str | None, missing: str) -> None:
        self._warm_up(freqtrade)
        results: dict[str, _Results] = {name: [] for name in _RIVALS}
        few: _Results = []
        many: _Results = []
        for number in range(1, self._size.repeats + 1):
            self._say(f"rivals, {number} of {self._size.repeats}")
            for name, rival in _RIVALS.items():
                more = {**rival.options, "days": self._size.days}
                results[name].append(self._run(rival.module, self._rows, stores=rival.stores, **more))
            if freqtrade is not None:
                few.append(self._download(freqtrade, self._size.few_days))
                many.append(self._download(freqtrade, self._size.days))
        ours = results[_OURS]
        for name, rival in _RIVALS.items():
            if name != _OURS:
                self._add(rival.what, ours, _median(results[name], "microseconds"), results[name])
        if missing:
            self._report.add(self._section, Figure(missing, _median(ours, "microseconds"), "µs"))
        else:
            what = f"download-data, only_from_ccxt, feather; {self._size.days} days less {self._size.few_days}"
            self._add_freqtrade(self._section, what, ours, few, many)
            self._report.notes.append(
                "freqtrade stores 6 columns in one file a symbol, unkeyed, after all of its pages are in memory; it has"
                f" no time apart for start-up, which is therefore subtracted by two runs: {_spent(few)},"
                f" {_spent(many)}, all by REST from the sandbox ({many[0]['requests']} pages). Ours stores every column"
                " in a keyed table, checked before and verified after; its whole process also makes the database and"
                " collects 2,880 rows as a warm-up."
            )

    def _from_files(self, freqtrade: str) -> None:
        """Adds the table of freqtrade as it comes beside ours, both from the sandbox's archive."""
        size = self._size
        options = {"files": True, **_RIVALS[_OURS].options}

        def ours() -> dict[str, Any]:
            return self._run("benchmarks.collecting", self._rows_of_files, **options, days=size.days_of_files)

        def theirs(days: int) -> dict[str, Any]:
            return self._download(freqtrade, days, files=True)

        self._say("rivals from files, warming up")
        ours(), theirs(size.days_of_files)
        of_ours: _Results = []
        few: _Results = []
        many: _Results = []
        for number in range(1, size.repeats + 1):
            self._say(f"rivals from files, {number} of {size.repeats}")
            of_ours.append(ours())
            few.append(theirs(size.few_days_of_files))
            many.append(theirs(size.days_of_files))
        what = f"download-data as it comes, feather; {size.days_of_files} days less {size.few_days_of_files}"
        self._add_freqtrade(self._section_of_files, what, of_ours, few, many)
        self._report.notes.append(
            f"From the archive freqtrade reads a zip a day, without its checksum ({many[0]['requests']} files;"
            f" {_spent(few)}, {_spent(many)}), ours a zip a month, its checksum, and by REST the hours that it is"
            " compared with."
        )

    def _freqtrade(self) -> tuple[str | None, str]:
        """The command, or None and what the row says instead."""
        if not self._size.with_freqtrade:
            return None, "freqtrade download-data: left out"
        self._say("rivals, installing freqtrade")
        try:
            return freqtrade_command(), ""
        except NotInstalledError as error:
            return None, f"freqtrade download-data: not installed ({error})"

    def _warm_up(self, freqtrade: str | None) -> None:
        """The sandbox prints its pages once and keeps them, and a first start compiles: nobody shall wait for that."""
        self._say("rivals, warming up")
        floor = _RIVALS["requests"]
        self._run(floor.module, self._rows, stores=floor.stores, **floor.options, days=self._size.days)
        if freqtrade is not None:
            self._download(freqtrade, self._size.few_days)

    def _download(self, freqtrade: str, days: int, *, files: bool = False) -> dict[str, Any]:
        rows = self._rows // self._size.days * days
        return self._run("benchmarks.freqtrade_download", rows, command=freqtrade, days=days, files=files)

    def _run(self, module: str, rows: int, *, stores: bool = True, **more: Any) -> dict[str, Any]:
        """One measurement in an empty directory. Raises RuntimeError unless it got that many rows."""
        with tempfile.TemporaryDirectory(dir=self._directory) as directory:
            where = {"directory": directory} if stores else {}
            result = run(module, **self._arguments, **where, **more)
        if result["rows"] != rows:
            raise RuntimeError(f"{module} got {result['rows']:,} rows, not {rows:,}")
        return result

    def _add(self, what: str, ours: _Results, other: float, results: _Results) -> None:
        total = _median(ours, "microseconds")
        speed, rival = _median(ours, "rows_per_second"), _median(results, "rows_per_second")
        self._report.add(
            self._section,
            Figure(what, total, "µs", other, other / total),
            Figure("  rows per second, wall", speed, "", rival, speed / rival, digits=0),
        )

    def _add_freqtrade(self, section: str, what: str, ours: _Results, few: _Results, many: _Results) -> None:
        rows = many[0]["rows"] - few[0]["rows"]
        seconds, wall = (_median(many, key) - _median(few, key) for key in ("seconds", "wall"))
        if min(seconds, wall) <= 0:
            raise RuntimeError("freqtrade took no longer for more days: more days are needed to tell what a row costs")
        total, other = _median(ours, "microseconds"), seconds / rows * 1e6
        ratio, target = other / total, f">= {MIN_FREQTRADE_RATIO}"
        whole = f"freqtrade {freqtrade_version()} {what}, per row of difference"
        speed = _median(ours, "rows_per_second")
        process, rival = _median(ours, "process_seconds"), _median(many, "seconds")
        self._report.add(
            section,
            Figure(whole, total, "µs", other, ratio, target, ratio >= MIN_FREQTRADE_RATIO),
            Figure("  rows per second, wall", speed, "", rows / wall, speed / (rows / wall), digits=0),
            Figure("  CPU of the whole process, start-up and all", process, "s", rival, rival / process),
        )


def _spent(results: _Results) -> str:
    return f"{_median(results, 'seconds'):.2f} s of CPU for {results[0]['rows']:,} rows"


def _median(results: _Results, key: str) -> float:
    return float(median(each[key] for each in results))
