"""What `kill -9` costs: backfills from the command line killed again and again at random moments, then one that ends.

Here belong the killing and the counting of what was asked for more than once. The sandbox runs in this process, so that
its journal says when to kill; nothing is timed.
"""

from __future__ import annotations

import random
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np

from benchmarks.backfills import Backfill
from benchmarks.collecting import TABLE
from benchmarks.report import Figure, Report
from crypto_assets.domain.entities import PROVIDER, MarketType
from crypto_assets.domain.intervals import DAY_MS, MINUTE_MS
from crypto_assets.exchange.binance.weights import PAGE_ROWS
from crypto_assets.sandbox.generated import GeneratedDataset
from crypto_assets.sandbox.server import RunningSandbox
from crypto_assets.settings import Settings

_PAGE = PAGE_ROWS[MarketType.SPOT]
_SEED = 20_240_801
_LATENCY_MS = 20
_LOOK_S = 0.002
_MOST_DELAY_S = 0.1  # between two answers much happens: parsing, writing, waiting; the kill shall hit any of it
_COMPARED = {TABLE: f"binance_{TABLE}.db", "crypto_kdata_coverage": "binance_crypto_quality.db"}


@dataclass
class _Asked:
    """How often each candle of the window was asked for, by symbol, and in how many requests."""

    start: int
    minutes: int
    requests: int = 0
    times: dict[str, np.ndarray[Any, np.dtype[np.int32]]] = field(default_factory=dict)

    def take(self, sandbox: RunningSandbox) -> None:
        """Adds what the journal holds, and forgets it there."""
        for each in sandbox.requests.take():
            query = {name: values[0] for name, values in parse_qs(each.query).items()}
            if each.path.endswith("klines") and int(query["limit"]) > 1:
                first, last = (int(query[name]) - self.start for name in ("startTime", "endTime"))
                end = min(last // MINUTE_MS + 1, -(-first // MINUTE_MS) + int(query["limit"]))
                times = self.times.setdefault(query["symbol"], np.zeros(self.minutes, np.int32))
                times[max(0, -(-first // MINUTE_MS)) : max(0, end)] += 1
                self.requests += 1

    @property
    def pages(self) -> float:
        """Pages of candles that were asked for at all."""
        return sum(int((times > 0).sum()) for times in self.times.values()) / _PAGE

    @property
    def pages_again(self) -> float:
        """Pages of candles that were asked for more than once, once for each time more."""
        return sum(int((times[times > 0] - 1).sum()) for times in self.times.values()) / _PAGE


class KillsSection:
    """`kills` of a backfill of `days` from `start` (ms) with each number of pages in flight."""

    def __init__(
        self, genesis: int, start: int, days: int, kills: int, report: Report, say: Callable[[str], None]
    ) -> None:
        self._start, self._days, self._kills, self._report, self._say = start, days, kills, report, say
        self._dataset = GeneratedDataset(genesis_ms=genesis)
        self._symbols = ["BTC/USDT", "ETH/USDT", "SOL/USDT", "BNB/USDT"]

    def measure(self, directory: Path) -> None:
        """Adds the section, working in `directory`, which is empty and deleted by the caller."""
        with RunningSandbox(self._dataset, spot_budget=None, futures_budget=None, latency_ms=_LATENCY_MS) as sandbox:
            self._say("a backfill that nobody kills")
            whole = self._backfill(sandbox, directory / "whole", 1)
            requests = self._end(sandbox, whole, self._asked()).requests
            for in_flight in (1, Settings.model_fields["pages_in_flight"].default):
                killed = self._backfill(sandbox, directory / f"killed-{in_flight}", in_flight)
                self._kill(sandbox, killed, whole, requests)

    def _kill(self, sandbox: RunningSandbox, backfill: Backfill, whole: Backfill, requests: int) -> None:
        asked, chance = self._asked(), random.Random(_SEED)
        pages = len(self._symbols) * self._days * DAY_MS / MINUTE_MS / _PAGE
        for number in range(self._kills):
            self._say(f"{backfill.in_flight} in flight, kill {number + 1} of {self._kills}")
            # Of what is left, so that the last one, too, is killed before its end.
            after = chance.uniform(0, 2 * (pages - asked.pages) / (self._kills - number + 1))
            process = backfill.begin()
            while sandbox.requests.total < after and process.poll() is None:
                time.sleep(_LOOK_S)
            time.sleep(chance.uniform(0, _MOST_DELAY_S))
            process.kill()
            _, said = process.communicate()
            if process.returncode != -signal.SIGKILL:
                raise RuntimeError(f"a backfill ended before it was killed, exit code {process.returncode}: {said}")
            asked.take(sandbox)
        killed = asked.requests
        self._end(sandbox, backfill, asked)
        backfill.end(backfill.begin())
        idle = sandbox.requests.total
        sandbox.requests.reset()
        differing = _differing(whole.data, backfill.data)
        again, most_idle = (asked.requests - requests) / self._kills, 1
        in_flight = backfill.in_flight
        who = f"{in_flight} in flight"
        self._report.add(
            f"11. kill -9, {self._kills} times in a backfill of {len(self._symbols)} x {self._days} days of 1m",
            Figure(
                f"{who}: rows unlike those of a run nobody killed", differing, "", None, None, "0", not differing, 0
            ),
            Figure(f"{who}: requests more for a kill", again, "", None, None, f"<= {in_flight}", again <= in_flight),
            Figure(f"{who}: candles asked for again for a kill, in pages", asked.pages_again / self._kills, ""),
            Figure(
                f"{who}: requests with nothing to do", idle, "", None, None, f"<= {most_idle}", idle <= most_idle, 0
            ),
        )
        self._report.notes.append(f"Kills, {who}: {killed:,} requests before the last kill, {requests:,} without any.")

    def _asked(self) -> _Asked:
        return _Asked(self._start, self._days * DAY_MS // MINUTE_MS)

    def _backfill(self, sandbox: RunningSandbox, place: Path, in_flight: int) -> Backfill:
        """One that is prepared, with the journal empty."""
        backfill = Backfill(sandbox.url, place, self._symbols, self._start, self._days, in_flight, place)
        backfill.prepare()
        sandbox.requests.reset()
        return backfill

    def _end(self, sandbox: RunningSandbox, backfill: Backfill, asked: _Asked) -> _Asked:
        """Lets it run to its end; the journal, which holds a thousand requests, is read meanwhile."""
        process = backfill.begin()
        while process.poll() is None:
            time.sleep(_LOOK_S)
            asked.take(sandbox)
        backfill.end(process)
        asked.take(sandbox)
        return asked


def _differing(whole: Path, killed: Path) -> int:
    """Rows that one of the two has and the other has not."""
    count = 0
    for table, file in _COMPARED.items():
        ours, theirs = (str(data / PROVIDER / file) for data in (killed, whole))
        columns = "*" if table == TABLE else "entity_id, level, partition, expected, present, digest, source"
        with closing(sqlite3.connect(ours)) as connection:
            connection.execute("ATTACH ? AS whole", (theirs,))
            for one, other in (("main", "whole"), ("whole", "main")):
                rows = (f"SELECT {columns} FROM {schema}.{table}" for schema in (one, other))
                count += connection.execute(f"SELECT count(*) FROM ({' EXCEPT '.join(rows)})").fetchone()[0]
    return count
