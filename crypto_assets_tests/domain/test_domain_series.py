"""Candle tables as values."""

from __future__ import annotations

import pytest

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import DAY_MS, Interval, PartitionScheme, parse_time
from crypto_assets.domain.series import KDATA_TABLES, CandleTable, Series
from crypto_assets.domain.spans import Span

HOURS = CandleTable(MarketType.SWAP, Interval.H1)


def test_a_table_is_named_by_market_and_interval():
    assert CandleTable(MarketType.SWAP, Interval.H4).name == "cryptoperp_4h_kdata"
    assert (HOURS.level, HOURS.entity_type, HOURS.entity_table) == ("1h", "cryptoperp", "crypto_perp")


def test_every_market_has_a_table_of_each_interval():
    assert len(KDATA_TABLES) == 14
    assert all(CandleTable.named(name) is table and table.name == name for name, table in KDATA_TABLES.items())


@pytest.mark.parametrize(("name", "near"), [("cryptoper_1h_kdata", HOURS.name), ("nothing", "cryptopair_1m_kdata")])
def test_what_is_no_candle_table_is_refused_with_names_near_it(name, near):
    with pytest.raises(ValueError, match=rf"'{name}' is no candle table; did you mean .*{near}"):
        CandleTable.named(name)


def test_a_row_of_the_coverage_belongs_to_the_table_of_its_entity_and_level():
    assert CandleTable.of("cryptoperp_binance_btcusdt", "1h") == HOURS
    assert CandleTable.of("cryptoperp_binance_btcusdt", "2h") is None
    assert CandleTable.of("crypto_binance_btc", "1h") is None


def test_a_series_knows_its_table_and_what_the_exchange_is_asked_for():
    series = Series("binance", MarketType.SWAP, "BTCUSDT", "cryptoperp_binance_btcusdt", Interval.H1)
    assert series.candle_table == HOURS
    assert series.at_exchange == (MarketType.SWAP, "BTCUSDT", Interval.H1)


def test_its_history_is_cut_into_the_partitions_of_its_interval():
    march = Span(parse_time("2023-03-01"), parse_time("2023-04-01"))
    assert HOURS.partition_scheme is PartitionScheme.MONTHLY
    assert HOURS.partition_span("2023-03-01") == march
    assert HOURS.partition_key(march.end - 1) == "2023-03-01"
    assert HOURS.partition_keys(Span(march.start, march.end + 1)) == ["2023-03-01", "2023-04-01"]
    assert HOURS.is_partition_key("2023-03-01")
    assert not HOURS.is_partition_key("2023-03-02")
    minutes = CandleTable(MarketType.SPOT, Interval.M1)
    assert minutes.partition_span("2023-03-02") == (march.start + DAY_MS, march.start + 2 * DAY_MS)
    assert HOURS.whole_partitions(Span(march.end - 1, march.end)) == march
    assert HOURS.whole_partitions(Span(march.end - 1, march.end + 1)).start == march.start
    assert HOURS.whole_partitions(Span(march.end - 1, march.end + 1)).end == parse_time("2023-05-01")
