"""A collecting process killed at any moment: what is stored is valid, and the next run completes it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from crypto_assets.collect.run import collect_table
from crypto_assets.collect.symbols import populate_markets
from crypto_assets.database.engines import open_database
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import DAY_MS, Interval
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.binance.client import BinanceExchange
from crypto_assets.frames.candles import LOOKBACK
from crypto_assets_tests.sandboxed_project import CLOCK, Clock, running_sandbox

TABLE = "cryptopair_1m_kdata"
PAGES = 5  # of a symbol: three days of minutes, and twenty before and after them
WINDOW = Span(CLOCK - CLOCK % DAY_MS - 3 * DAY_MS, CLOCK - CLOCK % DAY_MS)

COLLECT = f"""
import json, os, sys
from crypto_assets.database.engines import open_database
from crypto_assets.domain.series import CandleTable
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.binance.client import BinanceExchange
from crypto_assets.collect import candles
from crypto_assets.collect.run import collect_table


class Telling(BinanceExchange):
    def candle_pages(self, *asked):
        for page in super().candle_pages(*asked):
            print("page", flush=True)
            yield page


def collect(url, directory, in_flight):
    exchange = Telling("sandbox", spot_url=url, futures_url=url, in_flight=in_flight)
    database = open_database(f"sqlite:///{{directory}}", "sandbox")
    table = CandleTable.named({TABLE!r})
    collect_table(exchange, database, table, ["BTC/USDT", "ETH/USDT", "SOL/USDT"], Span(*{tuple(WINDOW)}),
                  only_missing=True)
    print("done", flush=True)


for line in sys.stdin:
    child = os.fork()
    if not child:
        try:
            print(os.getpid(), flush=True)
            collect(*json.loads(line))
        finally:
            os._exit(1 if sys.exc_info()[0] else 0)
    print("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Collector:
    """Collects in processes of their own, forked from one that has imported what they need."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def begin(self, url: str, directory: Path, in_flight: int = 1) -> int:
        """The id of a process that collects."""
        self._process.stdin.write(json.dumps([url, str(directory), in_flight]) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def kill_after(self, pages: int, *asked: Any) -> None:
        """Collects until so many pages have come."""
        child = self.begin(*asked)
        for _ in range(pages):
            assert self._process.stdout.readline() == "page\n"
        os.kill(child, signal.SIGKILL)
        assert self._rest()[-1] == f"ended {-signal.SIGKILL}\n"

    def finish(self, *asked: Any) -> None:
        """Collects to the end."""
        self.begin(*asked)
        assert self._rest()[-2:] == ["done\n", "ended 0\n"]

    def _rest(self) -> list[str]:
        lines = [self._process.stdout.readline()]
        while not lines[-1].startswith("ended"):
            assert lines[-1], "it broke down"
            lines.append(self._process.stdout.readline())
        return lines


@pytest.fixture(scope="module")
def collector():
    command = [sys.executable, "-c", COLLECT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Collector(process)


def stored(directory):
    database = open_database(f"sqlite:///{directory}", "sandbox")
    with database.connect(TABLE) as connection:
        rows = connection.exec_driver_sql(f"SELECT * FROM {TABLE} ORDER BY entity_id, timestamp").all()
    database.dispose()
    return [tuple(row) for row in rows]


def prepared(directory, exchange):
    from crypto_assets.database.migrations import migrate  # noqa: PLC0415 - loads alembic

    database = open_database(f"sqlite:///{directory}", "sandbox")
    migrate(database, [TABLE, "crypto_meta", "crypto_quality"])
    symbols = ("BTC/USDT", "ETH/USDT", "SOL/USDT")
    populate_markets(database, exchange, MarketType.SPOT, symbols, exchange.server_time(MarketType.SPOT))
    return database


@pytest.mark.parametrize("pages_before_the_kill", [1, 8, 12])
def test_a_killed_run_leaves_valid_rows_and_the_next_one_completes_them(collector, tmp_path, pages_before_the_kill):
    with running_sandbox(Clock()) as sandbox:
        exchange = BinanceExchange("sandbox", spot_url=sandbox.url, futures_url=sandbox.url)
        whole = prepared(tmp_path / "whole", exchange)
        symbols = ["BTC/USDT", "ETH/USDT", "SOL/USDT"]
        collect_table(exchange, whole, KDATA_TABLES[TABLE], symbols, WINDOW, only_missing=True)
        prepared(tmp_path / "killed", exchange).dispose()

        collector.kill_after(pages_before_the_kill, sandbox.url, tmp_path / "killed")

        reference, left = stored(tmp_path / "whole"), stored(tmp_path / "killed")
        assert len(left) < len(reference)
        # The page that was on its way is lost, and no other.
        symbols_done, pages_done = divmod(pages_before_the_kill - 1, PAGES)
        assert len(left) >= symbols_done * Interval.M1.count(*WINDOW) + max(0, pages_done * 1000 - LOOKBACK)
        assert set(left) <= set(reference)

        asked_before = sandbox.requests.total
        collector.finish(sandbox.url, tmp_path / "killed")
        assert stored(tmp_path / "killed") == reference
        missing = len(reference) - len(left) + 3 * 2 * LOOKBACK
        pages = sandbox.requests.total - asked_before
        assert pages <= missing // 1000 + 3 + 1  # a short page a symbol, and the clock
    assert Interval.M1.count(*WINDOW) * 3 == len(reference)


@pytest.mark.parametrize("in_flight", [1, 4])
def test_each_kill_costs_at_most_the_pages_that_were_in_flight(collector, tmp_path, in_flight):
    kills = 3
    with running_sandbox(Clock()) as sandbox:
        exchange = BinanceExchange("sandbox", spot_url=sandbox.url, futures_url=sandbox.url)
        prepared(tmp_path / "killed", exchange).dispose()
        sandbox.requests.reset()
        asked = (sandbox.url, tmp_path / "killed", in_flight)
        for _ in range(kills):
            collector.kill_after(3, *asked)
        collector.finish(*asked)
        assert len(stored(tmp_path / "killed")) == Interval.M1.count(*WINDOW) * 3
        pages = sandbox.requests.by_path["/api/v3/klines"]
        assert pages - PAGES * 3 <= kills * in_flight
        asked_before = sandbox.requests.total
        collector.finish(*asked)
        assert sandbox.requests.total - asked_before == 1, "the clock"
