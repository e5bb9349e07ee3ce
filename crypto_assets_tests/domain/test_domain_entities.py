"""Names that users see and type."""

from __future__ import annotations

import pytest

from crypto_assets.domain.entities import (
    asset_id,
    candle_id,
    class_name,
    entity_code,
    entity_id,
    unit_multiplier,
)
from crypto_assets.domain.intervals import Interval, parse_time


def test_entities_are_named_by_type_exchange_and_code():
    assert asset_id("binance", "BTC") == "crypto_binance_btc"
    assert entity_id("cryptopair", "binance", entity_code("BTCUSDT")) == "cryptopair_binance_btcusdt"
    assert asset_id("binance", "币安人生") == "crypto_binance_币安人生"


def test_codes_hold_no_underscore():
    assert entity_code("BTCUSDT_240628") == "btcusdt-240628"


def test_candles_are_named_by_their_day_or_their_millisecond():
    time = parse_time("2024-08-01T00:05")
    assert candle_id("cryptopair_binance_btcusdt", time, Interval.M5) == (
        "cryptopair_binance_btcusdt_2024-08-01T00:05:00.000"
    )
    assert candle_id("x", parse_time("2024-08-01"), Interval.D1) == "x_2024-08-01"


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ("cryptopair_1m_kdata", "CryptoPair1mKdata"),
        ("cryptoperp_1d_kdata", "CryptoPerp1dKdata"),
        ("crypto_asset", "CryptoAsset"),
        ("crypto_pair", "CryptoPair"),
        ("crypto_orderbook", "CryptoOrderbook"),
    ],
)
def test_classes_are_named_as_zvt_does(table, name):
    assert class_name(table) == name


@pytest.mark.parametrize(
    ("base", "units"),
    [
        ("BTC", 1),
        ("1000PEPE", 1000),
        ("1000000MOG", 1_000_000),
        ("1INCH", 1),
        ("100X", 1),
        ("1000", 1),
        ("币安人生", 1),
    ],
)
def test_a_prefix_of_thousands_is_the_number_of_units(base, units):
    assert unit_multiplier(base) == units
