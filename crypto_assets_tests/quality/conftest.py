import pytest

from crypto_assets.database.engines import open_database
from crypto_assets.database.migrations import migrate


@pytest.fixture(scope="session")
def quality_database(tmp_path_factory):
    """A migrated, empty database; every test works in a transaction that is rolled back."""
    database = open_database(f"sqlite:///{tmp_path_factory.mktemp('quality')}", "testnet")
    migrate(database, ["crypto_meta", "crypto_quality", "cryptopair_5m_kdata"])
    yield database
    database.dispose()
