"""What was measured counts only if each stored value is the published one."""

from __future__ import annotations

import json
import sqlite3
import urllib.request
from contextlib import closing

import pandas as pd
import pytest

from benchmarks.source_check import check_stored
from crypto_assets.domain.intervals import DAY_MS, parse_time
from crypto_assets.sandbox.generated import GeneratedDataset
from crypto_assets.sandbox.server import RunningSandbox

START = parse_time("2023-02-01")


@pytest.fixture(scope="module")
def url():
    with RunningSandbox(GeneratedDataset(), spot_budget=None) as sandbox:
        yield sandbox.url


@pytest.fixture
def stored(url, tmp_path):
    """A day of a symbol, as it was published."""
    rows = []
    for since in (START, START + DAY_MS // 2):
        asked = f"symbol=BTCUSDT&interval=1m&limit=720&startTime={since}"
        with urllib.request.urlopen(f"{url}/api/v3/klines?{asked}") as answer:  # noqa: S310 - loopback
            rows += json.load(answer)
    columns = ["timestamp", "open", "high", "low", "close", "volume", "volume_quote", "trade_count"]
    frame = pd.DataFrame([[*row[:6], *row[7:9]] for row in rows], columns=columns)
    frame[columns[1:]] = frame[columns[1:]].astype(float)
    frame["timestamp"] = pd.to_datetime(frame["timestamp"], unit="ms").dt.strftime("%Y-%m-%d %H:%M:%S.%f")
    file = tmp_path / "candles.db"
    with closing(sqlite3.connect(file)) as connection:
        frame.assign(name="BTC/USDT").to_sql("candles", connection, index=False)
    return file


def test_rows_as_published_are_accepted(url, stored):
    check_stored(url, stored, "candles", ["BTC/USDT"], START, 1)


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ("UPDATE candles SET volume_quote = volume_quote + 0.01 WHERE rowid = 900", "volume_quote"),
        ("UPDATE candles SET trade_count = NULL WHERE rowid = 1440", "trade_count"),
        ("DELETE FROM candles WHERE rowid = 7", "timestamp"),
        ("INSERT INTO candles SELECT * FROM candles WHERE rowid = 7", "timestamp"),
    ],
)
def test_one_row_that_differs_is_no_measurement(url, stored, change, column):
    with closing(sqlite3.connect(stored)) as connection, connection:
        connection.execute(change)
    with pytest.raises(RuntimeError, match=f"{column} of BTC/USDT"):
        check_stored(url, stored, "candles", ["BTC/USDT"], START, 1)
