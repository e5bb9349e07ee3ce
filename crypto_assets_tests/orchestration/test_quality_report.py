"""The asset `crypto_quality_report`: the page is written, linked and its figures can be plotted."""

from __future__ import annotations

import dagster as dg
import pytest

from crypto_assets.domain.environments import Environment
from crypto_assets.orchestration.assets.report import crypto_quality_report
from crypto_assets.orchestration.resources import ArchiveResource, DatabaseResource, ExchangeResource, LedgerResource
from crypto_assets.settings import Settings


@pytest.fixture
def settings(quality_example_url):
    return Settings(environment=Environment.SANDBOX, database=quality_example_url)


def materialized(settings, report_file):
    database = DatabaseResource(
        url=settings.database_url, environment=settings.environment.value, report_file=str(report_file)
    )
    return dg.materialize(
        [crypto_quality_report],
        resources={
            "database": database,
            "ledger": LedgerResource(),
            "archive": ArchiveResource(environment="sandbox"),
            "exchange": ExchangeResource(environment="sandbox"),
        },
        instance=dg.DagsterInstance.ephemeral(),
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        raise_on_error=False,
    )


def test_the_page_is_linked_and_its_figures_are_numbers(settings, tmp_path):
    result = materialized(settings, settings.report_file)
    (event,) = result.asset_materializations_for_node("crypto_quality_report")
    page = tmp_path / "data" / "report.html"
    assert event.metadata["report"] == dg.MetadataValue.path(page)
    assert event.metadata["page"] == dg.MetadataValue.url(page.as_uri())
    assert "33 candles are missing." in page.read_text(encoding="utf-8")
    figures = {name: value.value for name, value in event.metadata.items() if name not in ("report", "page")}
    assert figures == {
        "completeness_percent": pytest.approx(99.43, abs=0.01),
        "candles_owed": 5875,
        "candles_stored": 5761,
        "candles_missing": 33,
        "candles_not_at_source": 81,
        "open_gaps": 2,
        "source_gaps": 2,
        "symbols": 3,
        "not_collected": 0,
    }


def test_a_page_that_cannot_be_written_fails_the_run_with_a_sentence(settings, tmp_path):
    (tmp_path / "file").write_text("")
    result = materialized(settings, tmp_path / "file" / "report.html")
    (failure,) = (event for event in result.all_events if event.is_step_failure)
    assert "cannot be written" in failure.step_failure_data.user_failure_data.description
