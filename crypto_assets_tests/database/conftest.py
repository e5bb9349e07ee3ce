"""A migrated database in a temporary directory. Files are made once per worker and copied: migrating is slower."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from crypto_assets.database.engines import Database
from crypto_assets.database.migrations import migrate

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def migrated_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("migrated") / "data"
    migrate(Database(f"sqlite:///{directory}", "sandbox"))
    return directory


@pytest.fixture
def database(migrated_directory: Path, tmp_path: Path):
    directory = tmp_path / "data"
    shutil.copytree(migrated_directory, directory)
    opened = Database(f"sqlite:///{directory}", "sandbox")
    yield opened
    opened.dispose()
