"""What each partition of a run shows: its own figures, beside totals of the run whose names say so."""

from __future__ import annotations

import pytest

from crypto_assets_tests.quality.stored_candles import FIVE_MINUTES
from crypto_assets_tests.sandboxed_project import partition_figures

OWN = ("rows", "expected", "missing", "source_candles", "sources")


@pytest.fixture
def shown(listed_project, sandbox, tmp_path):
    """The metadata of three days of which the second lacks an hour of one of two symbols, and the third is running."""
    sandbox.faults.add("hidden_span:symbol=ETHUSDT,start=2023-03-21T06:00,end=2023-03-21T07:00")
    project = listed_project.copy(tmp_path, url=sandbox.url)
    result = project.collect(FIVE_MINUTES.name, "2023-03-20", "2023-03-22")
    assert result.success
    return partition_figures(result, FIVE_MINUTES.name)


def test_each_partition_shows_its_own_figures(shown):
    assert {key: tuple(metadata[name] for name in OWN) for key, metadata in shown.items()} == {
        "2023-03-20": (576, 576, 0, 0, "rest"),
        "2023-03-21": (564, 576, 12, 0, "rest"),
        "2023-03-22": (288, 288, 0, 0, "rest"),
    }
    assert [metadata["dagster/partition_row_count"] for metadata in shown.values()] == [576, 564, 288]


def test_what_belongs_to_the_whole_run_says_so(shown):
    totals = [
        {name: value for name, value in metadata.items() if not name.startswith("dagster/") and name not in OWN}
        for metadata in shown.values()
    ]
    assert totals[0] == totals[1] == totals[2]
    assert {name for name in totals[0] if not name.startswith("run_")} == set()
    assert totals[0]["run_rows_received"] == 576 + 564 + 288


def test_refreshed_partitions_show_their_own_figures_too(listed_project, shared_sandbox, tmp_path):
    project = listed_project.copy(tmp_path, perps=())
    assert project.collect(FIVE_MINUTES.name, "2023-03-21").success
    result = project.run("refresh_kdata")
    assert result.success
    shown = partition_figures(result, FIVE_MINUTES.name)
    assert {key: (metadata["rows"], metadata["run_rows_received"]) for key, metadata in shown.items()} == {
        "2023-03-21": (576, 288),
        "2023-03-22": (288, 288),
    }
