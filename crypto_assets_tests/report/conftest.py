"""The example's database, opened."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from crypto_assets.database.engines import Database, open_database


@pytest.fixture
def example_database(quality_example_url: str) -> Iterator[Database]:
    opened = open_database(quality_example_url, "sandbox")
    yield opened
    opened.dispose()
