"""Refused rows in the log."""

from __future__ import annotations

from datetime import datetime

from crypto_assets.database.tables import TABLES
from crypto_assets.domain.intervals import parse_time
from crypto_assets.quality.rejections import Rejection, record_rejections

LOG = TABLES["crypto_data_quality_log"]
BTC = "cryptopair_binance_btcusdt"
CLOCK = parse_time("2023-03-20T12:00")
ROW = [1, "币", None, "0.1", 7]


def record(connection, rejections, clock=CLOCK, table="cryptopair_5m_kdata"):
    record_rejections(connection, table, BTC, rejections, clock)
    return connection.execute(LOG.select().order_by(LOG.c.timestamp)).all()


def test_a_row_is_kept_whole_with_its_reasons(quality_database):
    with quality_database.connect("crypto_quality") as connection:
        [logged] = record(connection, [Rejection(ROW, ["close: not_nullable"])])
    assert logged.entity_id == BTC
    assert logged.validation_type == "contract"
    assert logged.validation_result == {"table": "cryptopair_5m_kdata", "row": ROW}
    assert logged.issues_detected == ["close: not_nullable"]
    assert logged.quality_score == 0.0
    assert logged.timestamp == datetime(2023, 3, 20, 12)  # noqa: DTZ001 - stored naive


def test_the_same_refusal_is_logged_once_and_another_beside_it(quality_database):
    with quality_database.connect("crypto_quality") as connection:
        once = record(connection, [Rejection(ROW, ["a"]), Rejection(ROW, ["a"])])
        again = record(connection, [Rejection(ROW, ["a"])])
        assert [row.id for row in once] == [row.id for row in again]
        assert len(record(connection, [Rejection(ROW, ["b"])])) == 2
        assert len(record(connection, [Rejection([*ROW, 8], ["a"])])) == 3
        assert len(record(connection, [Rejection(ROW, ["a"])], table="cryptopair_1h_kdata")) == 4


def test_nothing_refused_writes_nothing(quality_database):
    with quality_database.connect("crypto_quality") as connection:
        assert record(connection, []) == []


def test_a_row_that_no_engine_could_keep_is_kept_as_text(any_database):
    row = [
        10**30,
        -(2**63) - 1,
        float("nan"),
        float("inf"),
        "a\0b\ud800",
        True,
        1.5,
        {"a": [1]},
        "x" * 5000,
        *range(99),
    ]
    with any_database.begin("crypto_quality") as connection:
        [logged] = record(connection, [Rejection(row, ["open_time: no time"])])
    kept = logged.validation_result["row"]
    assert kept[:5] == [str(10**30), str(-(2**63) - 1), "nan", "inf", "a\\0b\\ud800"]
    assert kept[5:8] == [True, 1.5, "{'a': [1]}"]
    assert (len(kept[8]), len(kept)) == (1000, 64)
