"""Migrated databases on every engine, empty at the start of each test; nothing goes to the user's directories."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings
from sqlalchemy.engine import URL

from crypto_assets.database.engines import Database, open_database
from crypto_assets.database.migrations import migrate
from crypto_assets_tests.database_servers import (
    ENGINES,
    clear,
    database_of_its_own,
    mysql_server,
    postgresql_server,
)
from crypto_assets_tests.report.quality_rows import store_example

# How long an example takes says how busy the machine is; speed is measured by the benchmarks.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(scope="session", autouse=True)
def state_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where this process and those it starts share what the user's processes otherwise share."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def recorded_directory() -> Path:
    """Where recorded market data is; skips the test where there is none."""
    named = os.environ.get("CRYPTO_ASSETS_RECORDED_DATA")
    directory = Path(named) if named else Path(__file__).parents[1].parent / "shared" / "data" / "binance"
    if not (directory / "spot" / "klines").is_dir():
        pytest.skip(f"no recorded data in {directory} (set CRYPTO_ASSETS_RECORDED_DATA)")
    return directory


@pytest.fixture(scope="session")
def some_recordings(
    recorded_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[dict[str, list[str]]], Path]:
    """A function that makes a directory of the minutes of some symbols of `spot` and `usdm` and no others."""

    def make(symbols: dict[str, list[str]]) -> Path:
        directory = tmp_path_factory.mktemp("recorded")
        for market, names in symbols.items():
            klines = directory / market / "klines"
            klines.mkdir(parents=True)
            for name in names:
                file = f"{name}-1m.parquet"
                (klines / file).symlink_to(recorded_directory / market / "klines" / file)
        return directory

    return make


@pytest.fixture(scope="session")
def migrated_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SQLite files made once per worker, to be copied: migrating is slower."""
    directory = tmp_path_factory.mktemp("migrated") / "data"
    migrate(open_database(f"sqlite:///{directory}", "sandbox"))
    return directory


@pytest.fixture(scope="session")
def servers() -> dict[str, Callable[[], URL]]:
    """Functions that find the servers, by engine."""
    return {"postgresql": cache(postgresql_server), "mysql": mysql_server}


@pytest.fixture(scope="session")
def migrated_postgresql(servers: dict[str, Callable[[], URL]]) -> Iterator[str]:
    with _migrated(servers["postgresql"]()) as url:
        yield url


@pytest.fixture(scope="session")
def migrated_mysql(servers: dict[str, Callable[[], URL]]) -> Iterator[str]:
    with _migrated(servers["mysql"]()) as url:
        yield url


@contextmanager
def _migrated(server: URL) -> Iterator[str]:
    with database_of_its_own(server) as url:
        migrate(open_database(url, "sandbox"))
        yield url


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """The engine that a test runs on: it runs once on each."""
    return str(request.param)


@pytest.fixture
def database_url(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a migrated database without rows, of environment sandbox."""
    if engine == "sqlite":
        directory = tmp_path / "data"
        shutil.copytree(request.getfixturevalue("migrated_directory"), directory)
        return f"sqlite:///{directory}"
    url: str = request.getfixturevalue(f"migrated_{engine}")
    opened = open_database(url, "sandbox")
    clear(opened)
    opened.dispose()
    return url


@pytest.fixture
def any_database(database_url: str) -> Iterator[Database]:
    """A migrated database without rows, on each engine in turn."""
    opened = open_database(database_url, "sandbox")
    yield opened
    opened.dispose()


@pytest.fixture
def quality_example_url(migrated_directory: Path, tmp_path: Path) -> str:
    """The URL of a SQLite database with the example of `report.quality_rows`: gaps, scores, a source that restarted."""
    directory = tmp_path / "data"
    shutil.copytree(migrated_directory, directory)
    opened = open_database(f"sqlite:///{directory}", "sandbox")
    store_example(opened)
    opened.dispose()
    return f"sqlite:///{directory}"


@pytest.fixture
def empty_url(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database that was never migrated, on each engine in turn."""
    if engine == "sqlite":
        yield f"sqlite:///{tmp_path}/data"
        return
    with database_of_its_own(request.getfixturevalue("servers")[engine]()) as url:
        yield url


@pytest.fixture
def own_url(engine: str, request: pytest.FixtureRequest) -> str:
    """The URL of a migrated database without rows that no other test uses: to be migrated, or removed."""
    if engine == "sqlite":
        copied: str = request.getfixturevalue("database_url")
        return copied
    url: str = request.getfixturevalue("empty_url")
    opened = open_database(url, "sandbox")
    migrate(opened)
    opened.dispose()
    return url
