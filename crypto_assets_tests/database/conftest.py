"""A migrated SQLite database in a temporary directory; on every engine it is `any_database`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from crypto_assets.database.engines import Database, open_database


@pytest.fixture
def database(migrated_directory: Path, tmp_path: Path) -> Iterator[Database]:
    directory = tmp_path / "data"
    shutil.copytree(migrated_directory, directory)
    opened = open_database(f"sqlite:///{directory}", "sandbox")
    yield opened
    opened.dispose()
