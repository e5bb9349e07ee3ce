"""How much of Binance's request budget is used, by one process and by three at once, and what keeping to it costs."""

from __future__ import annotations

import json
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from benchmarks.processes import run
from benchmarks.report import Figure, Report
from crypto_assets.sandbox.limits import SPOT_BUDGET
from crypto_assets.sandbox.process import SandboxProcess
from crypto_assets.settings import Settings

MIN_SHARE = 95.0
MAX_BUDGET_MS = 1.0

_LATENCY_MS = 100
_THREADS = 8  # one request in flight at this latency uses a fifth of the budget
_MINUTE_S = 60
_LOOK_S = 3.0  # the sandbox remembers 1000 requests; 50 a second are made


class BudgetSection:
    """Whole minutes of the sandbox's clock against its real budgets; `arguments` start it, `start` is in ms."""

    def __init__(
        self, minutes: int, arguments: list[str], start: int, report: Report, say: Callable[[str], None]
    ) -> None:
        self._minutes, self._start, self._report, self._say = minutes, start, report, say
        self._arguments = [*arguments, "--latency-ms", str(_LATENCY_MS)]
        self._reserve = float(Settings.model_fields["weight_reserve"].default)
        self._section = (
            f"9. Request budget, {SPOT_BUDGET} a minute, {_LATENCY_MS} ms latency, {_THREADS} threads a process, "
            f"{self._reserve:.0%} left for others, {minutes} full minutes"
        )

    def measure(self) -> None:
        """Adds the section to the report."""
        for processes in (1, 3):
            self._spend(processes)

    def _spend(self, processes: int) -> None:
        who = "1 process" if processes == 1 else f"{processes} processes"
        self._say(f"spending the request budget, {who}")
        with ExitStack() as stack:
            sandbox = stack.enter_context(SandboxProcess(self._arguments))
            directory = stack.enter_context(tempfile.TemporaryDirectory())
            pool = stack.enter_context(ThreadPoolExecutor(processes))
            now = time.time()
            first = int(now // _MINUTE_S) + 1
            ends = (first + self._minutes) * _MINUTE_S
            options = {"threads": _THREADS, "until": ends + 1, "start": self._start, "reserve": self._reserve}
            runs = [
                pool.submit(run, "benchmarks.spending", url=sandbox.url, state_directory=directory, **options)
                for _ in range(processes)
            ]
            used: dict[int, int] = defaultdict(int)
            log: dict[str, Any] = {}
            while not all(each.done() for each in runs):
                time.sleep(_LOOK_S)
                with urllib.request.urlopen(f"{sandbox.url}/sandbox/requests") as answer:  # noqa: S310 - loopback
                    log = json.load(answer)
                for asked in log["recent"]:
                    minute = asked["time_ms"] // 1000 // _MINUTE_S
                    used[minute] = max(used[minute], asked["used_weight"])
            results = [each.result() for each in runs]
        shares = [100 * used[first + each] / SPOT_BUDGET for each in range(self._minutes)]
        refused = sum(count for status, count in log["by_status"].items() if status in ("418", "429"))
        cost = max(each["budget_ms"] for each in results)
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
            Figure(
                f"{who}: CPU of the budget for a request, of {max(each['all_ms'] for each in results):.1f} ms in all",
                cost,
                "ms",
                target=f"< {MAX_BUDGET_MS:.0f} ms",
                met=cost < MAX_BUDGET_MS,
            ),
        )
        requests = " + ".join(str(each["requests"]) for each in results)
        self._report.notes.append(
            f"Budget, {who}: {', '.join(f'{share:.1f}' for share in shares)} % minute by minute; {requests} requests."
        )
