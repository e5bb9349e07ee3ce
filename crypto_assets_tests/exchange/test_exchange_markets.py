"""Reading exchangeInfo: what Binance says, nothing invented."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from crypto_assets.domain.entities import MarketType
from crypto_assets.exchange import UnknownSymbol, find_market, nearest_symbols
from crypto_assets.exchange.binance.symbols import market_of

SPOT, SWAP = MarketType.SPOT, MarketType.SWAP

PAIR = {
    "symbol": "BTCUSDT",
    "status": "TRADING",
    "baseAsset": "BTC",
    "quoteAsset": "USDT",
    "baseAssetPrecision": 8,
    "quoteAssetPrecision": 8,
    "isMarginTradingAllowed": True,
    "filters": [
        {"filterType": "PRICE_FILTER", "tickSize": "0.01000000"},
        {"filterType": "LOT_SIZE", "stepSize": "0.00001000", "maxQty": "9000.00000000"},
        {"filterType": "NOTIONAL", "minNotional": "5.00000000"},
    ],
}
PERP = {
    "symbol": "1000PEPEUSDT",
    "contractType": "PERPETUAL",
    "deliveryDate": 4133404802000,
    "onboardDate": 1683270000000,
    "status": "TRADING",
    "maintMarginPercent": "2.5000",
    "requiredMarginPercent": "5.0000",
    "baseAsset": "1000PEPE",
    "quoteAsset": "USDT",
    "marginAsset": "USDT",
    "pricePrecision": 7,
    "quantityPrecision": 0,
    "filters": [
        {"filterType": "PRICE_FILTER", "tickSize": "0.0000001", "stepSize": None, "notional": None},
        {"filterType": "LOT_SIZE", "tickSize": None, "stepSize": "1", "maxQty": "100000000"},
        {"filterType": "MIN_NOTIONAL", "notional": "5", "minNotional": None},
    ],
}


def markets_of(server, exchange, answer, market_type, symbols, funding=()):
    server.always["exchangeInfo"] = answer({"symbols": symbols})
    server.always["fundingInfo"] = answer(list(funding))
    return exchange.markets(market_type)


def test_a_pair_is_read(server, exchange, answer):
    (market,) = markets_of(server, exchange, answer, SPOT, [PAIR])
    assert (market.symbol, market.code, market.entity_id) == ("BTC/USDT", "btcusdt", "cryptopair_binance_btcusdt")
    assert (market.price_step, market.qty_step, market.min_notional, market.max_order_size) == (0.01, 1e-5, 5.0, 9000.0)
    assert market.margin_enabled
    assert market.is_active
    assert market.settle is market.maker_fee is market.taker_fee is market.max_leverage is market.listed_ms is None
    assert [path for path, _ in server.asked] == ["/api/v3/exchangeInfo"]


def test_a_perpetual_is_read(server, exchange, answer):
    funding = [{"symbol": "1000PEPEUSDT", "fundingIntervalHours": 4}]
    (market,) = markets_of(server, exchange, answer, SWAP, [PERP], funding)
    assert (market.symbol, market.settle) == ("1000PEPE/USDT:USDT", "USDT")
    assert (market.entity_id, market.unit_multiplier) == ("cryptoperp_binance_1000pepeusdt", 1000)
    assert (market.price_step, market.qty_step, market.min_notional) == (1e-7, 1.0, 5.0)
    assert (market.maintenance_margin_rate, market.initial_margin_rate) == (0.025, 0.05)
    assert (market.listed_ms, market.delisted_ms, market.funding_interval_hours) == (1683270000000, None, 4)
    assert market.maker_fee is market.taker_fee is market.max_leverage is None
    assert [path for path, _ in server.asked] == ["/fapi/v1/exchangeInfo", "/fapi/v1/fundingInfo"]


def test_a_host_without_funding_info_means_eight_hours(server, exchange, answer, caplog):
    server.always["exchangeInfo"] = answer({"symbols": [PERP]})
    server.always["fundingInfo"] = answer(status=404, body="<html>Not Found</html>")
    assert exchange.markets(SWAP)[0].funding_interval_hours == 8
    assert "fundingInfo" in caplog.text


@pytest.mark.parametrize(
    ("status", "delivery", "delisted"),
    [
        ("TRADING", 4133404800000, None),
        ("TRADING", 1763712000000, None),
        ("SETTLING", 1763712000000, 1763712000000),
        ("SETTLING", 4133404800000, None),
        ("PENDING_TRADING", None, None),
    ],
)
def test_a_perpetual_is_delisted_once_it_has_stopped(server, exchange, answer, status, delivery, delisted):
    symbol = PERP | {"status": status, "deliveryDate": delivery}
    (market,) = markets_of(server, exchange, answer, SWAP, [symbol])
    assert market.delisted_ms == delisted
    assert market.is_active == (status == "TRADING")


@pytest.mark.parametrize(
    ("contract_type", "kept"),
    [
        ("PERPETUAL", True),
        ("TRADIFI_PERPETUAL", True),
        ("PERPETUAL DELIVERING", True),
        ("CURRENT_QUARTER", False),
        ("CURRENT_QUARTER DELIVERING", False),
        ("", False),
        (None, False),
    ],
)
def test_only_perpetuals_are_kept(server, exchange, answer, contract_type, kept):
    symbol = PERP | {"contractType": contract_type, "deliveryDate": 1763712000000}
    markets = markets_of(server, exchange, answer, SWAP, [symbol])
    assert [market.symbol for market in markets] == ["1000PEPE/USDT:USDT"] * kept


def test_a_switched_off_filter_leaves_the_decimals_and_no_limit(server, exchange, answer):
    filters = [
        {"filterType": "PRICE_FILTER", "tickSize": "0.00000000"},
        {"filterType": "LOT_SIZE", "stepSize": None, "maxQty": "0.00000000"},
        {"filterType": "MIN_NOTIONAL", "minNotional": "0.00000000"},
    ]
    (market,) = markets_of(server, exchange, answer, SPOT, [PAIR | {"filters": filters}])
    assert (market.price_step, market.qty_step) == (float("0.00000001"), float("0.00000001"))
    assert market.min_notional is market.max_order_size is None


def test_what_states_no_step_has_none():
    market = market_of(SPOT, {"symbol": "XUSDT"}, {"base": "X", "quote": "USDT", "settle": None}, None)
    assert (market.price_step, market.qty_step) == (None, None)


@pytest.mark.parametrize(
    "broken",
    [
        None,
        "BTCUSDT",
        {},
        PERP | {"symbol": None},
        PERP | {"symbol": 7},
        PERP | {"baseAsset": "B\0"},
        PERP | {"onboardDate": "soon"},
        PERP | {"onboardDate": 10**18},
        PERP | {"deliveryDate": -1},
        PERP | {"filters": 5},
        PERP | {"filters": [{"filterType": "PRICE_FILTER", "tickSize": "much"}]},
        PERP | {"status": {"is": "TRADING"}},
    ],
)
def test_a_symbol_that_cannot_be_read_keeps_no_other_from_being_read(server, exchange, answer, broken):
    server.always["exchangeInfo"] = answer({"symbols": [broken, PERP | {"symbol": "BTCUSDT"}]})
    server.always["fundingInfo"] = answer([])
    refused = []
    assert [market.exchange_id for market in exchange.markets(SWAP, refused.append)] == ["BTCUSDT"]
    assert len(refused) == (0 if broken == {} else 1)  # it is not said to be a perpetual
    assert all(each.reason for each in refused)


def test_a_misspelt_symbol_is_told_its_neighbour(server, exchange, answer):
    markets = markets_of(server, exchange, answer, SPOT, [PAIR])
    assert find_market(markets, "BTC/USDT") is find_market(markets, "BTCUSDT") is markets[0]
    with pytest.raises(UnknownSymbol, match="did you mean BTC/USDT"):
        find_market(markets, "BTC/USDTT")


def test_nearest_symbols_ignore_case_and_put_the_best_first():
    assert nearest_symbols("btc/usdtt", ["ETH/USDT", "BTC/USDT", "BTC/USDC"])[0] == "BTC/USDT"
    assert nearest_symbols("qqqqqq", ["BTC/USDT"]) == []


RECORDED = Path(
    os.environ.get("CRYPTO_ASSETS_RECORDED_DATA") or Path(__file__).parents[3] / "shared" / "data" / "binance"
)


@pytest.mark.parametrize(
    ("name", "market_type", "count"),
    [
        ("spot/exchangeInfo-2021-10-12.json.gz", SPOT, 1695),
        ("spot/exchangeInfo-2023-10-19.json.gz", SPOT, 2319),
        ("usdm/exchangeInfo-2021-07-22.json.gz", SWAP, 119),
        ("usdm/exchangeInfo-demo-2026-03-31.json.gz", SWAP, 693),
    ],
)
def test_recorded_exchange_infos_are_read_whole(server, exchange, answer, name, market_type, count):
    if not (RECORDED / name).exists():
        pytest.skip(f"no recorded data at {RECORDED / name}; set CRYPTO_ASSETS_RECORDED_DATA")
    raw = json.loads(gzip.decompress((RECORDED / name).read_bytes()))
    markets = markets_of(server, exchange, answer, market_type, raw["symbols"])
    assert len(markets) == count
    assert len({market.entity_id for market in markets}) == count
    trading = sum(1 for symbol in raw["symbols"] if symbol["status"] == "TRADING")
    delivery = sum(1 for s in raw["symbols"] if s.get("contractType", "") in ("CURRENT_QUARTER", "NEXT_QUARTER"))
    assert sum(market.is_active for market in markets) == trading - delivery
    assert all(market.price_step > 0 and market.qty_step > 0 for market in markets)
    bitcoin = find_market(markets, "BTCUSDT")
    assert (bitcoin.base, bitcoin.quote) == ("BTC", "USDT")
    assert bitcoin.max_order_size is not None
    assert bitcoin.min_notional is not None
