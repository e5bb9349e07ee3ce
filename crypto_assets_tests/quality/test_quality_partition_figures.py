"""The figures of partitions, from what was noted when they were asked for."""

from __future__ import annotations

import pytest

from crypto_assets.domain.intervals import DAY_MS
from crypto_assets.domain.spans import Span
from crypto_assets.quality.gaps.partition_figures import partition_figures
from crypto_assets_tests.counted_work import counted
from crypto_assets_tests.quality.stored_candles import (
    BTC,
    ETH,
    FIVE_MINUTES,
    START,
    asked_in_vain,
    collected,
    list_pairs,
    rolled_back,
    store,
    times_of,
)


@pytest.mark.parametrize("days", [3, 300])
def test_the_figures_take_two_statements_for_any_number_of_partitions(quality_database, days):
    window = Span(START, START + days * DAY_MS)
    with rolled_back(quality_database) as connection:
        list_pairs(connection, "BTC", "ETH")
        for entity in (BTC, ETH):
            collected(connection, window, entity=entity)
        with counted() as work:
            found = partition_figures(connection, FIVE_MINUTES, window)
    assert len(work.statements) == 2
    assert len(found) == days
    assert {each.expected for each in found.values()} == {2 * 288}


def test_a_gap_counts_in_each_partition_that_it_crosses(quality_database):
    window = Span(START, START + 3 * DAY_MS)
    gap = Span(START + DAY_MS - 12 * 300_000, START + DAY_MS + 24 * 300_000)
    with rolled_back(quality_database) as connection:
        list_pairs(connection)
        store(connection, [time for time in times_of(window) if not gap.start <= time < gap.end])
        collected(connection, window)
        found = partition_figures(connection, FIVE_MINUTES, window)
        assert [(each.rows, each.missing) for each in found.values()] == [(276, 12), (264, 24), (288, 0)]
        asked_in_vain(connection, window)
        found = partition_figures(connection, FIVE_MINUTES, window)
        assert [(each.missing, each.source_candles) for each in found.values()] == [(0, 12), (0, 24), (0, 0)]
