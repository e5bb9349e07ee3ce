"""What is judged and committed together."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest

from crypto_assets.collect.bulk_file_reader import BulkFileReader
from crypto_assets.collect.fetched import FileRows, RestRequest, RestRows, batches
from crypto_assets.collect.span_reader import SpanReader
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import MINUTE_MS, Interval, parse_time
from crypto_assets.domain.series import Series
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.binance.archive_csv import ArchiveCandles
from crypto_assets.exchange.binance.archive_files import ArchiveFile
from crypto_assets.exchange.binance.klines import page_of
from crypto_assets.exchange.errors import TransientError
from crypto_assets.quality.gaps.ledger import Answer
from crypto_assets_tests.received_klines import ANY_TIME

START = parse_time("2023-02-01")
FOREVER = parse_time("2024-01-01")
BTC_MINUTES = Series("binance", MarketType.SPOT, "BTCUSDT", "cryptopair_binance_btcusdt", Interval.M1)


def kline(minute: int) -> list:
    return [START + minute * MINUTE_MS, *["1.5"] * 5, 0, "1.5", 1, "1.5", "1.5", "0"]


def page(first: int, request: RestRequest) -> RestRows:
    return RestRows(request, page_of([kline(first)], ANY_TIME))


def file(first: int, rows: int) -> FileRows:
    of = ArchiveFile(MarketType.SPOT, "BTCUSDT", Interval.M1, "2023-02")
    times = [START + (first + number) * MINUTE_MS for number in range(rows)]
    return FileRows(ArchiveCandles(of, "", np.array([times] + [[1.5] * rows] * 7), b"", 1))


def given(fetched, tail: int) -> list[list[tuple[str, int]]]:
    def told(each):
        return ("file", each.candles.table.shape[1]) if isinstance(each, FileRows) else ("rest", len(each.page))

    return [[told(each) for each in batch] for batch in batches(fetched, tail)]


def test_pages_and_files_are_committed_as_they_come():
    request = RestRequest(Span(START, FOREVER))
    pages, month = [page(number, request) for number in range(3)], file(3, 40_320)
    assert given([*pages, month], FOREVER) == [[("rest", 1)]] * 3 + [[("file", 40_320)]]


def test_pages_of_one_request_that_end_it_are_parsed_as_one():
    request = RestRequest(Span(START, FOREVER))
    pages = [page(number, request) for number in range(4)]
    assert given(pages, START + 2 * MINUTE_MS) == [[("rest", 1)], [("rest", 1)], [("rest", 2)]]


class Pages:
    """An exchange that has candles in pages of its own choosing."""

    def __init__(self, minutes: list[int], page_rows: int) -> None:
        rows = [kline(minute) for minute in minutes]
        self.pages = [rows[first : first + page_rows] for first in range(0, len(rows), page_rows)]

    def candle_pages(self, *_):
        for rows in self.pages:
            yield page_of(rows, ANY_TIME)


def answer(exchange: Pages) -> Answer:
    span = Span(START, START + 60 * MINUTE_MS)
    reader = SpanReader(exchange, BulkFileReader(), BTC_MINUTES, span, span, FOREVER)
    assert sum(len(each.page) for each in reader.fetch()) == 7
    (found,) = reader.answers({}, datetime(2024, 1, 1), datetime(2024, 1, 1))  # noqa: DTZ001 - naive UTC
    return found


def test_the_evidence_is_the_same_however_an_answer_is_cut_into_pages():
    minutes = [0, 1, 2, 5, 6, 7, 59]
    cut = [answer(Pages(minutes, page_rows)) for page_rows in (1, 2, 3, 7)]
    assert cut == [cut[0]] * 4
    assert cut[0].rows == 7
    assert answer(Pages([0, 1, 2, 4, 6, 7, 59], 3)).digest != cut[0].digest


def test_what_looks_back_at_a_file_is_committed_with_it():
    month, after = file(0, 40_320), page(40_320, RestRequest(Span(START, START)))
    assert given([month, after], START + 40_300 * MINUTE_MS) == [[("file", 40_320), ("rest", 1)]]


def test_what_came_before_an_error_is_given_first():
    def breaking():
        yield file(0, 1440)
        raise TransientError("klines did not answer")

    found = []
    with pytest.raises(TransientError):
        found.extend(batches(breaking(), FOREVER))
    assert [len(batch) for batch in found] == [1]
