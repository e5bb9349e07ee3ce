"""What is judged is told, and changes nothing of what was fetched."""

from __future__ import annotations

from datetime import datetime

from crypto_assets.collect.bulk_file_reader import BulkFileReader
from crypto_assets.collect.fetched import RestRows
from crypto_assets.collect.judge import Judged, JudgedCandles
from crypto_assets.collect.span_reader import SpanReader
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import MINUTE_MS, Interval, parse_time
from crypto_assets.domain.series import Series
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.binance.klines import page_of
from crypto_assets.frames.candles import no_candles

SPAN = Span(parse_time("2023-03-20"), parse_time("2023-03-20") + 60 * MINUTE_MS)
SOME_TIME = datetime(2024, 1, 1)  # noqa: DTZ001 - naive UTC
BTC_MINUTES = Series("binance", MarketType.SPOT, "BTCUSDT", "cryptopair_binance_btcusdt", Interval.M1)


def candle(minute: int, low: str = "1") -> list[object]:
    open_time = SPAN.start + minute * MINUTE_MS
    return [open_time, "2", "3", low, "2", "4", open_time + MINUTE_MS - 1, "8", 5, "2", "4", "0"]


class OnePage:
    """An exchange that answers with one page."""

    def candle_pages(self, *_):
        yield page_of([candle(0), candle(1, low="9"), candle(900), candle(2), candle(3, low="9")], SPAN)


def test_judging_tells_what_rest_sent_in_vain_and_counts_it_nowhere_else():
    reader = SpanReader(OnePage(), BulkFileReader(), BTC_MINUTES, SPAN, SPAN, SPAN.end + MINUTE_MS)
    (page,) = reader.fetch()
    assert isinstance(page, RestRows)
    candles = JudgedCandles(Interval.M1, SPAN, SPAN, None, lambda _: no_candles())

    def judged() -> Judged:
        return candles.judge([page])

    assert judged().refused == {page.request: 3}, "two break the contract, one was not asked for"
    assert [len(each.rejections) for each in (judged(), judged())] == [3, 3]
    (answer,) = reader.answers(judged().refused, SOME_TIME, SOME_TIME)
    assert (answer.rows, answer.refused) == (4, 3)
    (unjudged,) = reader.answers({}, SOME_TIME, SOME_TIME)
    assert unjudged.refused == 0
