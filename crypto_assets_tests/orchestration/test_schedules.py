"""What the six-hourly schedule asks for."""

from __future__ import annotations

import dagster as dg

from crypto_assets.database.engines import open_database
from crypto_assets.database.migrations import migrate
from crypto_assets.orchestration.jobs import integrity_schedule
from crypto_assets.orchestration.resources import DatabaseResource


def tick(directory):
    database = DatabaseResource(url=f"sqlite:///{directory}", environment="testnet")
    return integrity_schedule(dg.build_schedule_context(resources={"database": database}))


def test_an_integrity_run_is_skipped_with_its_reason_while_there_is_no_database(tmp_path):
    skipped = tick(tmp_path)
    assert isinstance(skipped, dg.SkipReason)
    assert "bootstrap" in str(skipped.skip_message)


def test_an_integrity_run_is_asked_for_once_there_is_one(tmp_path):
    migrate(open_database(f"sqlite:///{tmp_path}", "testnet"), ["crypto_meta"])
    assert isinstance(tick(tmp_path), dg.RunRequest)
