"""The sections about one big database, which is filled once and kept: peak memory, queries and checks."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.processes import run
from benchmarks.report import Figure, Report
from crypto_assets.domain.entities import PROVIDER, entity_id
from crypto_assets.domain.intervals import DAY_MS

MAX_MEGABYTES = 400
MAX_ABOVE_IMPORTS = 300
MAX_GROWTH = 1.15
MAX_QUERY_MS = 20


class KeptSections:
    """One method for each section. `days` are the few and the many that memory is compared with."""

    def __init__(
        self,
        url: str,
        directory: Path,
        symbols: list[str],
        start: int,
        days: tuple[int, int],
        report: Report,
        say: Callable[[str], None],
    ) -> None:
        self._url, self._directory, self._symbols, self._start = url, directory, symbols, start
        self._few_days, self._many_days = days
        self._report, self._say = report, say
        self._kept = str(directory / "kept")
        self._many: dict[str, Any] = {}

    def memory(self) -> None:
        """Peak memory with few and with many rows. The many are kept for the queries and checks."""
        self._say("memory with few rows")
        with tempfile.TemporaryDirectory(dir=self._directory) as directory:
            few = run(
                "benchmarks.memory",
                url=self._url,
                directory=directory,
                symbols=self._symbols,
                start=self._start,
                days=self._few_days,
            )
        many = self._keep()
        section = "3. Peak memory of the collecting process"
        for measured in (few, many):
            peak = measured["megabytes"]
            what = f"{measured['rows']:,} rows"
            target = f"< {MAX_MEGABYTES} MB"
            self._report.add(
                section,
                Figure(what, peak, "MB", target=target, met=peak < MAX_MEGABYTES, digits=0),
                Figure(
                    f"{what}, above the imports",
                    measured["above_imports"],
                    "MB",
                    target=f"<= {MAX_ABOVE_IMPORTS} MB",
                    met=measured["above_imports"] <= MAX_ABOVE_IMPORTS,
                    digits=0,
                ),
            )
        growth = many["megabytes"] / few["megabytes"]
        self._report.add(
            section, Figure("many rows / few rows", growth, "x", target=f"<= {MAX_GROWTH}", met=growth <= MAX_GROWTH)
        )

    def _keep(self) -> dict[str, Any]:
        """What filling the kept database took; it is filled once."""
        if not self._many:
            self._say("memory with many rows")
            self._many = run(
                "benchmarks.memory",
                url=self._url,
                directory=self._kept,
                symbols=self._symbols,
                start=self._start,
                days=self._many_days,
            )
        return self._many

    def queries(self) -> None:
        """The standard queries on the kept database."""
        rows = self._keep()["rows"]
        self._say("queries")
        chosen = entity_id("cryptopair", PROVIDER, "ethusdt")
        day = self._start + self._many_days // 2 * DAY_MS
        results = run(
            "benchmarks.queries", directory=self._kept, entity_id=chosen, entities=len(self._symbols), day=day
        )
        section = f"4. Standard queries on {rows:,} rows, CPU (by hand: plain SQL, no frame)"
        for each in results["queries"]:
            ours, plain = each["function_ms"], each["sql_ms"]
            target = f"< {MAX_QUERY_MS} ms"
            self._report.add(
                section, Figure(each["what"], ours, "ms", plain, plain / ours, target, ours < MAX_QUERY_MS)
            )
            self._report.notes.append(f"plan, {each['what']}: {each['plan']}")

    def checks(self) -> None:
        """The checks on the kept database."""
        rows = self._keep()["rows"]
        self._say("checks")
        seconds = run("benchmarks.checks", directory=self._kept)["seconds"]
        section = f"5. Checks over {rows:,} rows, CPU"
        self._report.add(section, *(Figure(name, value, "s") for name, value in seconds.items()))
        self._report.add(section, Figure("all six", sum(seconds.values()), "s"))
