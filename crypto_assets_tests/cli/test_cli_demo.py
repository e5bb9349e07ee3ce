"""`crypto-assets demo`, as a user starts it: in a process of its own, in an empty directory."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets.orchestration.checks.definitions import KDATA_CHECKS

COMMAND = str(Path(sys.executable).with_name("crypto-assets"))
MARCH_GAP = {"1m": 80, "5m": 16, "15m": 5, "30m": 2, "1h": 1}
PRICES = {
    "open": "open",
    "high": "high",
    "low": "low",
    "close": "close",
    "volume": "volume",
    "volume_quote": "quote_volume",
}


def demo(directory: Path, *arguments: str) -> tuple[int, dict]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("CRYPTO_ASSETS_", "DAGSTER_"))
    }
    done = subprocess.run(
        [COMMAND, "demo", "--json", *arguments],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def rows(document: dict, table: str, statement: str, *values: object) -> list[tuple]:
    file = Path(document["location"]) / "binance" / f"binance_{table}.db"
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(statement, values).fetchall()


def test_the_demo_fills_every_table_finds_nothing_wrong_and_changes_nothing_when_run_again(tmp_path):
    code, document = demo(tmp_path, "--days", "1")
    assert (code, document["red"]) == (0, [])
    assets = {asset["asset"]: asset for asset in document["assets"]}
    assert set(assets) == {"crypto_asset", "crypto_pair", "crypto_perp", *KDATA_TABLES}
    assert Path(document["location"]) == tmp_path / "data" / "sandbox"
    before = {}
    for table in KDATA_TABLES:
        shown = assets[table]
        assert shown["rows"] > 0
        assert (shown["gaps"], shown["missing"]) == (0, 0)
        assert shown["checks"].keys() >= KDATA_CHECKS.keys()
        assert all(shown["checks"].values())
        before[table] = rows(document, table, f"SELECT * FROM {table} ORDER BY entity_id, timestamp")
        assert len(before[table]) == shown["rows"]
    code, again = demo(tmp_path, "--days", "1")
    assert (code, again["red"]) == (0, [])
    for table, old in before.items():
        last = max(row[3] for row in old)
        select = f"SELECT * FROM {table} WHERE timestamp <= ? ORDER BY entity_id, timestamp"
        assert rows(again, table, select, last) == old
        fetched = {asset["asset"]: asset["fetched"] for asset in again["assets"]}
        assert fetched[table] == {asset["asset"]: asset["rows"] for asset in again["assets"]}[table] - len(old)


def recording(directory: Path, symbol: str, interval: str) -> list[tuple]:
    """The recorded candles in the order and with the types of a candle table."""
    import pyarrow as pa  # noqa: PLC0415 - only where there are recordings
    import pyarrow.parquet as pq  # noqa: PLC0415 - likewise

    table = pq.read_table(directory / "spot" / "klines" / f"{symbol}-{interval}.parquet")
    # A double once, from the decimal text that Binance sent, as everywhere.
    prices = [table[name].cast(pa.string()).cast(pa.float64()).to_pylist() for name in PRICES.values()]
    times = table["open_time"].cast(pa.timestamp("ms")).cast(pa.timestamp("us")).cast(pa.string()).to_pylist()
    return list(zip(times, *prices, table["trades"].to_pylist(), strict=True))


def test_recorded_candles_are_stored_value_for_value_and_their_real_halt_is_known_as_the_exchanges_own(
    recorded_directory, some_recordings, tmp_path
):
    recordings = some_recordings({"spot": ["BTCUSDT"], "usdm": ["XRPUSDT"]})
    code, document = demo(tmp_path, "--data", str(recordings))
    assert (code, document["red"]) == (0, [])
    shown = {asset["asset"]: asset for asset in document["assets"]}
    for table, (_, interval) in KDATA_TABLES.items():
        missing = MARCH_GAP.get(interval.value, 0) if table.startswith("cryptopair") else 0
        assert (shown[table]["gaps"], shown[table]["missing"], shown[table]["gap_spans"]) == (0, 0, [])
        assert shown[table]["source_gaps"] == len(shown[table]["source_spans"]) == (1 if missing else 0)
        assert shown[table]["source_candles"] == missing
    halt = {(span["first_missing"], span["last_missing"]) for span in shown["cryptopair_1m_kdata"]["source_spans"]}
    assert halt == {("2023-03-24 12:40", "2023-03-24 13:59")}
    for interval, count in (("1m", 128_080), ("15m", 8539), ("1h", 2135)):
        table = f"cryptopair_{interval}_kdata"
        stored = rows(
            document, table, f"SELECT timestamp, {', '.join(PRICES)}, trade_count FROM {table} ORDER BY timestamp"
        )
        assert len(stored) == count
        assert stored == recording(recorded_directory, "BTCUSDT", interval)
    around = rows(
        document,
        "cryptopair_1m_kdata",
        "SELECT timestamp FROM cryptopair_1m_kdata"
        " WHERE timestamp > '2023-03-24 12:38:30' AND timestamp < '2023-03-24 14:01'",
    )
    assert around == [("2023-03-24 12:39:00.000000",), ("2023-03-24 14:00:00.000000",)]
