"""Going back to an older revision: what it says before, refuses, copies, and never forgets."""

from __future__ import annotations

from functools import partial

import pytest
from sqlalchemy import delete, inspect, text

from crypto_assets.database.errors import DatabaseError, EnvironmentMismatch
from crypto_assets.database.migrations import migrate
from crypto_assets.database.removal.backups import KEPT, list_backups, restore
from crypto_assets.database.removal.downgrades import downgrade, plan_downgrade
from crypto_assets.database.removal.rollback import Depth, carry_out
from crypto_assets.database.revisions import HEAD
from crypto_assets.database.tables import META, TABLES
from crypto_assets_tests.database.test_database_rollback import every_row, fill, kept, opened, remove_backups


@pytest.fixture
def database(own_url):
    """A database of the test's own, with rows in every table."""
    with opened(own_url) as made:
        fill(made)
        yield made
        remove_backups(made)


@pytest.fixture
def standing(any_database):
    """Rows in every table of a database that nobody migrates."""
    remove_backups(any_database)
    fill(any_database)
    return any_database


def forget_archives(database):
    with database.begin("crypto_kdata_archive") as connection:
        connection.execute(delete(TABLES["crypto_kdata_archive"]))


def tables_there(database):
    found = set()
    for unit in database.units:
        with database.migrating(unit) as connection:
            found |= TABLES.keys() & inspect(connection).get_table_names(database.schemas.get(unit))
    return found


def test_archived_months_are_never_forgotten(standing):
    before = every_row(standing)
    for revision in ("0002", "0001", "base"):
        with pytest.raises(
            DatabaseError, match="put them back first: crypto-assets archive restore cryptopair_1m_kdata"
        ):
            downgrade(standing, revision)
    assert every_row(standing) == before
    assert list_backups(standing) == []


def test_what_goes_is_said_before_and_what_is_worth_keeping_comes_back(database):
    forget_archives(database)
    before = every_row(database)
    planned = plan_downgrade(database, "0001")
    assert every_row(database) == before
    outcome = downgrade(database, "0001")
    assert {result.after for result in outcome.results} == {"0001"}
    assert TABLES.keys() - tables_there(database) == {loss.table for loss in planned if not loss.columns}
    assert {loss.table: loss.rows for loss in planned} == {loss.table: len(before[loss.table]) for loss in planned}
    changed = {loss.table: set(loss.columns) for loss in planned if loss.columns}
    assert changed["crypto_pair"] == {"margin_enabled", "unit_multiplier", "exchange_id", "status"}
    with database.migrating(META) as connection:
        for name, columns in changed.items():
            there = {each["name"] for each in inspect(connection).get_columns(name, database.schemas.get(META))}
            assert there == {*TABLES[name].columns.keys()} - columns
    migrate(database)
    assert not any(kept(every_row(database)).values())
    assert restore(database, outcome.backup) == {name: len(before[name]) for name in KEPT}
    assert kept(every_row(database)) == kept(before)


def test_whose_data_it_is_stays_known_as_long_as_there_are_any(database, own_url):
    forget_archives(database)
    downgrade(database, "0001")
    with opened(own_url, "live") as other:
        for revision in ("head", "0001", "base"):
            with pytest.raises(EnvironmentMismatch, match="holds sandbox data"):
                migrate(other, revision=revision)
        assert downgrade(database, "base").backup is None
        migrate(other)
        assert [row[0] for row in every_row(other)["crypto_database_identity"]] == ["live"]


def test_going_back_to_where_it_stands_or_forth_loses_nothing(standing):
    assert plan_downgrade(standing, HEAD) == []


@pytest.mark.parametrize("engine", ["postgresql"])
@pytest.mark.parametrize("remove", [partial(downgrade, revision="0001"), partial(carry_out, depth=Depth.SCHEMA)])
def test_where_it_stops_half_way_the_copies_are_named(database, remove):
    forget_archives(database)
    before = every_row(database)
    with database.migrating(META) as connection:
        connection.execute(text("CREATE VIEW public.theirs AS SELECT * FROM crypto_quality.crypto_data_quality_log"))
    with pytest.raises(DatabaseError, match="drop that first") as raised:
        remove(database)
    stamp = list_backups(database)[0].stamp
    assert f"rollback --restore {stamp} brings it back" in str(raised.value)
    with database.migrating(META) as connection:
        assert connection.scalar(text("SELECT count(*) FROM public.theirs")) == len(before["crypto_data_quality_log"])
        connection.execute(text("DROP VIEW public.theirs"))
    migrate(database)
    restore(database, stamp)
    assert kept(every_row(database)) == kept(before)
