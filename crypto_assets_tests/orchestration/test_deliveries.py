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
from crypto_assets.orchestration.deliveries import FileRows, RestRows, Window, batches

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


def test_pages_and_files_are_committed_as_they_come():
    window = Window(Span(START, FOREVER))
    pages, month = [page(number, window) for number in range(3)], file(3, 40_320)
    assert given([*pages, month], FOREVER) == [[("rest", 1)]] * 3 + [[("file", 40_320)]]


def test_pages_of_one_window_that_end_it_are_parsed_as_one():
    window = Window(Span(START, FOREVER))
    pages = [page(number, window) for number in range(4)]
    assert given(pages, START + 2 * MINUTE_MS) == [[("rest", 1)], [("rest", 1)], [("rest", 2)]]


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
