"""A disk that cannot be written ends every job in one sentence that names it."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from crypto_assets_tests.cli.test_cli_bad_databases import small_disk
from crypto_assets_tests.sandboxed_project import QUIET, Project, failure_sentence

ROLLBACK = {"ops": {"rollback_database": {"config": {"depth": "schema", "confirm": "sandbox"}}}}


@pytest.mark.parametrize(("job", "config"), [("bootstrap", {}), ("maintenance", {}), ("rollback", ROLLBACK)])
def test_a_read_only_disk_is_one_sentence(tmp_path, migrated_directory, job, config):
    disk = tmp_path / "disk"
    with small_disk(disk, "size=32m"):
        shutil.copytree(migrated_directory, disk / "data")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        result = Project(disk / "data", "http://127.0.0.1:1").run(job, run_config=QUIET | config)
        assert not result.success
        said = failure_sentence(result)
        assert f"{disk}/data" in said
        assert said.endswith(("check that the directory is there and can be written.", "Read-only file system."))
