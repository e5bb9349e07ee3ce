from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from crypto_assets.database.tables import TABLES, find_table, logical_database, physical_database, time_column
from crypto_assets.database.tables.columns import decimal_text, timestamp_text
from crypto_assets.database.writes import upsert
from crypto_assets.domain.entities import candle_id
from crypto_assets.domain.intervals import to_milliseconds
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets_tests.database.database_frames import CANDLES, candles


def test_every_column_and_table_says_what_it_means():
    for table in TABLES.values():
        assert table.comment
        assert all(column.comment for column in table.columns)


def test_default_order_refers_to_a_column_that_exists():
    assert all(time_column(table) in table.columns for table in TABLES.values())


def test_a_table_is_found_by_table_name_class_name_and_zvt_spelling():
    for name in ("cryptopair_1m_kdata", "CryptoPair1mKdata", "Cryptopair1mKdata"):
        assert find_table(name) is TABLES["cryptopair_1m_kdata"]
    assert find_table("CryptoFunding") is TABLES["crypto_funding"]


def test_an_unknown_table_is_named_with_its_nearest_neighbours():
    with pytest.raises(ValueError, match="CryptoPair1mKdata"):
        find_table("CryptoPair1mKdate")


def test_only_candles_have_a_file_of_their_own():
    assert physical_database("cryptoperp_1d_kdata") == "cryptoperp_1d_kdata"
    assert physical_database("crypto_perp") == "crypto_meta" == logical_database("crypto_perp")
    with pytest.raises(ValueError, match="name the table"):
        physical_database("crypto_kdata")


def test_time_text_is_utc_and_always_has_microseconds():
    assert timestamp_text(datetime(2024, 8, 1, 0, 5)) == "2024-08-01 00:05:00.000000"  # noqa: DTZ001
    tokyo = timezone(timedelta(hours=9))
    assert timestamp_text(datetime(2024, 8, 1, 9, 5, 0, 1, tzinfo=tokyo)) == "2024-08-01 00:05:00.000001"


def test_decimals_are_exact_plain_and_bounded():
    assert decimal_text(Decimal("1E+27")) == "1" + "0" * 27 + ".00000000"
    assert decimal_text(0.1) == "0.10000000"
    with pytest.raises(ValueError, match="does not fit"):
        decimal_text(Decimal("1E+28"))


@pytest.mark.parametrize("name", KDATA_TABLES)
def test_generated_candle_columns_agree_with_the_stored_ones(database, name):
    market_type, interval = KDATA_TABLES[name]
    entity = f"{market_type.entity_type}_binance_1000pepeusdt"
    with database.begin(name) as connection:
        upsert(connection, TABLES[name], candles(entity, "2024-08-01", 3, interval.milliseconds // 60_000))
        rows = connection.execute(TABLES[name].select().order_by(TABLES[name].c.timestamp)).mappings().all()
    for row in rows:
        assert row["id"] == candle_id(entity, to_milliseconds(row["timestamp"].replace(tzinfo=UTC)), interval)
        assert (row["level"], row["code"]) == (interval.value, "1000pepeusdt")
        assert (row["turnover"], row["volume_base"]) == (row["volume_quote"], row["volume"])
        assert row["vwap"] == (row["volume_quote"] / row["volume"] if row["volume"] else None)


def test_a_row_damaged_by_hand_can_be_stored_and_found(database):
    with database.begin(CANDLES) as connection:
        upsert(connection, TABLES[CANDLES], candles())
        damaged = "UPDATE cryptopair_1m_kdata SET close = NULL, volume = NULL, trade_count = NULL WHERE trade_count = 2"
        assert connection.exec_driver_sql(damaged).rowcount == 1


def test_importing_the_package_loads_neither_sqlalchemy_pandas_nor_alembic():
    slow = "[name for name in ('sqlalchemy', 'pandas', 'alembic') if name in sys.modules]"
    code = f"import sys, crypto_assets.database; print({slow})"
    engines = (
        "import sys, crypto_assets.database.migrations; print('alembic' in sys.modules or 'pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    assert (
        subprocess.run([sys.executable, "-c", engines], capture_output=True, text=True, check=True).stdout == "False\n"
    )
