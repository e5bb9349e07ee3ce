"""One budget for several machines: real processes with directories of their own, one server's database, real HTTP."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from sqlalchemy import select, update
from sqlalchemy.engine import make_url

from crypto_assets.collect.shared_budget import ASK_AGAIN_S, DatabaseStore
from crypto_assets.database.engines import open_database
from crypto_assets.database.errors import DatabaseError
from crypto_assets.database.migrations import migrate
from crypto_assets.database.shared_state import TABLE, SharedState
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import parse_time
from crypto_assets.exchange import RateLimited, RetryPolicy
from crypto_assets.exchange.binance.client import BinanceExchange
from crypto_assets.exchange.budget.account import Ledger
from crypto_assets.sandbox.generated import GeneratedDataset
from crypto_assets.sandbox.server import RunningSandbox

SPOT = MarketType.SPOT
SPEED = 60  # of the clock that the sandbox and its clients keep: a minute is a second
BUDGET, TIMES = 200, 150
SERVERS = pytest.mark.parametrize("engine", ["postgresql", "mysql"])

OPENING = """
import json, sys, time
from pathlib import Path
from crypto_assets.database.shared_state import SharedState
from crypto_assets.domain.entities import MarketType
from crypto_assets.exchange import RateLimited, RetryPolicy
from crypto_assets.exchange.binance.client import BinanceExchange
from crypto_assets.collect.shared_budget import DatabaseStore

def exchange(url, database, directory, address, **options):
    store = DatabaseStore(SharedState(database, "sandbox"))
    return BinanceExchange(
        "sandbox", spot_url=url, futures_url=url, state_directory=Path(directory), wider_store=store,
        outgoing_address=address, **options
    )
"""

# A machine of its own: asks for a candle so many times, by a clock of which a minute is a second and that is so many
# seconds off, and prints what came of it.
SPENDING = f"""{OPENING}
*where, started, off, times = sys.argv[1:]
started, off = float(started), float(off)
machine = exchange(
    *where, weight_reserve=0.03, sleep=lambda seconds: time.sleep(seconds / {SPEED}),
    clock=lambda: started + (time.time() - started) * {SPEED} + off,
)
machine.markets(MarketType.SPOT)
for _ in range(int(times)):
    machine.last_candle_time(MarketType.SPOT, "BTCUSDT")
print(json.dumps({{"requests": machine.requests}}))
"""

# A machine that asks for the time once, with the patience of the last argument, and prints the answer or the refusal.
ASKING = f"""{OPENING}
*where, patience_s = sys.argv[1:]
machine = exchange(*where, retry=RetryPolicy(max_retry_after_s=float(patience_s)))
try:
    print(json.dumps({{"time": machine.server_time(MarketType.SPOT)}}))
except RateLimited as error:
    print(json.dumps({{"refused": str(error), "banned": error.banned, "retry_after_s": error.retry_after_s}}))
"""


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def result(process: subprocess.Popen[str]) -> dict:
    printed, complaint = process.communicate(timeout=120)
    assert process.returncode == 0, complaint
    assert "not shared" not in complaint
    return json.loads(printed)


def dataset() -> GeneratedDataset:
    return GeneratedDataset(genesis_ms=parse_time("2023-03-17"), clock=lambda: parse_time("2023-03-22"))


@pytest.fixture
def sandbox():
    with RunningSandbox(dataset(), spot_budget=None, futures_budget=None) as running:
        yield running


def store_in(url: str, **options) -> DatabaseStore:
    return DatabaseStore(SharedState(url, "sandbox"), **options)


def machine_at(sandbox, database_url, directory, address="", patience_s=120.0):
    return BinanceExchange(
        "sandbox",
        spot_url=sandbox.url,
        futures_url=sandbox.url,
        state_directory=directory,
        wider_store=store_in(database_url),
        outgoing_address=address,
        retry=RetryPolicy(max_retry_after_s=patience_s),
    )


def fast_sandbox(started: float) -> RunningSandbox:
    return RunningSandbox(dataset(), spot_budget=BUDGET, now=lambda: started + (time.time() - started) * SPEED)


@SERVERS
def test_two_machines_whose_clocks_differ_spend_one_budget_over_several_minutes_without_a_429(database_url, tmp_path):
    started = time.time()
    with fast_sandbox(started) as fast:
        running = [
            start(SPENDING, fast.url, database_url, tmp_path / name, "", started, off, TIMES)
            for name, off in (("one", 0), ("other", 600))
        ]
        assert [result(each)["requests"] for each in running] == [TIMES + 1] * 2
        assert fast.requests.by_status == {200: 2 * (TIMES + 1)}
        assert BUDGET // 2 < fast.requests.max_used_weight <= BUDGET


@SERVERS
def test_a_429_that_one_machine_hears_fences_the_other_until_it_has_passed(sandbox, database_url, tmp_path):
    sandbox.faults.add("rate_limited:retry_after=2,times=1")
    with closing(machine_at(sandbox, database_url, tmp_path / "one", patience_s=0)) as one:
        with pytest.raises(RateLimited, match="asked too often"):
            one.server_time(SPOT)
        refused_ms = sandbox.requests.recent()[0].time_ms
        impatient = start(ASKING, sandbox.url, database_url, tmp_path / "two", "", 0)
        patient = start(ASKING, sandbox.url, database_url, tmp_path / "three", "", 60)
        said = result(impatient)
        # On a slow machine the two seconds may be over before this process asks.
        assert "time" in said or "was not asked: it must be left alone until" in said["refused"]
        assert result(patient)["time"] == parse_time("2023-03-22")
    assert all(asked.time_ms >= refused_ms + 2000 for asked in sandbox.requests.recent()[1:])


@SERVERS
def test_a_ban_of_one_machine_silences_the_others_of_its_address_only(sandbox, database_url, tmp_path):
    sandbox.faults.add("banned:retry_after=3600,times=1")
    with (
        closing(machine_at(sandbox, database_url, tmp_path / "one", "office")) as one,
        pytest.raises(RateLimited, match="has banned"),
    ):
        one.server_time(SPOT)
    said = result(start(ASKING, sandbox.url, database_url, tmp_path / "two", "office", 120))
    assert said["banned"]
    assert 3000 < said["retry_after_s"] <= 3601
    assert f"time at {sandbox.url} was not asked: it has banned this address until 2" in said["refused"]
    assert sandbox.requests.total == 1
    for address in ("", "cloud"):
        elsewhere = result(start(ASKING, sandbox.url, database_url, tmp_path / "three", address, 120))
        assert elsewhere["time"] == parse_time("2023-03-22")


def contents(url: str) -> dict[str, Ledger]:
    opened = open_database(url, "sandbox")
    with opened.connect(TABLE) as connection:
        found = {row.host: Ledger.from_json(row.state) for row in connection.execute(select(TABLES[TABLE]))}
    opened.dispose()
    return found


@SERVERS
def test_each_market_and_address_is_a_row(sandbox, database_url, tmp_path):
    for address in ("", "office"):
        with closing(machine_at(sandbox, database_url, tmp_path, address)) as machine:
            machine.server_time(SPOT)
            machine.server_time(SPOT)
            machine.server_time(MarketType.SWAP)
    host = sandbox.url.removeprefix("http://")
    rows = contents(database_url)
    assert {name: [each.leased for each in ledger.windows.values()] for name, ledger in rows.items()} == {
        f"1 spot {host}": [2],
        f"1 spot {host} from office": [2],
        f"1 swap {host}": [1],
        f"1 swap {host} from office": [1],
    }


def add(store: DatabaseStore, count: int = 1) -> None:
    for _ in range(count):
        store.change("host", lambda ledger: ledger.limits.update(n=ledger.limits.get("n", 0) + 1))


def total(store: DatabaseStore) -> int:
    return store.change("host", lambda ledger: ledger.limits.get("n", 0))


@SERVERS
def test_a_database_that_was_not_migrated_yet_is_told_once_and_shared_from_then_on(empty_url, caplog):
    now = [0.0]
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            with closing(store_in(empty_url, seconds=lambda: now[0])) as store:
                add(store, count=2)
                assert total(store) == 0, "nothing is held back by what nobody else knows"
                database = open_database(empty_url, "sandbox")
        migrate(database)
        database.dispose()
        now[0] += ASK_AGAIN_S
        with closing(store_in(empty_url, seconds=lambda: now[0])) as other:
            add(store)
            add(other)
            assert total(store) == total(other) == 2
        store.close()
    assert len(caplog.messages) == 1
    assert "never migrated; run crypto-assets migrate" in caplog.messages[0]
    assert "not shared with other machines for now" in caplog.messages[0]


@SERVERS
def test_a_ledger_that_cannot_be_read_is_told(database_url, caplog):
    with closing(store_in(database_url)) as store:
        add(store)
    opened = open_database(database_url, "sandbox")
    with opened.begin(TABLE) as connection:
        connection.execute(update(TABLES[TABLE]).values(state='{"limits": 1}'))
    opened.dispose()
    with caplog.at_level(logging.WARNING), closing(store_in(database_url)) as store:
        add(store)
        assert total(store) == 0
    assert ["not a ledger" in each for each in caplog.messages] == [True]


class Stuck(SharedState):
    """A database that always takes too long."""

    def __init__(self) -> None:
        super().__init__("postgresql+psycopg://127.0.0.1:1/stuck", "sandbox")
        self.asked = 0

    def change(self, name, apply):  # noqa: ARG002
        self.asked += 1
        raise DatabaseError("it has been used for too long")


def test_a_stuck_database_holds_up_one_thread_once_a_minute():
    now, state = [0.0], Stuck()
    store = DatabaseStore(state, seconds=lambda: now[0])
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: add(store), range(8)))
    assert state.asked == 1
    now[0] += ASK_AGAIN_S - 1
    add(store)
    assert state.asked == 1
    now[0] += 1
    add(store, count=3)
    assert state.asked == 2


@pytest.mark.parametrize("scheme", ["postgresql+psycopg", "mysql+pymysql"])
def test_a_server_that_is_gone_is_told_once_and_requests_go_on(sandbox, tmp_path, caplog, scheme):
    url = make_url(f"{scheme}://user:secret@127.0.0.1:1/market").render_as_string(hide_password=False)
    with caplog.at_level(logging.WARNING), closing(machine_at(sandbox, url, tmp_path)) as machine:
        for _ in range(3):
            assert machine.server_time(SPOT) == parse_time("2023-03-22")
    assert len(caplog.messages) == 1
    assert "cannot be reached" in caplog.messages[0]
    assert "secret" not in caplog.messages[0]


@SERVERS
def test_a_table_that_goes_in_the_middle_of_a_run_is_told_once_and_requests_go_on(sandbox, empty_url, tmp_path, caplog):
    database = open_database(empty_url, "sandbox")
    migrate(database)
    with caplog.at_level(logging.WARNING), closing(machine_at(sandbox, empty_url, tmp_path)) as machine:
        assert machine.server_time(SPOT) == parse_time("2023-03-22")
        assert caplog.messages == []
        database.remove("crypto_operations")
        for _ in range(3):
            assert machine.server_time(SPOT) == parse_time("2023-03-22")
    database.dispose()
    assert ["lacks a" in each for each in caplog.messages] == [True]
