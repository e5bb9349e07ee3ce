from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import select

from crypto_assets.database.engines import open_database
from crypto_assets.database.queries import (
    entity_ids,
    latest_candles,
    query_data,
    row_count,
    select_data,
    select_entity_ids,
    select_latest,
)
from crypto_assets.database.tables import TABLES
from crypto_assets.database.writes import upsert
from crypto_assets_tests.database.database_frames import CANDLES, assets, candles, pairs

TABLE = TABLES[CANDLES]
BTC, ETH = "cryptopair_binance_btcusdt", "cryptopair_binance_ethusdt"
START, END = datetime(2024, 8, 1), datetime(2024, 8, 2)  # noqa: DTZ001


@pytest.fixture
def filled(database):
    with database.begin(CANDLES) as connection:
        upsert(connection, TABLE, candles(BTC, "2024-08-01", 5))
        upsert(connection, TABLE, candles(ETH, "2024-08-01T00:02", 5))
    with database.begin("crypto_meta") as connection:
        upsert(connection, TABLES["crypto_asset"], assets("BTC", "ETH", "USDT"))
        upsert(connection, TABLES["crypto_pair"], pairs("BTC", "ETH").assign(is_active=[True, False]))
    return database


def plan(database, name, statement):
    with database.connect(name) as connection:
        sql = str(statement.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True}))
        schema = TABLES[name].schema
        return [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql.replace(f'{schema}.', '')}")]


def minutes(frame):
    return list(zip(frame["code"].str[:3], frame["timestamp"].dt.minute, strict=True))


@pytest.mark.parametrize(
    "statement",
    [
        select_data(TABLE, entity_ids=[BTC], start=START, end=END),
        select_data(TABLE, entity_ids=[BTC, ETH], start=START, end=END, limit=10, order="desc"),
        select_data(TABLE, start=START, end=END),
        select_data(TABLE, start=START, end=END, limit=10),
        select_data(TABLE, limit=10, order="desc"),
        select_latest(TABLE),
        select_entity_ids(TABLE),
    ],
)
def test_no_standard_candle_query_scans_the_table(database, statement):
    steps = plan(database, CANDLES, statement)
    assert any("SEARCH cryptopair_1m_kdata USING PRIMARY KEY" in step for step in steps)
    assert all(not step.startswith("SCAN") or step == "SCAN entity_scan" for step in steps)


def test_the_newest_candle_of_one_symbol_is_not_sorted_for(database):
    steps = plan(database, CANDLES, select_data(TABLE, entity_ids=[BTC], limit=1, order="desc"))
    assert steps == ["SEARCH cryptopair_1m_kdata USING PRIMARY KEY (entity_id=?)"]


PAIR, PERP, ASSET = TABLES["crypto_pair"].c, TABLES["crypto_perp"].c, TABLES["crypto_asset"].c


@pytest.mark.parametrize(
    ("condition", "index"),
    [
        *((table.code == "x", f"ix_{table.code.table.name}_code") for table in (PAIR, PERP, ASSET)),
        *(
            ((table.exchange == "b") & (table.code > "x"), f"ix_{table.code.table.name}_exchange_code")
            for table in (PAIR, PERP, ASSET)
        ),
        *((table.timestamp > START, f"ix_{table.code.table.name}_timestamp") for table in (PAIR, PERP, ASSET)),
        (ASSET.symbol == "BTC", "ix_crypto_asset_symbol"),
        (ASSET.data_quality_score < 0.5, "ix_crypto_asset_data_quality_score"),
        (ASSET.last_validation_timestamp < START, "ix_crypto_asset_last_validation_timestamp"),
        ((PAIR.base_symbol == "BTC") & (PAIR.quote_symbol == "USDT"), "ix_crypto_pair_base_quote"),
        (PERP.underlying_symbol == "BTC", "ix_crypto_perp_underlying"),
        (PAIR.is_active, "ix_crypto_pair_active"),
        (PERP.is_active, "ix_crypto_perp_active"),
        (TABLES["crypto_kdata_gap"].c.level == "1m", "ix_crypto_kdata_gap_status"),
        (TABLES["crypto_kdata_gap"].c.entity_id == BTC, "ix_crypto_kdata_gap_entity"),
        (TABLES["crypto_data_quality_log"].c.entity_id == BTC, "ix_crypto_data_quality_log_entity_timestamp"),
        (TABLES["crypto_data_quality_log"].c.timestamp > START, "ix_crypto_data_quality_log_timestamp"),
        (TABLES["crypto_price_consistency"].c.symbol == "x", "ix_crypto_price_consistency_symbol_window"),
        (TABLES["crypto_operational_metrics"].c.metric_name == "x", "ix_crypto_operational_metrics_name_timestamp"),
        (TABLES["crypto_websocket_sessions"].c.provider == "x", "ix_crypto_websocket_sessions_provider_updated"),
        *(
            (TABLES[name].c.entity_id == BTC, f"ix_{name}_entity_timestamp")
            for name in ("crypto_trade", "crypto_orderbook", "crypto_funding")
        ),
    ],
)
def test_every_index_serves_the_query_it_is_kept_for(database, condition, index):
    table = _table_of(index)
    assert any(f"INDEX {index} " in f"{step} " for step in plan(database, table.name, select(table).where(condition)))


def _table_of(index):
    return max(
        (table for table in TABLES.values() if index.startswith(f"ix_{table.name}")), key=lambda table: len(table.name)
    )


def test_both_ends_of_a_range_belong_to_it(filled):
    frame = query_data(
        CANDLES, start_timestamp="2024-08-01 00:01", end_timestamp="2024-08-01T00:03:00Z", database=filled
    )
    assert minutes(frame) == [("btc", 1), ("btc", 2), ("eth", 2), ("btc", 3), ("eth", 3)]


@pytest.mark.parametrize(
    "moment",
    [
        "2024-08-01",
        date(2024, 8, 1),
        START,
        datetime(2024, 8, 1, tzinfo=UTC),
        pd.Timestamp("2024-08-01T09:00", tz="Asia/Tokyo"),
        np.datetime64("2024-08-01"),
    ],
)
def test_times_may_be_spelt_in_every_usual_way(filled, moment):
    assert minutes(query_data(CANDLES, end_timestamp=moment, database=filled)) == [("btc", 0)]


@pytest.mark.parametrize(
    "codes", ["btcusdt", "BTCUSDT", ["btcusdt"], ("btcusdt", "nosuchusdt"), "BTC/USDT", "btc/*", ["B*", "NO/SUCH"]]
)
def test_codes_are_matched_whole_and_in_any_case(filled, codes):
    assert set(query_data(CANDLES, codes=codes, database=filled)["entity_id"]) == {BTC}
    assert query_data(CANDLES, codes="usdt", database=filled).empty


def test_codes_and_entity_ids_narrow_each_other(filled):
    assert query_data(CANDLES, codes="btcusdt", entity_ids=ETH, database=filled).empty
    assert len(query_data(CANDLES, codes=["btcusdt", "ethusdt"], entity_ids=ETH, database=filled)) == 5


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (None, [("btc", 0), ("btc", 1), ("btc", 2)]),
        ("asc", [("btc", 0), ("btc", 1), ("btc", 2)]),
        ("desc", [("eth", 6), ("eth", 5), ("eth", 4)]),
    ],
)
@pytest.mark.parametrize("entities", [None, [BTC, ETH]])
def test_a_limit_keeps_the_first_rows_of_the_order(filled, order, expected, entities):
    frame = query_data(CANDLES, entity_ids=entities, limit=3, order=order, database=filled)
    assert minutes(frame) == expected


def test_limited_queries_equal_the_head_of_unlimited_ones(filled):
    for order in ("asc", "desc"):
        everything = query_data(CANDLES, order=order, start_timestamp="2024-08-01T00:01", database=filled)
        for limit in range(11):
            limited = query_data(CANDLES, order=order, start_timestamp="2024-08-01T00:01", limit=limit, database=filled)
            pd.testing.assert_frame_equal(limited, everything.head(limit))


def test_the_newest_candle_of_every_symbol(filled):
    frame = latest_candles("Cryptopair1mKdata", filled)
    assert minutes(frame) == [("btc", 4), ("eth", 6)]
    assert list(frame.columns) == [column.name for column in TABLE.columns]


def test_an_empty_result_keeps_columns_and_types(filled):
    some = query_data(CANDLES, database=filled)
    for none in (
        query_data(CANDLES, codes="nosuch", database=filled),
        query_data(CANDLES, entity_ids=[], database=filled),
        query_data("cryptopair_1h_kdata", database=filled),
    ):
        assert none.empty
        assert none.dtypes.equals(some.dtypes)
    assert latest_candles("cryptopair_1h_kdata", filled).empty


def test_types_follow_from_the_table(filled):
    frame = query_data(CANDLES, database=filled)
    kinds = {
        name: dtype.kind
        for name, dtype in frame.dtypes.items()
        if name in ("timestamp", "close", "vwap", "trade_count", "is_high_volume")
    }
    assert kinds == {"timestamp": "M", "close": "f", "vwap": "f", "trade_count": "i", "is_high_volume": "b"}
    assert frame["timestamp"].dt.tz is None


def test_missing_integers_stay_integers(filled):
    with filled.begin(CANDLES) as connection:
        connection.exec_driver_sql(f"UPDATE {CANDLES} SET trade_count = NULL WHERE trade_count = 1")
    counts = query_data(CANDLES, entity_ids=BTC, columns=["trade_count"], database=filled)["trade_count"]
    assert counts.isna().tolist() == [False, True, False, False, False]
    assert counts.dropna().tolist() == [0, 2, 3, 4]


def test_columns_are_those_asked_for_in_that_order(filled):
    frame = query_data("CryptoPair", columns=["name", "is_active"], codes=["ethusdt"], database=filled)
    assert frame.to_dict("list") == {"name": ["ETH/USDT"], "is_active": [False]}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"table": "cryptopair_2m_kdata"}, "cryptopair_1m_kdata"),
        ({"columns": ["clsoe"]}, "did you mean close"),
        ({"order": "ascending"}, "asc"),
        ({"limit": -1}, "limit -1 is not from 0 to"),
        ({"limit": 10**20}, "limit 100000000000000000000 is not from 0 to"),
        ({"columns": []}, "no column of cryptopair_1m_kdata is named; it has "),
        ({"start_timestamp": "2024-08-02", "end_timestamp": "2024-08-01"}, "the start 2024-08-02 00:00:00 is after"),
        ({"table": "crypto_operational_metrics", "codes": "x"}, "no entities"),
        ({"start_timestamp": "yesterday-ish"}, "yesterday-ish"),
    ],
)
def test_mistakes_are_named(filled, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        query_data(**{"table": CANDLES, "database": filled} | arguments)


def test_a_misspelt_name_is_reported_even_where_there_is_no_database(tmp_path):
    with pytest.raises(ValueError, match="no column"):
        query_data(CANDLES, columns=["clsoe"], database=open_database(f"sqlite:///{tmp_path}", "live"))


def test_without_a_database_the_environments_own_is_asked(filled, monkeypatch):
    monkeypatch.setenv("CRYPTO_ASSETS_ENVIRONMENT", "sandbox")
    monkeypatch.setenv("CRYPTO_ASSETS_DATABASE", f"sqlite:///{filled.directory}")
    assert len(query_data(CANDLES)) == 10


def test_entities_and_rows_are_counted(filled):
    with filled.connect(CANDLES) as connection:
        assert entity_ids(connection, TABLE) == [BTC, ETH]
        assert row_count(connection, TABLE) == 10
    with filled.connect("crypto_pair") as connection:
        assert entity_ids(connection, TABLES["crypto_pair"]) == [BTC, ETH]
        assert entity_ids(connection, TABLES["crypto_perp"]) == []
