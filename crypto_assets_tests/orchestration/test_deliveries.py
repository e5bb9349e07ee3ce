"""What is judged and committed together."""

from __future__ import annotations

import pyarrow as pa
import pytest

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import MINUTE_MS, Interval, parse_time
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.archive_csv import ArchiveCandles
from crypto_assets.exchange.archive_files import ArchiveFile
from crypto_assets.exchange.errors import TransientError
from crypto_assets.orchestration.deliveries import PAGES_PER_COMMIT, FileRows, RestRows, Window, batches

START = parse_time("2023-02-01")
FOREVER = parse_time("2024-01-01")


def page(first: int, window: Window) -> RestRows:
    return RestRows(window, [[START + first * MINUTE_MS]])


def file(first: int, rows: int) -> FileRows:
    of = ArchiveFile(MarketType.SPOT, "BTCUSDT", Interval.M1, "2023-02")
    times = [START + (first + number) * MINUTE_MS for number in range(rows)]
    return FileRows(ArchiveCandles(of, "", pa.table({"open_time": times}), b"", 1))


def given(deliveries, tail: int) -> list[list[tuple[str, int]]]:
    def told(each):
        return ("file", each.candles.table.num_rows) if isinstance(each, FileRows) else ("rest", len(each.rows))

    return [[told(each) for each in batch] for batch in batches(deliveries, tail)]


def test_pages_of_one_window_are_parsed_as_one_and_committed_ten_at_a_time():
    window = Window(Span(START, FOREVER))
    pages = [page(number, window) for number in range(2 * PAGES_PER_COMMIT + 3)]
    assert given(pages, FOREVER) == [[("rest", 10)], [("rest", 10)], [("rest", 3)]]


def test_a_month_of_minutes_is_committed_by_itself_and_small_files_together():
    context = page(-1, Window(Span(START, START)))
    month, days = file(0, 40_320), [file(40_320 + day * 1440, 1440) for day in range(11)]
    assert given([context, month, *days], FOREVER) == [
        [("rest", 1), ("file", 40_320)],
        [("file", 1440)] * 10,
        [("file", 1440)],
    ]


def test_what_looks_back_at_a_file_is_committed_with_it():
    month, after = file(0, 40_320), page(40_320, Window(Span(START, START)))
    assert given([month, after], START + 40_300 * MINUTE_MS) == [[("file", 40_320), ("rest", 1)]]


def test_what_came_before_an_error_is_given_first():
    def breaking():
        yield file(0, 1440)
        raise TransientError("klines did not answer")

    found = []
    with pytest.raises(TransientError):
        found.extend(batches(breaking(), FOREVER))
    assert [len(batch) for batch in found] == [1]
