"""Recordings: served as recorded, aggregated exactly as the exchange did; made-up files, and real ones if present."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crypto_assets.domain.intervals import MINUTE_MS, Interval, parse_time
from crypto_assets.sandbox.recorded import RecordedDataset
from crypto_assets.sandbox.server import RunningSandbox

START = parse_time("2023-03-24T12:00")
DECIMALS = ("open", "high", "low", "close", "volume", "quote_volume", "taker_base", "taker_quote")
FIELDS = ("open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "trades", "taker_base")


def minute(number, price="100.5", close_time=None):
    opened = START + number * MINUTE_MS
    return {
        "open_time": opened,
        **{name: Decimal(price) for name in ("open", "high", "low", "close")},
        "volume": Decimal("2.001"),
        "close_time": opened + MINUTE_MS - 1 if close_time is None else close_time,
        "quote_volume": Decimal("201.1005"),
        "trades": 3,
        "taker_base": Decimal(1),
        "taker_quote": Decimal("100.5"),
    }


def write(directory, market, name, rows, drop=()):
    kinds = {name: pa.decimal128(18, 8) if name in DECIMALS else pa.int64() for name in rows[0] if name not in drop}
    folder = directory / market / "klines"
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist([{key: row[key] for key in kinds} for row in rows], schema=pa.schema(kinds))
    pq.write_table(table, folder / f"{name}-1m.parquet")


@pytest.fixture
def directory(tmp_path):
    halted = START + 2 * MINUTE_MS + 41_646
    rows = [minute(0), minute(1, "101.25"), minute(2, "99", halted), minute(100), minute(101)]
    write(tmp_path, "spot", "BTCUSDT", [rows[4], rows[0], minute(1, "7"), *rows[1:4]])
    write(tmp_path, "spot", "ETHBTC", [minute(0, "0.05412"), minute(1, "0.05413")])
    write(tmp_path, "usdm", "SOLUSDT", [minute(50), minute(51)])
    write(tmp_path, "usdm", "XRPUSDT", [minute(500)], drop=("trades", "taker_quote"))
    write(tmp_path, "spot", "WHAT", [minute(0)])
    (tmp_path / "spot" / "klines" / "BADUSDT-1m.parquet").write_bytes(b"no parquet")
    rates = {"fundingTime": [START, START + 8 * 3_600_000], "fundingRate": [Decimal("-0.00012"), Decimal("0.0001")]}
    (tmp_path / "usdm" / "fundingRate").mkdir()
    schema = pa.schema({"fundingTime": pa.int64(), "fundingRate": pa.decimal128(18, 8)})
    pq.write_table(pa.table(rates, schema=schema), tmp_path / "usdm" / "fundingRate" / "SOLUSDT.parquet")
    return tmp_path


@pytest.fixture
def served(directory, request_to):
    with RunningSandbox(RecordedDataset(directory)) as sandbox:
        yield lambda path, **params: request_to(sandbox.url, path, **params).json


def test_rows_come_sorted_once_and_as_recorded_with_the_last_duplicate_winning(served):
    rows = served("/api/v3/klines", symbol="BTCUSDT", interval="1m", startTime=0)
    assert [(row[0] - START) // MINUTE_MS for row in rows] == [0, 1, 2, 100, 101]
    assert rows[1][4] == "101.25000000"
    assert rows[0][5:11] == ["2.00100000", START + 59_999, "201.10050000", 3, "1.00000000", "100.50000000"]
    assert rows[2][6] == START + 2 * MINUTE_MS + 41_646, "a close time cut short by a halt stays"
    assert served("/api/v3/klines", symbol="BTCUSDT", interval="1m", startTime=rows[2][0] + 1, limit=1) == rows[3:4]


def test_a_candle_cut_by_a_halt_closes_early_and_a_dead_interval_has_none(served):
    quarters = served("/api/v3/klines", symbol="BTCUSDT", interval="15m")
    assert [(row[0] - START) // MINUTE_MS for row in quarters] == [0, 90]
    assert [row[6] - START for row in quarters] == [2 * MINUTE_MS + 41_646, 105 * MINUTE_MS - 1]
    assert quarters[0][1:6] == ["100.50000000", "101.25000000", "99.00000000", "99.00000000", "6.00300000"]


def test_the_clock_stands_at_the_newest_recording_and_older_ones_are_delisted(served):
    assert served("/api/v3/time") == served("/fapi/v1/time") == {"serverTime": START + 102 * MINUTE_MS + MINUTE_MS // 2}
    spot = {row["symbol"]: row for row in served("/api/v3/exchangeInfo")["symbols"]}
    assert {name: row["status"] for name, row in spot.items()} == {"BTCUSDT": "TRADING", "ETHBTC": "BREAK"}
    assert (spot["ETHBTC"]["baseAsset"], spot["ETHBTC"]["quoteAsset"]) == ("ETH", "BTC")
    filters = {row["filterType"]: row for row in spot["ETHBTC"]["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.00001000"
    assert filters["LOT_SIZE"]["stepSize"] == "0.00100000"
    (sol,) = served("/fapi/v1/exchangeInfo")["symbols"]
    assert sol["status"] == "SETTLING"
    assert (sol["onboardDate"], sol["deliveryDate"]) == (START + 50 * MINUTE_MS, START + 52 * MINUTE_MS)
    assert len(served("/fapi/v1/klines", symbol="SOLUSDT", interval="1m")) == 2


def test_what_cannot_be_served_is_named(directory):
    skipped = dict(RecordedDataset(directory).skipped)
    assert set(skipped) == {
        "spot/klines/BADUSDT-1m.parquet",
        "spot/klines/WHAT-1m.parquet",
        "usdm/klines/XRPUSDT-1m.parquet",
    }
    assert "trades, taker_quote" in skipped["usdm/klines/XRPUSDT-1m.parquet"]


def test_a_directory_without_recordings_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no recording"):
        RecordedDataset(tmp_path)


def test_recorded_fundings(directory):
    rates = RecordedDataset(directory).funding("SOLUSDT", 0, START + 1)
    assert [(rate.time_ms, rate.rate_e8) for rate in rates] == [(START, -12_000)]
    assert RecordedDataset(directory).funding("BTCUSDT", 0, START + 1) == []


@pytest.fixture(scope="module")
def real(recorded_directory, request_to):
    with RunningSandbox(RecordedDataset(recorded_directory), spot_budget=None) as sandbox:
        yield lambda **params: request_to(sandbox.url, "/api/v3/klines", **params).json


@pytest.mark.parametrize(
    ("symbol", "interval"),
    [
        ("BTCUSDT", "1m"),
        ("BTCUSDT", "15m"),
        ("BTCUSDT", "1h"),
        ("ETHUSDT", "15m"),
        ("ETHUSDT", "1h"),
        ("ETHUSDT", "1d"),
    ],
)
def test_every_field_equals_what_the_exchange_published(real, recorded_directory, symbol, interval):
    file = recorded_directory / "spot" / "klines" / f"{symbol}-{interval}.parquet"
    if not file.is_file():
        pytest.skip(f"{file.name} is not among the recordings")
    # All of the recording, but of the minutes only the week of the halt.
    start, end = (0, 2**60) if interval != "1m" else (parse_time("2023-03-20"), parse_time("2023-03-27"))
    expected = pq.read_table(file, filters=[("open_time", ">=", start), ("open_time", "<=", end)]).to_pylist()
    rows = []
    while page := real(symbol=symbol, interval=interval, startTime=start, endTime=end, limit=1000):
        rows += page
        start = page[-1][0] + Interval(interval).milliseconds
    served = [[Decimal(value) if isinstance(value, str) else value for value in row[:11]] for row in rows]
    assert len(served) == len(expected)
    assert served == [[record[name] for name in (*FIELDS, "taker_quote")] for record in expected]
    opened = {row[0] for row in rows}
    if interval == "15m":
        assert parse_time("2023-03-24T12:45") not in opened, "the halt has no candles"
