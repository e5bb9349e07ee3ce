import shutil

import pytest

from crypto_assets_tests.sandboxed_project import Clock, Project, running_sandbox


@pytest.fixture(scope="session")
def filled_project(tmp_path_factory):
    """An hourly table of two pairs, collected from a sandbox."""
    with running_sandbox(Clock()) as sandbox:
        project = Project(tmp_path_factory.mktemp("filled") / "data", sandbox.url)
        assert project.run("bootstrap").success
        assert project.collect("cryptopair_1h_kdata", "2023-03-01").success
    return project


@pytest.fixture
def copied(filled_project, tmp_path):
    """The same database, to change."""
    shutil.copytree(filled_project.directory, tmp_path / "data")
    return Project(tmp_path / "data", filled_project.url)
