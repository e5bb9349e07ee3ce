"""Pieces of state that processes change one at a time on a server, and what happens to the connection for it."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from sqlalchemy import select, text

from crypto_assets.database.engines import Database, open_database
from crypto_assets.database.errors import DatabaseError, DatabaseNotReady, EnvironmentMismatch, UnsupportedDatabase
from crypto_assets.database.migrations import migrate
from crypto_assets.database.removal.rollback import Depth, carry_out
from crypto_assets.database.shared_state import TABLE, SharedState
from crypto_assets.database.tables import TABLES

SERVERS = ["postgresql", "mysql"]
pytestmark = pytest.mark.parametrize("engine", SERVERS)


def add(state: SharedState, name: str = "host", count: int = 1) -> None:
    for _ in range(count):
        state.change(name, lambda kept: (None, str(int(kept or 0) + 1)))


def total(state: SharedState, name: str = "host") -> str:
    return state.change(name, lambda kept: (kept, kept))


@pytest.fixture
def state(database_url: str) -> Iterator[SharedState]:
    with closing(SharedState(database_url, "sandbox")) as made:
        yield made


def stored(database: Database) -> dict[str, tuple[str, object]]:
    with database.connect(TABLE) as connection:
        return {host: (kept, moment) for host, kept, moment in connection.execute(select(TABLES[TABLE]))}


def add_often(url: str, barrier: threading.Barrier) -> None:
    with closing(SharedState(url, "sandbox")) as own:
        total(own, "connected")
        for name in map(str, range(10)):
            barrier.wait()
            add(own, name, 10)


def test_many_at_once_make_one_row_and_change_it_in_turns(database_url, state):
    barrier = threading.Barrier(6, timeout=60)
    with ThreadPoolExecutor(6) as pool:
        for each in [pool.submit(add_often, database_url, barrier) for _ in range(6)]:
            each.result()
    assert [total(state, str(number)) for number in range(10)] == ["60"] * 10
    assert total(state, "another") == ""


def test_what_is_not_changed_is_not_written(any_database, state):
    add(state)
    before = stored(any_database)
    assert total(state) == "1"
    assert stored(any_database) == before
    add(state)
    assert stored(any_database)["host"][1] > before["host"][1]


def test_nothing_is_kept_of_a_change_that_breaks(state):
    add(state)
    with pytest.raises(ZeroDivisionError):
        state.change("host", lambda kept: (1 // 0, kept))
    add(state)
    assert total(state) == "2"


def server_number(state: SharedState) -> int:
    """The server's number of the connection that the state uses."""
    query = {"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT connection_id()"}
    database = state._database  # noqa: SLF001 - nobody else may know it
    with database.turn(TABLE) as connection:
        return int(connection.scalar(text(query[database.engine])))


def test_a_connection_that_the_server_dropped_is_made_again(any_database, state):
    add(state)
    first = server_number(state)
    add(state)
    assert server_number(state) == first, "one connection does for all"
    kill = {"postgresql": f"SELECT pg_terminate_backend({first}, 5000)", "mysql": f"KILL {first}"}
    with any_database.migrating("crypto_meta") as connection:
        connection.execute(text(kill[any_database.engine]))
    add(state)
    assert total(state) == "3"
    assert server_number(state) != first


def test_one_that_stops_half_way_is_cut_off_and_the_others_go_on(database_url, state):
    held, go_on = threading.Event(), threading.Event()

    def keep(kept: str) -> tuple[None, str]:
        held.set()
        go_on.wait()
        return None, str(int(kept or 0) + 10)

    with ThreadPoolExecutor(1) as pool, closing(SharedState(database_url, "sandbox")) as other:
        add(state)
        stopped = pool.submit(other.change, "host", keep)
        held.wait()
        try:
            add(state)
        finally:
            go_on.set()
        stopped.result()
    assert total(state) == "12", "it has begun once more, with what it found then"


def test_a_row_that_somebody_works_with_is_given_up_after_seconds(any_database, state):
    add(state)
    with any_database.begin(TABLE) as connection:
        connection.execute(select(TABLES[TABLE]).with_for_update()).all()
        with pytest.raises(DatabaseError, match="for too long"):
            add(state)
    add(state)
    assert total(state) == "2"


def test_what_was_changed_may_be_forgotten_in_a_power_failure_and_waits_are_short(state, engine):
    add(state)
    shown = {
        "postgresql": ("SHOW synchronous_commit", "SHOW lock_timeout", "SHOW idle_in_transaction_session_timeout"),
        "mysql": ("SELECT @@innodb_lock_wait_timeout", "SELECT @@wait_timeout", "SELECT @@sql_mode LIKE '%STRICT%'"),
    }
    with state._database.turn(TABLE) as connection:  # noqa: SLF001
        found = [connection.scalar(text(query)) for query in shown[engine]]
    assert found == {"postgresql": ["off", "5s", "3s"], "mysql": [5, 3, 1]}[engine]


def add_and_tell(state: SharedState, answers: multiprocessing.Queue) -> None:
    add(state)
    answers.put(server_number(state))


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_fork_has_a_connection_of_its_own(state):
    add(state)
    own = server_number(state)
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=add_and_tell, args=(state, answers))
    child.start()
    assert answers.get(timeout=60) != own
    child.join()
    assert child.exitcode == 0
    add(state)
    assert server_number(state) == own
    assert total(state) == "3"


def test_a_database_that_is_not_ready_is_one_sentence(empty_url, engine):
    with closing(SharedState(empty_url, "sandbox")) as state:
        with pytest.raises(DatabaseNotReady, match="run crypto-assets migrate"):
            add(state)
        database = open_database(empty_url, "sandbox")
        migrate(database, revision="0005")
        with pytest.raises(DatabaseNotReady, match="stands at revision 0005"):
            add(state)
        migrate(database)
        add(state)
        with closing(SharedState(empty_url, "live")) as other, pytest.raises(EnvironmentMismatch):
            add(other)
        database.dispose()


def test_a_rollback_of_all_data_leaves_it(any_database, state):
    add(state)
    carry_out(any_database, Depth.DATA)
    assert total(state) == "1"


def test_sqlite_is_refused(tmp_path, engine):
    with pytest.raises(UnsupportedDatabase, match="no server"):
        SharedState(f"sqlite:///{tmp_path}", "sandbox")
