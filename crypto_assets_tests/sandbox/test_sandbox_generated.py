"""The generated market: deterministic, addressable by day, and true to what candles must be."""

from __future__ import annotations

import numpy as np
import pytest

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import DAY_MS, MINUTE_MS, Interval, parse_time
from crypto_assets.sandbox.generated import GeneratedDataset
from crypto_assets.sandbox.klines import render

NOW = parse_time("2024-06-10T12:34") + 30_000
START = parse_time("2024-06-03")


def dataset(**options) -> GeneratedDataset:
    return GeneratedDataset(clock=lambda: NOW, **options)


def minutes(source, symbol="BTCUSDT", start=START, end=START + DAY_MS, market=MarketType.SPOT):
    return source.candles(market, symbol, Interval.M1, start, end, source.clock_ms())


def test_a_range_is_the_same_whatever_was_asked_before():
    straight, devious = dataset(), dataset()
    minutes(devious, "ETHUSDT")
    minutes(devious, start=START + 3 * DAY_MS, end=START + 4 * DAY_MS)
    whole = minutes(straight, end=START + 2 * DAY_MS)
    inner = minutes(devious, start=START + DAY_MS // 2, end=START + DAY_MS * 3 // 2)
    for left, right in zip(
        whole.between(START + DAY_MS // 2, START + DAY_MS * 3 // 2).columns(), inner.columns(), strict=True
    ):
        np.testing.assert_array_equal(left, right)


def test_seeds_make_different_markets_and_genesis_only_hides_history():
    assert not np.array_equal(minutes(dataset()).close, minutes(dataset(seed=1)).close)
    late = dataset(genesis_ms=START)
    np.testing.assert_array_equal(minutes(dataset()).close, minutes(late).close)
    assert len(minutes(late, start=START - DAY_MS, end=START)) == 0


@pytest.mark.parametrize("market", list(MarketType))
def test_every_candle_is_possible(market):
    source = dataset()
    for info in source.symbols(market):
        for start in (parse_time("2023-05-06"), START, NOW // DAY_MS * DAY_MS):
            candles = minutes(source, info.symbol, start, start + DAY_MS, market)
            assert (candles.low > 0).all()
            assert (candles.low <= np.minimum(candles.open, candles.close)).all()
            assert (candles.high >= np.maximum(candles.open, candles.close)).all()
            np.testing.assert_array_equal(candles.open[1:], candles.close[:-1])
            for base, quote in ((candles.volume, candles.quote_volume), (candles.taker_base, candles.taker_quote)):
                assert (quote >= base * candles.low).all()
                assert (quote <= base * candles.high).all()
            assert (candles.taker_base <= candles.volume).all()
            assert (candles.taker_quote <= candles.quote_volume).all()
            flat = candles.volume == 0
            assert (candles.high[flat] == candles.low[flat]).all()
            assert (candles.trades[flat] == 0).all()


def test_days_join_and_a_perpetual_stays_near_its_spot_price():
    source = dataset()
    two = minutes(source, end=START + 2 * DAY_MS)
    assert two.open[1440] == two.close[1439]
    perpetual = minutes(source, market=MarketType.SWAP)
    assert np.abs(perpetual.close / 10 - minutes(source).close / 100).max() < 1


def test_the_open_minute_grows_until_it_is_the_closed_one():
    source = dataset()
    opened = NOW // MINUTE_MS * MINUTE_MS
    volumes = [
        int(source.candles(MarketType.SPOT, "BTCUSDT", Interval.M1, opened, clock, clock).volume[0])
        for clock in (opened + 1_000, opened + 30_000, opened + 59_999, opened + MINUTE_MS)
    ]
    assert volumes == sorted(volumes)
    assert volumes[0] < volumes[-1]
    assert len(source.candles(MarketType.SPOT, "BTCUSDT", Interval.M1, opened, opened, opened)) == 0


def test_any_number_of_symbols():
    source = dataset(symbols=50)
    for market in MarketType:
        names = [info.symbol for info in source.symbols(market)]
        assert len(set(names)) == 50
        assert len(minutes(source, names[-1], market=market)) == 1440
    assert len(dataset(symbols=2).symbols(MarketType.SPOT)) == 2


def test_rendering_prints_every_digit():
    source = dataset()
    info = next(info for info in source.symbols(MarketType.SPOT) if info.symbol == "1000SATSUSDT")
    candles = minutes(source, info.symbol)
    rows = render(candles, info, MarketType.SPOT, 0)
    for index in (0, 7, 1439):
        text = rows.data[rows.ends[index] : rows.ends[index + 1]].decode()
        price = [f"{value / 10**7:.7f}0" for value in (candles.open[index], candles.high[index])]
        assert text.startswith(f',[{candles.open_time[index]},"{price[0]}","{price[1]}",')
        assert f'"{candles.volume[index]}.00000000",{candles.close_time[index]},' in text
