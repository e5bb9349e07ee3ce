"""What the six-hourly schedule asks for."""

from __future__ import annotations

import dagster as dg

from crypto_assets.database.engines import open_database
from crypto_assets.database.migrations import migrate
from crypto_assets.definitions import build_definitions
from crypto_assets.domain.intervals import MINUTE_MS, Interval
from crypto_assets.orchestration.jobs.assets import integrity_schedule
from crypto_assets.orchestration.resources import DatabaseResource
from crypto_assets.settings import Settings


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


def test_a_refresh_starts_when_nothing_closes_but_minutes():
    schedule = build_definitions(Settings()).resolve_schedule_def("refresh_schedule")
    minute, *rest = schedule.cron_schedule.split()
    assert rest == ["*"] * 4
    assert [each for each in Interval if each.on_grid(int(minute) * MINUTE_MS)] == [Interval.M1]
