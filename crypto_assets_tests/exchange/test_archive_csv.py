"""What is inside an archive file: doubles as float() reads them, units of time, headers, and what is refused."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import DAY_MS, MINUTE_MS, Interval, parse_time
from crypto_assets.exchange.binance.archive_csv import ArchiveCandles, read_archive
from crypto_assets.exchange.binance.archive_files import ArchiveFile
from crypto_assets.exchange.errors import ContractViolation
from crypto_assets_tests.received_klines import received

DAY = ArchiveFile(MarketType.SPOT, "BTCUSDT", Interval.M1, "2023-03-20")
START = parse_time("2023-03-20")
HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)


def kline(number: int, *prices: str, count: int = 3, unit: int = 1) -> list:
    texts = list(prices) or ["1.5", "2.5", "0.5", "1.5", "7", "10.5"]
    opened = START + number * MINUTE_MS
    times = opened * unit, (opened + MINUTE_MS) * unit - 1
    return [times[0], *texts[:5], times[1], texts[5], count, "0.1", "0.2", "0"]


def csv(rows: list[list]) -> str:
    return "".join(",".join("" if value is None else str(value) for value in row) + "\n" for row in rows)


def zipped(text: str, name: str = "BTCUSDT-1m-2023-03-20.csv") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, text)
    return file.getvalue()


def many(count: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(count):
            archive.writestr(f"{number}.csv", "")
    return file.getvalue()


def blanks(size: int, packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packing) as archive, archive.open("BTCUSDT-1m-2023-03-20.csv", "w") as member:
        for _ in range(size // 2**20):
            member.write(b" " * 2**20)
    return file.getvalue()


def understated(zipped: bytes, size: int) -> bytes:
    """The same zip whose headers say that its file has a size of 100 bytes."""
    return zipped.replace(size.to_bytes(4, "little"), (100).to_bytes(4, "little"))


def read(text: str) -> ArchiveCandles:
    return read_archive(DAY, zipped(text), "00")


decimals = st.one_of(
    st.decimals(0, 10**12, allow_nan=False, places=8).map(str),
    st.from_regex(r"[0-9]{1,24}(\.[0-9]{1,24})?", fullmatch=True),
    st.floats(0, allow_infinity=False, allow_nan=False).map(repr),
    # Halfway between two doubles, and a digit to either side of it.
    st.integers(2**52, 2**53 - 1).flatmap(
        lambda whole: st.sampled_from([f"{whole}.5", f"{whole}.49999999999999999999", f"{whole}.50000000000000000001"])
    ),
).map(lambda text: f"{Decimal(text):f}")


@settings(max_examples=80)
@given(st.lists(st.tuples(*[decimals] * 6), min_size=1, max_size=12), st.integers(0, 2**31))
def test_every_number_becomes_the_double_that_float_makes_of_it(rows, count):
    lines = [kline(number, *prices, count=count) for number, prices in enumerate(rows)]
    table = read(csv(lines)).table
    assert np.array_equal(table, received(lines).table)
    assert table[1:7].T.tolist() == [[float(text) for text in prices] for prices in rows]


@pytest.mark.parametrize("unit", [1, 1000])
@pytest.mark.parametrize("header", ["", HEADER + "\n"])
def test_units_and_headers_are_recognised_file_by_file(unit, header):
    candles = read(header + csv([kline(number, unit=unit) for number in range(1440)]))
    assert candles.table[0].tolist() == list(range(START, START + DAY_MS, MINUTE_MS))
    assert candles.raw_rows([0, 1439]) == [kline(0), kline(1439)]


def test_order_and_duplicates_are_left_to_who_judges_them():
    rows = [kline(2), kline(1), kline(1)]
    assert np.array_equal(read(csv(rows)).table, received(rows).table)


def test_a_missing_number_is_nan_and_costs_only_its_row():
    rows = [kline(0), kline(1, "1.5", "2.5", "0.5", None, "7", "10.5"), kline(2)]
    candles = read(csv(rows))
    assert np.array_equal(candles.table, received(rows).table, equal_nan=True)
    assert np.isnan(candles.table[4]).tolist() == [False, True, False]
    assert candles.raw_rows([1]) == [rows[1]]


GOOD = csv([kline(0), kline(1)])


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (zipped(GOOD)[:60], "cannot be unzipped"),
        (b"<html>", "cannot be unzipped"),
        (zipped(GOOD).replace(b"\x08\x00", b"\x63\x00"), "cannot be unzipped"),
        (zipped(GOOD, "BTCUSDT-1m-2023-03-21.csv"), "holds 1 files .*03-21.csv.*, not BTCUSDT-1m-2023-03-20.csv"),
        (many(3), "holds 3 files .*, not BTCUSDT-1m-2023-03-20.csv alone"),
        (many(1000), "holds more than 16 files"),
        (blanks(2**20, zipfile.ZIP_LZMA), "cannot be unzipped .*not merely deflated"),
        (blanks(2**24), "unpacks to more than 641,536 bytes"),
        (understated(blanks(2**24), 2**24), "cannot be unzipped .*CRC"),
        (zipped(""), "begins with ''"),
        (zipped(HEADER + "\n"), "holds no times"),
        (zipped("open_time,close,high,low,open\n" + GOOD), "begins with 'open_time,close"),
        (zipped("<html>" + GOOD), "begins with '<html>"),
        (zipped(GOOD + "1,2,3\n"), "cannot be read as candles"),
        (zipped(GOOD.replace("2.5", "lots")), "cannot be read as candles"),
        (zipped(GOOD + csv([[None, *kline(2)[1:]]])), "rows without times"),
        (zipped(csv([kline(0), kline(1440)])), f"a candle of {START + DAY_MS} ms, outside 2023-03-20"),
        (zipped(csv([kline(1), kline(-1)])), f"a candle of {START - MINUTE_MS} ms, outside 2023-03-20"),
        (zipped(csv([kline(-1), kline(0)])), "begins at 1679270340000: not in 2023-03-20"),
        (zipped(csv([kline(0, unit=1_000_000)])), "neither in ms nor in microseconds"),
        (zipped(csv([kline(0), kline(1, unit=1000)])), "outside 2023-03-20"),
        (zipped(csv([[START * 1000 + 1, *kline(0)[1:]], kline(1, unit=1000)])), "between two milliseconds"),
    ],
    # A zip holds the time of its making; the tests' names must be the same in every process.
    ids=lambda value: value if isinstance(value, str) else "content",
)
def test_a_file_that_is_not_its_periods_candles_is_refused_in_one_sentence(content, complaint):
    with pytest.raises(ContractViolation, match=complaint) as refused:
        read_archive(DAY, content, "00")
    assert "BTCUSDT-1m-2023-03-20.zip" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_of_a_zip_of_blanks_no_more_is_unpacked_than_its_candles_can_take():
    content = blanks(2**24)
    tracemalloc.start()
    try:
        with pytest.raises(ContractViolation, match="unpacks to more than"):
            read_archive(DAY, content, "00")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * DAY.most_bytes < 2**24
