import pytest

from crypto_assets.database.engines import open_database
from crypto_assets.database.migrations import migrate
from crypto_assets.domain.intervals import parse_time
from crypto_assets.domain.spans import Span


@pytest.fixture(scope="session")
def quality_database(tmp_path_factory):
    """A migrated, empty database; every test works in a transaction that is rolled back."""
    database = open_database(f"sqlite:///{tmp_path_factory.mktemp('quality')}", "testnet")
    migrate(database, ["crypto_meta", "crypto_quality", "cryptopair_5m_kdata"])
    yield database
    database.dispose()


@pytest.fixture
def partitioned_database(any_database):
    """A migrated database without rows, on each engine in turn, with room for the candles of early 2023."""
    for table in ("cryptopair_1m_kdata", "cryptopair_5m_kdata"):
        any_database.ensure_partitions(table, Span(parse_time("2023-01-01"), parse_time("2023-05-31")))
    return any_database
