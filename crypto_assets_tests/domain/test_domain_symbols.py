"""Which listed symbols a text means, in whichever spelling it comes."""

from __future__ import annotations

import pytest

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.symbols import Ambiguous, Listed, NoSuchSymbol, find_listed, named_without_listing

BTC = Listed("cryptopair_binance_btcusdt", "BTC/USDT", "btcusdt")
ETH = Listed("cryptopair_binance_ethusdt", "ETH/USDT", "ethusdt")
ETHBTC = Listed("cryptopair_binance_ethbtc", "ETH/BTC", "ethbtc")
BTC_PERP = Listed("cryptoperp_binance_btcusdt", "BTC/USDT:USDT", "btcusdt")
# One name, two symbols: as exchangeInfo of 2026-03-31 has it.
DEAD = Listed("cryptoperp_binance_idol", "IDOL/USDT:USDT", "idol")
LIVING = Listed("cryptoperp_binance_idolusdt", "IDOL/USDT:USDT", "idolusdt")
PAIRS, PERPS = [BTC, ETH, ETHBTC], [BTC_PERP, DEAD, LIVING]


@pytest.mark.parametrize(
    ("text", "listed", "meant"),
    [
        ("BTC/USDT", PAIRS, [BTC]),
        ("btc/usdt", PAIRS, [BTC]),
        ("BTCUSDT", PAIRS, [BTC]),
        ("cryptopair_binance_btcusdt", PAIRS, [BTC]),
        ("BTC/USDT", PERPS, [BTC_PERP]),
        ("BTC/USDT:USDT", PERPS, [BTC_PERP]),
        ("*/USDT", PAIRS, [BTC, ETH]),
        ("ETH/*", PAIRS, [ETHBTC, ETH]),
        ("*", PAIRS, [BTC, ETHBTC, ETH]),
        ("idol*", PERPS, [DEAD, LIVING]),
        ("IDOL", PERPS, [DEAD]),
        ("idolusdt", PERPS, [LIVING]),
        ("btcusdt", PAIRS + PERPS, [BTC, BTC_PERP]),
        ("BTC/USDT", PAIRS + PERPS, [BTC]),
    ],
)
def test_a_text_means_the_symbols_that_it_spells(text, listed, meant):
    assert find_listed([text], listed, "here") == meant


def test_each_symbol_is_meant_once_in_the_order_of_the_texts():
    assert find_listed(["ETH/USDT", "*/USDT", "btcusdt"], PAIRS, "here") == [ETH, BTC]


def test_one_name_of_two_symbols_is_ambiguous_and_their_codes_are_not():
    with pytest.raises(
        Ambiguous, match=r"may be idol \(IDOL/USDT:USDT\) or idolusdt \(IDOL/USDT:USDT\); name its code"
    ):
        find_listed(["IDOL/USDT:USDT"], PERPS, "here")


@pytest.mark.parametrize(("text", "near"), [("btcusdx", "BTC/USDT"), ("ETH/BTX", "ETH/BTC"), ("zzz", None)])
def test_what_is_not_listed_has_the_nearest_names(text, near):
    with pytest.raises(NoSuchSymbol, match=f"'{text}' is no symbol of here; ") as unknown:
        find_listed([text], PAIRS, "here")
    assert unknown.value.nearest[:1] == ([] if near is None else [near])


@pytest.mark.parametrize(
    ("text", "market_type", "name"),
    [
        ("1000pepeusdt", MarketType.SWAP, "1000PEPE/USDT:USDT"),
        ("btcusdc", MarketType.SWAP, "BTC/USDC:USDC"),
        ("usdcusdt", MarketType.SPOT, "USDC/USDT"),
        ("币安人生usdt", MarketType.SPOT, "币安人生/USDT"),
        ("btc/xyz", MarketType.SPOT, "BTC/XYZ"),
    ],
)
def test_without_a_listing_the_quote_currency_tells(text, market_type, name):
    assert named_without_listing(text, market_type) == name
