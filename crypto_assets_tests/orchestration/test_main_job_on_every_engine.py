"""The main job - schema, entities, candles, checks - on SQLite, PostgreSQL and MySQL: the same content everywhere."""

from __future__ import annotations

import hashlib

import orjson
import pytest
from sqlalchemy import select

from crypto_assets.database.engines import open_database
from crypto_assets.database.tables import TABLES, key_columns
from crypto_assets_tests.sandboxed_project import BTC, Clock, Project, evaluation, figures, red_checks, running_sandbox

NOT_COMPARED = {"crypto_database_identity", "crypto_schema_migration"}  # they say when and by whom it was made
COLLECTED = {
    "cryptopair_1m_kdata": ("2023-03-21", "2023-03-21"),
    "cryptopair_5m_kdata": ("2023-03-21", "2023-03-22"),
    "cryptoperp_5m_kdata": ("2023-03-21", "2023-03-22"),
    "cryptopair_1h_kdata": ("2023-03-01", "2023-03-01"),
    "cryptoperp_1d_kdata": ("2023-03-01", "2023-03-01"),
}


def run_main_job(url: str, sandbox_url: str, tmp_path) -> Project:
    project = Project(tmp_path, sandbox_url, database=url)
    assert project.run("bootstrap").success
    for table, (first, last) in COLLECTED.items():
        assert project.collect(table, first, last).success
    return project


LOOKED_AT = {"plausibility_checked", "agreement_checked"}
"""Columns of coverage in which checks note what they have looked at."""


def content_digests(url: str) -> dict[str, str]:
    """Of every table, a checksum of all its rows and columns, `LOOKED_AT` aside, in the order of the key."""
    database = open_database(url, "sandbox")
    digests = {}
    for name, table in TABLES.items():
        if name not in NOT_COMPARED:
            with database.connect(name) as connection:
                rows = connection.execute(select(table)).mappings().all()
            rows = sorted(
                ({str(column): row[column] for column in sorted(row) if column not in LOOKED_AT} for row in rows),
                key=lambda row: [str(row[key]) for key in key_columns(table)],
            )
            text = orjson.dumps(rows, default=str, option=orjson.OPT_SORT_KEYS)
            digests[name] = f"{len(rows)} rows, {hashlib.blake2b(text, digest_size=16).hexdigest()}"
    database.dispose()
    return digests


@pytest.fixture(scope="module")
def quiet_sandbox():
    with running_sandbox(Clock()) as running:
        yield running


@pytest.fixture(scope="module")
def expected_digests(quiet_sandbox, tmp_path_factory):
    directory = tmp_path_factory.mktemp("main_job")
    run_main_job(f"sqlite:///{directory}/data", quiet_sandbox.url, directory)
    return content_digests(f"sqlite:///{directory}/data")


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_the_main_job_ends_in_the_same_content_on_every_engine(
    empty_url, engine, quiet_sandbox, expected_digests, tmp_path
):
    project = run_main_job(empty_url, quiet_sandbox.url, tmp_path)
    digests = content_digests(empty_url)
    assert digests == expected_digests
    assert sum(digest.startswith("0 rows") for digest in digests.values()) < len(digests) - len(COLLECTED)

    checked = project.run("integrity")
    assert red_checks(checked) == set()
    assert evaluation(checked, "cryptopair_1m_kdata", "no_gaps").metadata["present"].value == 2 * 1440

    again = project.collect("cryptopair_1m_kdata", "2023-03-21")
    assert [figures(again, "cryptopair_1m_kdata")[each] for each in ("rows_inserted", "rows_changed")] == [0, 0]
    # What was checked, and when, is all that was added.
    digests = content_digests(empty_url)
    changed = {name for name in digests if digests[name] != expected_digests[name]}
    assert changed == {"crypto_data_quality_log", "crypto_asset"}


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_damage_is_found_and_the_repair_command_says_what_is_missing(empty_url, engine, quiet_sandbox, tmp_path):
    project = Project(tmp_path, quiet_sandbox.url, database=empty_url)
    project.run("bootstrap")
    project.collect("cryptopair_5m_kdata", "2023-03-21")
    table = TABLES["cryptopair_5m_kdata"]
    database = open_database(empty_url, "sandbox")
    with database.begin(table.name) as connection:
        times = list(connection.scalars(select(table.c.timestamp).order_by(table.c.timestamp).distinct()))
        of_btc = table.c.entity_id == BTC
        connection.execute(table.delete().where(of_btc, table.c.timestamp.between(times[10], times[12])))
        connection.execute(table.update().where(of_btc, table.c.timestamp == times[20]).values(close=None))
        connection.execute(table.update().where(of_btc, table.c.timestamp == times[30]).values(high=table.c.low / 2))
        off_grid = times[40].replace(microsecond=700)
        connection.execute(table.update().where(of_btc, table.c.timestamp == times[40]).values(timestamp=off_grid))
    checked = project.check("cryptopair_5m_kdata")
    names = ("no_gaps", "no_null_ohlc", "valid_ohlc", "on_grid")
    assert red_checks(checked) == {f"cryptopair_5m_kdata: {name}" for name in names}
    counts = {name: evaluation(checked, "cryptopair_5m_kdata", name).metadata["count"].value for name in names}
    assert counts == {"no_gaps": 4, "no_null_ohlc": 1, "valid_ohlc": 1, "on_grid": 1}
    removal = evaluation(checked, "cryptopair_5m_kdata", "on_grid").metadata["repair"].value
    with database.begin(table.name) as connection:
        assert connection.exec_driver_sql(removal).rowcount == 1
    assert project.collect("cryptopair_5m_kdata", "2023-03-21").success
    assert red_checks(project.check("cryptopair_5m_kdata")) == set()
    database.dispose()
