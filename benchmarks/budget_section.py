"""How much of Binance's request budget backfills use, one alone and three at once, and what keeping to it costs."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.backfills import Backfill
from benchmarks.collecting import exchange_at
from benchmarks.processes import run
from benchmarks.report import Figure, Report
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import DAY_MS, MINUTE_MS
from crypto_assets.exchange.binance.weights import PAGE_ROWS, weight
from crypto_assets.sandbox.limits import SPOT_BUDGET
from crypto_assets.sandbox.process import SandboxProcess
from crypto_assets.settings import Settings

MIN_SHARE = 95.0
MAX_BUDGET_MS = 1.0

_LATENCY_MS = 100
_SYMBOLS = 45
_THREADS = 8  # of the process in which the budget's own cost is measured
_MINUTE_S = 60
_LOOK_S = 3.0  # the sandbox remembers 1000 requests; 50 a second are made


class BudgetSection:
    """Whole minutes of the sandbox's clock against its real budgets; `arguments` start it, `start` is in ms."""

    def __init__(
        self, minutes: int, arguments: list[str], start: int, report: Report, say: Callable[[str], None]
    ) -> None:
        self._minutes, self._start, self._report, self._say = minutes, start, report, say
        self._arguments = [*arguments, "--latency-ms", str(_LATENCY_MS), "--symbols", str(_SYMBOLS + 5)]
        self._reserve = float(Settings.model_fields["weight_reserve"].default)
        self._section = (
            f"10. Request budget, {SPOT_BUDGET} a minute, {_LATENCY_MS} ms latency, {self._reserve:.0%} left for"
            f" others, backfills of {minutes} full minutes"
        )

    def measure(self) -> None:
        """Adds the section to the report."""
        for processes in (1, 3):
            self._backfill(processes)
        self._cost()

    def _backfill(self, processes: int) -> None:
        """So many backfills at once, each of symbols of its own, ended when the full minutes are over."""
        who = "1 backfill" if processes == 1 else f"{processes} backfills"
        self._say(f"preparing {who}")
        with ExitStack() as stack:
            sandbox = stack.enter_context(SandboxProcess(self._arguments))
            backfills = self._prepared(sandbox.url, processes, Path(stack.enter_context(tempfile.TemporaryDirectory())))
            self._say(f"spending the request budget, {who}")
            running = [stack.enter_context(_killed_at_the_end(backfill.begin())) for backfill in backfills]
            log = self._log(sandbox.url)
            while not log["by_status"].get("200", 0) > _SYMBOLS * 2:  # they have begun
                _refuse_ended(running)
                time.sleep(_LOOK_S)
                log = self._log(sandbox.url)
            first = int(time.time() // _MINUTE_S) + 1
            used: dict[int, int] = defaultdict(int)
            while time.time() < (first + self._minutes) * _MINUTE_S + 1:
                time.sleep(_LOOK_S)
                log = self._log(sandbox.url)
                for asked in log["recent"]:
                    minute = asked["time_ms"] // MINUTE_MS
                    used[minute] = max(used[minute], asked["used_weight"])
            _refuse_ended(running)
        shares = [100 * used[first + each] / SPOT_BUDGET for each in range(self._minutes)]
        refused = sum(count for status, count in log["by_status"].items() if status in ("418", "429"))
        self._report.add(
            self._section,
            Figure(
                f"{who}: budget used, the least of a full minute",
                min(shares),
                "%",
                target=f">= {MIN_SHARE:.0f} %",
                met=min(shares) >= MIN_SHARE,
            ),
            Figure(f"{who}: answers 429 or 418", refused, "", target="0", met=refused == 0, digits=0),
        )
        self._report.notes.append(f"Budget, {who}: {', '.join(f'{share:.1f}' for share in shares)} % minute by minute.")

    def _prepared(self, url: str, processes: int, directory: Path) -> list[Backfill]:
        with closing(exchange_at(url)) as exchange:
            listed = [each for each in exchange.markets(MarketType.SPOT) if each.is_active]
        old = [each.symbol for each in listed][:_SYMBOLS]
        rows_a_minute = SPOT_BUDGET // weight(MarketType.SPOT, "klines") * PAGE_ROWS[MarketType.SPOT]
        days = -(-(self._minutes + 2) * rows_a_minute * MINUTE_MS // DAY_MS // len(old)) + 1
        in_flight = Settings.model_fields["pages_in_flight"].default
        backfills = [
            Backfill(url, directory / str(each), old[each::processes], self._start, days, in_flight, directory)
            for each in range(processes)
        ]
        for backfill in backfills:
            backfill.prepare()
        return backfills

    def _log(self, url: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{url}/sandbox/requests") as answer:  # noqa: S310 - loopback
            log: dict[str, Any] = json.load(answer)
        return log

    def _cost(self) -> None:
        """What the budget itself costs a request."""
        self._say("what keeping to the request budget costs")
        with SandboxProcess(self._arguments) as sandbox, tempfile.TemporaryDirectory() as directory:
            options = {"threads": _THREADS, "until": time.time() + _MINUTE_S / 2, "reserve": self._reserve}
            spent = run("benchmarks.spending", url=sandbox.url, state_directory=directory, start=self._start, **options)
        cost = spent["budget_ms"]
        self._report.add(
            self._section,
            Figure(
                f"CPU of the budget for a request, of {spent['all_ms']:.1f} ms in all",
                cost,
                "ms",
                target=f"< {MAX_BUDGET_MS:.0f} ms",
                met=cost < MAX_BUDGET_MS,
            ),
        )


@contextmanager
def _killed_at_the_end(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _refuse_ended(running: list[subprocess.Popen[str]]) -> None:
    for process in running:
        if process.poll() is not None:
            raise RuntimeError(f"a backfill ended before the time was over: {process.communicate()[1]}")
