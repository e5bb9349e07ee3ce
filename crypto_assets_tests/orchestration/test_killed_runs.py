"""A collecting process killed at any moment: what is stored is valid, and the next run completes it."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from crypto_assets.collect.run import collect_table
from crypto_assets.collect.symbols import populate_markets
from crypto_assets.database.engines import open_database
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import DAY_MS, Interval
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.binance.client import BinanceExchange
from crypto_assets.frames.candles import LOOKBACK
from crypto_assets_tests.sandboxed_project import CLOCK, Clock, running_sandbox

TABLE = "cryptopair_1m_kdata"
WINDOW = Span(CLOCK - CLOCK % DAY_MS - 4 * DAY_MS, CLOCK - CLOCK % DAY_MS)

COLLECT = f"""
import sys
from crypto_assets.database.engines import open_database
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.binance.client import BinanceExchange
from crypto_assets.collect import candles
from crypto_assets.collect.run import collect_table


class Telling(BinanceExchange):
    def candle_pages(self, *asked):
        for page in super().candle_pages(*asked):
            print("page", flush=True)
            yield page


url, directory, in_flight = sys.argv[1:]
exchange = Telling("sandbox", spot_url=url, futures_url=url, in_flight=int(in_flight))
database = open_database(f"sqlite:///{{directory}}", "sandbox")
collect_table(exchange, database, {TABLE!r}, ["BTC/USDT", "ETH/USDT", "SOL/USDT"], Span(*{tuple(WINDOW)}),
              only_missing=True)
print("done", flush=True)
"""


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


@pytest.mark.parametrize("pages_before_the_kill", [1, 10, 14])
def test_a_killed_run_leaves_valid_rows_and_the_next_one_completes_them(tmp_path, pages_before_the_kill):
    with running_sandbox(Clock()) as sandbox:
        exchange = BinanceExchange("sandbox", spot_url=sandbox.url, futures_url=sandbox.url)
        whole = prepared(tmp_path / "whole", exchange)
        symbols = ["BTC/USDT", "ETH/USDT", "SOL/USDT"]
        collect_table(exchange, whole, TABLE, symbols, WINDOW, only_missing=True)
        prepared(tmp_path / "killed", exchange).dispose()

        command = [sys.executable, "-c", COLLECT, sandbox.url, str(tmp_path / "killed"), "1"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            for _ in range(pages_before_the_kill):
                assert process.stdout.readline() == "page\n"
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL

        reference, left = stored(tmp_path / "whole"), stored(tmp_path / "killed")
        assert len(left) < len(reference)
        # Six pages a symbol. The one that was on its way is lost, and no other.
        symbols_done, pages_done = divmod(pages_before_the_kill - 1, 6)
        assert len(left) >= symbols_done * Interval.M1.count(*WINDOW) + max(0, pages_done * 1000 - LOOKBACK)
        assert set(left) <= set(reference)

        asked_before = sandbox.requests.total
        finished = subprocess.run(command, capture_output=True, text=True, check=True)
        assert finished.stdout.endswith("done\n")
        assert stored(tmp_path / "killed") == reference
        missing = len(reference) - len(left) + 3 * 2 * LOOKBACK
        pages = sandbox.requests.total - asked_before
        assert pages <= missing // 1000 + 3 + 1  # a short page a symbol, and the clock
    assert Interval.M1.count(*WINDOW) * 3 == len(reference)


@pytest.mark.parametrize("in_flight", [1, 4])
def test_each_kill_costs_at_most_the_pages_that_were_in_flight(tmp_path, in_flight):
    kills = 3
    with running_sandbox(Clock()) as sandbox:
        exchange = BinanceExchange("sandbox", spot_url=sandbox.url, futures_url=sandbox.url)
        prepared(tmp_path / "killed", exchange).dispose()
        command = [sys.executable, "-c", COLLECT, sandbox.url, str(tmp_path / "killed"), str(in_flight)]
        sandbox.requests.reset()
        for _ in range(kills):
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                for _ in range(3):
                    assert process.stdout.readline() == "page\n"
                process.send_signal(signal.SIGKILL)
            assert process.returncode == -signal.SIGKILL
        finished = subprocess.run(command, capture_output=True, text=True, check=True)
        assert finished.stdout.endswith("done\n")
        assert len(stored(tmp_path / "killed")) == Interval.M1.count(*WINDOW) * 3
        pages = sandbox.requests.by_path["/api/v3/klines"]
        assert pages - 6 * 3 <= kills * in_flight
        asked_before = sandbox.requests.total
        subprocess.run(command, capture_output=True, check=True)
        assert sandbox.requests.total - asked_before == 1, "the clock"
