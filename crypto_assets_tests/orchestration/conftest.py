import pytest

from crypto_assets.database.engines import Database
from crypto_assets.database.migrations import migrate


@pytest.fixture(scope="session")
def migrated_files(tmp_path_factory):
    """One migrated, empty database to copy from: migrating twenty files costs more than most tests."""
    directory = tmp_path_factory.mktemp("migrated")
    migrate(Database(f"sqlite:///{directory}", "testnet"))
    return directory
