import pytest

from crypto_assets.database.engines import open_database
from crypto_assets.database.migrations import migrate
from crypto_assets_tests.sandboxed_project import Clock, Project, running_sandbox


@pytest.fixture(scope="session")
def migrated_files(tmp_path_factory):
    """One migrated, empty database to copy from: migrating twenty files costs more than most tests."""
    directory = tmp_path_factory.mktemp("migrated")
    migrate(open_database(f"sqlite:///{directory}", "testnet"))
    return directory


@pytest.fixture(scope="session")
def shared_sandbox():
    """A sandbox whose clock nobody moves; a test that adds faults takes `sandbox` instead."""
    with running_sandbox(Clock()) as running:
        yield running


@pytest.fixture(scope="session")
def listed_project(shared_sandbox, tmp_path_factory):
    """Schema and entities, no candle yet. To copy from."""
    project = Project(tmp_path_factory.mktemp("listed"), shared_sandbox.url)
    assert project.run("bootstrap").success
    return project


@pytest.fixture(scope="session")
def collected_project(listed_project, tmp_path_factory):
    """Three days of 5m candles and a month of 1h candles of two pairs. To copy from."""
    project = listed_project.copy(tmp_path_factory.mktemp("collected"))
    assert project.collect("cryptopair_5m_kdata", "2023-03-20", "2023-03-22").success
    assert project.collect("cryptopair_1h_kdata", "2023-03-01").success
    return project


@pytest.fixture
def sandbox():
    """A sandbox of the test's own, to break."""
    with running_sandbox(Clock()) as running:
        yield running
