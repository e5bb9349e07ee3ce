"""One engine's section of the report: what writing costs beside other ways of it, and how fast candles are found."""

from __future__ import annotations

import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from benchmarks.engine_candles import ENTITIES
from benchmarks.processes import run
from benchmarks.report import Figure, Report
from benchmarks.servers import ENGINES, NoServerError, database_of_its_own

MAX_FLOOR_CPU = 1.8  # SQLite: ours / floor
MIN_FLOOR_SPEED = {"postgresql": 0.4}
MIN_EXECUTEMANY_SPEED = {"postgresql": 2.5, "mysql": 2.0}
MAX_QUERY_MS, MAX_LAST_MS = 100, 20

_NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mysql": "MySQL"}
_FLOORS = {
    "sqlite": "floor: sqlite3 executemany without a key",
    "postgresql": "floor: COPY without a key",
    "mysql": "floor: LOAD DATA without a key",
}
_OTHERS = {"floor": "", "executemany": "SQLAlchemy executemany, same table", "to_sql": "to_sql without a key"}
_SLOW, _FEWER = ("executemany", "to_sql"), 3  # how many times fewer rows these write
_FIRST_NUMBER = 6  # of the sections


@dataclass(frozen=True)
class EngineSize:
    """How much is measured of an engine: rows written, how often for the median, and rows that queries search."""

    repeats: int
    rows: int
    searched: tuple[int, ...]


class EngineSection:
    """The measurements of one engine, in a database of its own; `directory` is empty and deleted by the caller."""

    def __init__(
        self, engine: str, directory: Path, size: EngineSize, report: Report, say: Callable[[str], None]
    ) -> None:
        self._engine, self._directory, self._size, self._report = engine, directory, size, report
        self._tell = say
        self._section = f"{_FIRST_NUMBER + ENGINES.index(engine)}. {_NAMES[engine]}"

    def measure(self) -> None:
        """Adds the section to the report; one line that says why, where there is no server."""
        try:
            with database_of_its_own(self._engine, self._directory) as url:
                self._section += f" {_version(url)}: writing {self._size.rows:,} candles of 1m, then searching them"
                self._writes(url)
                self._queries(url)
            self._note()
        except NoServerError as error:
            self._report.add(self._section, Figure("left out, see the notes", None, ""))
            self._report.notes.append(f"{_NAMES[self._engine]} was left out: {error}")

    def _writes(self, url: str) -> None:
        """All ways by turns, so that a busy minute hits each."""
        results: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for number in range(1, self._size.repeats + 1):
            for way in ("ours", *_OTHERS):
                self._say(f"writing, {way}, {number} of {self._size.repeats}")
                with tempfile.TemporaryDirectory(dir=self._directory) as directory:
                    own = f"sqlite:///{directory}" if self._engine == "sqlite" else url
                    rows = self._size.rows // (_FEWER if way in _SLOW else 1)
                    results[way].append(run("benchmarks.engine_writes", url=own, way=way, rows=rows))
        self._add_comparison(results, "rows_per_second", "rows per second")
        self._add_comparison(results, "microseconds", "CPU per row" if self._engine == "sqlite" else "client's CPU")
        again = [each["again"] for each in results["ours"]]
        self._add("rows per second, all stored already", _median(again, "rows_per_second"), digits=0)
        if self._engine == "postgresql":
            # Others may write to the same log at the same time: that can only add.
            self._add("log (WAL) per row", min(each["log_bytes_per_row"] for each in results["ours"]), "B", digits=0)
            logged = min(each["log_bytes_per_row"] for each in again)
            self._add("log (WAL) per row, all stored already", logged, "B", digits=0)
        self._add("bytes per row, key and all", _median(results["ours"], "bytes_per_row"), "B", digits=0)

    def _add_comparison(self, results: dict[str, list[dict[str, Any]]], key: str, what: str) -> None:
        ours = _median(results["ours"], key)
        unit, digits = ("µs", 2) if key == "microseconds" else ("", 0)
        for way, name in _OTHERS.items():
            other = _median(results[way], key)
            target, met = self._verdict(way, key, ours / other)
            self._report.add(
                self._section,
                Figure(
                    f"{what}; {name or _FLOORS[self._engine]}", ours, unit, other, ours / other, target, met, digits
                ),
            )

    def _note(self) -> None:
        note = f"{_NAMES[self._engine]}: medians of {self._size.repeats}; {' and '.join(_SLOW)} wrote"
        note += f" {self._size.rows // _FEWER:,} candles each."
        if self._engine != "sqlite":
            note += " The server's CPU time is in no figure: what counts there is rows per second."
        self._report.notes.append(note)

    def _say(self, what: str) -> None:
        self._tell(f"{_NAMES[self._engine]}: {what}")

    def _verdict(self, way: str, key: str, ratio: float) -> tuple[str, bool | None]:
        if key == "microseconds":
            if self._engine == "sqlite" and way == "floor":
                return f"<= {MAX_FLOOR_CPU}", ratio <= MAX_FLOOR_CPU
            return "", None
        least = {"floor": MIN_FLOOR_SPEED, "executemany": MIN_EXECUTEMANY_SPEED}.get(way, {}).get(self._engine)
        return ("", None) if least is None else (f">= {least}", ratio >= least)

    def _queries(self, url: str) -> None:
        """The four standard queries at each size; the larger one has the smaller one's candles and more."""
        stored = 0
        for rows in self._size.searched:
            minutes = rows // len(ENTITIES)
            self._say(f"making {rows:,} candles")
            loaded = run("benchmarks.engine_loads", url=url, first=stored, minutes=minutes)
            stored = minutes
            self._say(f"queries on {rows:,} candles")
            for each in run("benchmarks.engine_queries", url=url, minutes=minutes)["queries"]:
                limit = MAX_LAST_MS if each["what"].startswith("the last") else MAX_QUERY_MS
                what = f"{rows:,} rows: {each['what']}"
                self._add(f"{what}, p50", each["p50"], "ms")
                self._add(f"{what}, p95", each["p95"], "ms", f"< {limit} ms", each["p95"] < limit)
            self._add(f"{rows:,} rows: bytes per row", loaded["bytes_per_row"], "B", digits=0)

    def _add(
        self, what: str, ours: float, unit: str = "", target: str = "", met: bool | None = None, digits: int = 2
    ) -> None:
        self._report.add(self._section, Figure(what, ours, unit, target=target, met=met, digits=digits))


def _version(url: str) -> str:
    """What the engine calls itself."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine, query = create_engine("sqlite://"), "SELECT sqlite_version()"
    else:
        engine, query = create_engine(parsed.difference_update_query(["prefix"])), "SELECT version()"
    with engine.connect() as connection:
        version = str(connection.exec_driver_sql(query).scalar_one())
    engine.dispose()
    return version.split(" (", maxsplit=1)[0].split(" on ", maxsplit=1)[0].removeprefix("PostgreSQL ")


def _median(results: list[dict[str, Any]], key: str) -> float:
    return float(statistics.median(each[key] for each in results))
