"""What only servers do: turns, time limits, and other people's tables."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from crypto_assets.database.engines import open_database
from crypto_assets.database.errors import DatabaseError
from crypto_assets.database.migrations import migrate
from crypto_assets.database.removal.backups import back_up, list_backups
from crypto_assets.database.removal.rollback import Depth, carry_out
from crypto_assets.database.tables import META, QUALITY
from crypto_assets_tests.database.database_frames import CANDLES


@pytest.mark.parametrize("engine", ["postgresql"])
def test_no_statement_waits_for_a_lock_without_limit(any_database):
    for connected in (any_database.connect(META), any_database.begin(META), any_database.migrating(META)):
        with connected as connection:
            assert connection.exec_driver_sql("SHOW lock_timeout").scalar() == "30s"


@pytest.mark.parametrize("engine", ["postgresql"])
def test_a_statement_that_is_stopped_is_one_sentence(any_database):
    with pytest.raises(DatabaseError, match="stopped a statement"), any_database.begin(META) as connection:  # noqa: PT012
        connection.exec_driver_sql("SET LOCAL statement_timeout = 20")
        connection.exec_driver_sql("SELECT pg_sleep(5)")


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_writers_of_candles_and_of_quality_take_turns(any_database):
    order: list[str] = []
    started = threading.Event()

    def other() -> None:
        started.set()
        with any_database.begin(QUALITY):
            order.append("quality")

    with any_database.begin(CANDLES, also=[QUALITY]):
        waiting = threading.Thread(target=other)
        waiting.start()
        started.wait()
        with any_database.begin("cryptopair_1h_kdata"):
            order.append("another table")
        order.append("candles")
    waiting.join()
    assert order == ["another table", "candles", "quality"]


def test_two_backups_at_once_are_two_backups(any_database):
    stamps: list[str | None] = []
    threads = [threading.Thread(target=lambda: stamps.append(back_up(any_database))) for _ in range(3)]
    before = {each.stamp for each in list_backups(any_database)}
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = [each for each in list_backups(any_database) if each.stamp not in before]
    assert len(set(stamps)) == 3
    assert {each.stamp for each in made} == set(stamps)
    assert len(made) == 3 * 4


def test_a_rollback_of_the_schema_leaves_what_others_made(empty_url):
    database = open_database(empty_url, "sandbox")
    migrate(database)
    with database.migrating("crypto_security") as connection:
        schema = f"{database.schemas['crypto_security']}." if database.schemas else ""
        connection.execute(text(f"CREATE TABLE {schema}theirs (x INTEGER)"))
    with pytest.raises(DatabaseError, match="theirs, which crypto-assets did not make"):
        carry_out(database, Depth.SCHEMA)
    assert database.revision(META) is not None
    with database.migrating("crypto_security") as connection:
        connection.execute(text(f"DROP TABLE {schema}theirs"))
    carry_out(database, Depth.SCHEMA)
    assert not database.exists()
    database.dispose()


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_a_rollback_of_the_schema_leaves_a_schema_that_was_never_migrated(empty_url, engine):
    database = open_database(empty_url, "sandbox")
    with database.migrating("crypto_security") as connection:
        connection.execute(text(f"CREATE TABLE {database.schemas['crypto_security']}.theirs (x INTEGER)"))
    carry_out(database, Depth.SCHEMA)
    with database.migrating("crypto_security") as connection:
        theirs = text(f"SELECT count(*) FROM {database.schemas['crypto_security']}.theirs")
        assert connection.execute(theirs).scalar() == 0
    database.dispose()


@pytest.mark.parametrize("engine", ["mysql"])
def test_only_connecting_is_bounded_not_what_a_statement_takes(database_url, engine):
    url = make_url(database_url).update_query_dict({"connect_timeout": "1"}).render_as_string(hide_password=False)
    database = open_database(url, "sandbox")
    with database.connect(META) as connection:
        assert connection.scalar(text("SELECT sleep(1.5)")) == 0
    database.dispose()


@pytest.mark.parametrize("server", ["postgresql", "mysql"])
@pytest.mark.parametrize("option", ["bogus=1", "connect_timeout=soon"])
def test_an_option_that_the_driver_does_not_know_is_one_sentence_without_the_password(servers, server, option):
    given = servers[server]().set(password="hunter2")  # noqa: S106 - made up
    url = given.render_as_string(hide_password=False)
    database = open_database(f"{url}{'&' if '?' in url else '?'}{option}", "sandbox")
    with pytest.raises(DatabaseError) as refused, database.connect("crypto_meta"):
        pass
    said = str(refused.value)
    assert "hunter2" not in said
    assert len(said.splitlines()) == 1
