"""One budget for several processes: the file they share, what happens to it, and real processes over real HTTP."""

from __future__ import annotations

import json
import logging
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import parse_time
from crypto_assets.exchange import RateLimited, RetryPolicy
from crypto_assets.exchange.binance.client import BinanceExchange
from crypto_assets.exchange.binance.weights import quotas_of
from crypto_assets.exchange.budget.budget import WeightBudget
from crypto_assets.exchange.budget.store import FILE_NAME, FileStore, SharedStore
from crypto_assets.sandbox.generated import GeneratedDataset
from crypto_assets.sandbox.server import RunningSandbox

SPOT = MarketType.SPOT
SPEED = 60  # of the clock that the sandbox and its clients keep: a minute is a second

# Asks for a candle so many times, by a clock of which a minute is a second, and prints what came of it.
SPENDING = f"""
import json, sys, time
from pathlib import Path
from crypto_assets.domain.entities import MarketType
from crypto_assets.exchange.binance.client import BinanceExchange
url, directory, started, times = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
exchange = BinanceExchange(
    "sandbox", spot_url=url, futures_url=url, state_directory=directory, weight_reserve=0.03,
    sleep=lambda seconds: time.sleep(seconds / {SPEED}),
    clock=lambda: started + (time.time() - started) * {SPEED},
)
exchange.markets(MarketType.SPOT)
for _ in range(times):
    exchange.last_candle_time(MarketType.SPOT, "BTCUSDT")
print(json.dumps({{"requests": exchange.requests}}))
"""

# Asks for the time once, with the patience of the third argument, and prints the answer or the refusal.
ASKING = """
import json, sys
from pathlib import Path
from crypto_assets.domain.entities import MarketType
from crypto_assets.exchange import RateLimited, RetryPolicy
from crypto_assets.exchange.binance.client import BinanceExchange
url, directory, patience_s = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
exchange = BinanceExchange(
    "sandbox", spot_url=url, futures_url=url, state_directory=directory, retry=RetryPolicy(max_retry_after_s=patience_s)
)
try:
    print(json.dumps({"time": exchange.server_time(MarketType.SPOT)}))
except RateLimited as error:
    print(json.dumps({"refused": str(error), "banned": error.banned, "retry_after_s": error.retry_after_s}))
"""


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def result(process: subprocess.Popen[str]) -> dict:
    printed, complaint = process.communicate(timeout=120)
    assert process.returncode == 0, complaint
    return json.loads(printed)


def dataset() -> GeneratedDataset:
    return GeneratedDataset(genesis_ms=parse_time("2023-03-17"), clock=lambda: parse_time("2023-03-22"))


@pytest.fixture
def sandbox():
    with RunningSandbox(dataset(), spot_budget=None, futures_budget=None) as running:
        yield running


def exchange_at(url, directory, patience_s=120.0):
    return BinanceExchange(
        "sandbox",
        spot_url=url,
        futures_url=url,
        state_directory=directory,
        retry=RetryPolicy(max_retry_after_s=patience_s),
    )


def test_three_processes_at_once_spend_one_budget_over_several_minutes_without_a_429(tmp_path):
    started, budget, times = time.time(), 200, 150
    with RunningSandbox(dataset(), spot_budget=budget, now=lambda: started + (time.time() - started) * SPEED) as fast:
        running = [start(SPENDING, fast.url, tmp_path, started, times) for _ in range(3)]
        asked = [result(each)["requests"] for each in running]
        assert asked == [times + 1] * 3
        assert fast.requests.by_status == {200: 3 * (times + 1)}
        assert budget // 2 < fast.requests.max_used_weight <= budget


def test_a_429_fences_every_process_until_it_has_passed(sandbox, tmp_path):
    sandbox.faults.add("rate_limited:retry_after=2,times=1")
    with closing(exchange_at(sandbox.url, tmp_path, patience_s=0)) as exchange:
        with pytest.raises(RateLimited, match="asked too often"):
            exchange.server_time(SPOT)
        refused_ms = sandbox.requests.recent()[0].time_ms
        impatient, patient = start(ASKING, sandbox.url, tmp_path, 0), start(ASKING, sandbox.url, tmp_path, 60)
        said = result(impatient)
        # On a slow machine the two seconds may be over before this process asks.
        assert "time" in said or "was not asked: it must be left alone until" in said["refused"]
        assert result(patient)["time"] == parse_time("2023-03-22")
    assert all(asked.time_ms >= refused_ms + 2000 for asked in sandbox.requests.recent()[1:])


def test_a_ban_silences_every_process_with_one_sentence_each(sandbox, tmp_path):
    sandbox.faults.add("banned:retry_after=3600,times=1")
    with closing(exchange_at(sandbox.url, tmp_path)) as exchange, pytest.raises(RateLimited, match="has banned"):
        exchange.server_time(SPOT)
    said = result(start(ASKING, sandbox.url, tmp_path, 120))
    assert said["banned"]
    # The text states it in milliseconds of a clock that the header has in whole seconds.
    assert 3000 < said["retry_after_s"] <= 3601
    assert f"time at {sandbox.url} was not asked: it has banned this address until 2" in said["refused"]
    assert sandbox.requests.total == 1
    with closing(exchange_at(sandbox.url, tmp_path)) as exchange:
        # Binance bans from spot and from futures apart.
        assert exchange.server_time(MarketType.SWAP) == parse_time("2023-03-22")


def test_a_wait_is_told_once_on_the_machine(server, answer, tmp_path, fake_time, caplog):
    options = {"spot_url": server.url, "state_directory": tmp_path, "sleep": fake_time.sleep, "clock": fake_time.clock}
    server.always["time"] = answer({"serverTime": 1})
    server.answers.append(answer(status=429, body={"code": -1003, "msg": "x"}, headers={"Retry-After": "7"}))
    with closing(BinanceExchange("sandbox", **options)) as one, closing(BinanceExchange("sandbox", **options)) as other:
        assert one.server_time(SPOT) == other.server_time(SPOT) == 1
        # The other one's request was under way, too, and hears the same.
        assert not other._connection(SPOT).budget.fence(0, banned=False)  # noqa: SLF001
    assert [f"time at {server.url} is asked too often" in each for each in caplog.messages] == [True]
    assert fake_time.slept == [7.0]


def add(store, name="host", count=1):
    for _ in range(count):
        store.change(name, lambda ledger: ledger.limits.update(n=ledger.limits.get("n", 0) + 1))


def total(store, name="host"):
    return store.change(name, lambda ledger: ledger.limits.get("n", 0))


def test_threads_and_connections_change_a_ledger_one_at_a_time(tmp_path):
    stores = [FileStore(tmp_path) for _ in range(3)]
    with ThreadPoolExecutor(6) as pool:
        for each in [pool.submit(add, stores[number % 3], "host", 100) for number in range(6)]:
            each.result()
    assert [total(store) for store in stores] == [600] * 3
    assert total(stores[0], "another host") == 0
    for store in stores:
        store.close()


def test_nothing_is_kept_of_a_change_that_breaks(tmp_path):
    with closing(FileStore(tmp_path)) as store:
        add(store)
        with pytest.raises(ZeroDivisionError):
            store.change("host", lambda ledger: ledger.limits.update(n=1 // 0))
        add(store)
        assert total(store) == 2


def test_a_file_deleted_while_it_is_used_is_made_again_and_shared_again(tmp_path):
    one, other = FileStore(tmp_path / "state"), FileStore(tmp_path / "state")
    add(one)
    add(other)
    for file in (tmp_path / "state").iterdir():
        file.unlink()
    (tmp_path / "state").rmdir()
    add(one)
    add(other)
    assert total(one) == total(other) == 2
    one.close()
    other.close()


def garbage(directory):
    (directory / FILE_NAME).write_bytes(b"not a database, but longer than the header of one" * 10)


def another_table(directory):
    with closing(sqlite3.connect(directory / FILE_NAME)) as connection, connection:
        connection.execute("CREATE TABLE ledger (host TEXT)")


def unreadable_ledger(directory):
    with closing(sqlite3.connect(directory / FILE_NAME)) as connection, connection:
        connection.execute("CREATE TABLE ledger (host TEXT PRIMARY KEY, state BLOB)")
        connection.execute("INSERT INTO ledger VALUES ('host', '{\"limits\": 1}')")


def a_directory(directory):
    (directory / FILE_NAME).mkdir()


@pytest.mark.parametrize("damage", [garbage, another_table, unreadable_ledger, a_directory])
def test_a_file_that_cannot_be_used_is_told_once_and_each_process_goes_on_by_itself(tmp_path, caplog, damage):
    damage(tmp_path)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            with closing(SharedStore(tmp_path)) as store:
                add(store, count=3)
                assert total(store) == 3
    assert len(caplog.messages) == 1
    assert str(tmp_path / FILE_NAME) in caplog.messages[0]
    assert "CRYPTO_ASSETS_STATE_DIRECTORY" in caplog.messages[0]


def test_a_directory_that_cannot_be_made_is_told_once(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING), closing(SharedStore(tmp_path / "file" / "state")) as store:
        add(store, count=2)
        assert total(store) == 2
    assert len(caplog.messages) == 1


def test_a_file_that_somebody_holds_for_ever_is_left_alone(tmp_path, caplog):
    with closing(FileStore(tmp_path)) as store:
        add(store)
    with closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with caplog.at_level(logging.WARNING), closing(SharedStore(tmp_path, locked_s=0.01)) as store:
            add(store)
            assert total(store) == 1
    assert "is locked" in caplog.messages[0]


def test_all_threads_together_are_given_exactly_the_limit(tmp_path):
    # At the end of a minute, when the pace holds nothing back.
    class WouldWaitError(Exception):
        pass

    def refuse(seconds):
        raise WouldWaitError

    leased, lock = [], threading.Lock()
    with closing(SharedStore(tmp_path)) as store:
        budget = WeightBudget(
            quotas_of(SPOT, "https://api.binance.com"),
            [store],
            reserve=0.9,
            sleep=refuse,
            clock=lambda: 1_700_000_039.0,
        )

        def spend():
            try:
                while True:
                    (lease,) = budget.lease("klines", 1000, 0)
                    with lock:
                        leased.append(lease.cost)
            except WouldWaitError:
                return

        threads = [threading.Thread(target=spend) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(leased) == 600


def test_no_file_is_made_before_the_first_request(tmp_path):
    with closing(exchange_at("http://127.0.0.1:1", tmp_path / "state")):
        pass
    assert list(tmp_path.iterdir()) == []
