"""What goes in comes out, bit for bit, on every engine."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from crypto_assets.database.expressions import as_written, epoch_milliseconds, written_text
from crypto_assets.database.result_frames import read_frame
from crypto_assets.database.tables import TABLES
from crypto_assets.database.writes import WriteCounts, upsert
from crypto_assets_tests.database.database_frames import CANDLES, assets, candles, pairs

ASSETS, CANDLE_TABLE, METRICS = TABLES["crypto_asset"], TABLES[CANDLES], TABLES["crypto_operational_metrics"]
ON_ONE_DATABASE = settings(
    max_examples=40,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking against a database takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    ["", " ", "a ", "'\"`", "\\", "\\N", r"\t", "\t\n\r", "\r\n", "NULL", "é漢🚀", "%s", "e\u0301"]
)
SUPPLIES = st.none() | st.integers(-(10**36) + 1, 10**36 - 1).map(lambda units: Decimal(f"{units}E-8"))
TIMES = st.none() | st.datetimes(pd.Timestamp("1000-01-01"), pd.Timestamp("9999-12-31T23:59:59.999999"))
DOUBLES = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(
    [5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 0.1, 1e22, 1e23, 123456789012345680.0]
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def bits(value):
    return None if value is None or math.isnan(value) else (value + 0.0).hex()  # only PostgreSQL keeps -0.0


@ON_ONE_DATABASE
@given(st.lists(st.tuples(TEXTS, TEXTS | st.none(), SUPPLIES, TIMES, DOUBLES), min_size=1, max_size=12))
def test_every_value_comes_back_as_it_was(any_database, rows):
    names, descriptions, supplies, times, scores = map(list, zip(*rows, strict=True))
    frame = assets(*(f"A{position:02}" for position in range(len(rows)))).assign(
        name=names,
        description=pd.Series(descriptions, dtype=object),
        max_supply=pd.Series(supplies, dtype=object),
        end_date=np.array(times, dtype="datetime64[us]"),
        data_quality_score=scores,
    )
    with any_database.connect(ASSETS.name) as connection:  # rolled back: each example starts empty
        assert upsert(connection, ASSETS, frame) == WriteCounts(inserted=len(rows))
        assert upsert(connection, ASSETS, frame) == WriteCounts(unchanged=len(rows))
        shown = [ASSETS.c[name] for name in ("name", "description", "max_supply", "end_date", "data_quality_score")]
        found = read_frame(connection, select(*shown).order_by(ASSETS.c.id))
        texts = connection.execute(select(written_text(ASSETS.c.end_date)).order_by(ASSETS.c.id)).scalars().all()
    assert found["name"].tolist() == names
    assert [None if pd.isna(each) else each for each in found["description"]] == descriptions
    assert found["max_supply"].tolist() == supplies
    assert [None if pd.isna(each) else each for each in pd.DatetimeIndex(found["end_date"]).to_pydatetime()] == times
    assert list(map(bits, found["data_quality_score"])) == list(map(bits, scores))
    assert texts == [None if time is None else time.isoformat(sep=" ", timespec="microseconds") for time in times]


@ON_ONE_DATABASE
@given(st.lists(JSON_VALUES.filter(lambda value: value is not None), min_size=1, max_size=6))
def test_python_objects_come_back_from_json(any_database, values):
    frame = pd.DataFrame(
        {
            "id": [str(position) for position in range(len(values))],
            "metric_name": "n",
            "metric_value": 1.0,
            "metric_tags": pd.Series(values, dtype=object),
            "timestamp": pd.Timestamp("2024-08-01"),
        }
    )
    with any_database.connect(METRICS.name) as connection:
        assert upsert(connection, METRICS, frame) == WriteCounts(inserted=len(values))
        assert upsert(connection, METRICS, frame) == WriteCounts(unchanged=len(values))
        assert list(connection.execute(select(METRICS.c.metric_tags).order_by(METRICS.c.id)).scalars()) == values


def test_frames_have_the_same_types_on_every_engine(any_database):
    with any_database.begin(ASSETS.name) as connection:
        upsert(
            connection,
            ASSETS,
            assets("BTC", "USDT").assign(max_supply=[Decimal(21), None], is_stablecoin=[False, True]),
        )
        upsert(connection, TABLES["crypto_pair"], pairs("BTC"))
        found = read_frame(connection, select(ASSETS).order_by(ASSETS.c.id))
    assert [str(each) for each in found["max_supply"]] == ["21.00000000", "None"]
    assert found.dtypes.astype(str)[["timestamp", "end_date", "is_stablecoin", "data_quality_score"]].tolist() == [
        "datetime64[us]",
        "datetime64[us]",
        "bool",
        "float64",
    ]
    name = "cryptopair_1h_kdata"
    with any_database.begin(name) as connection:
        upsert(connection, TABLES[name], candles(count=3, minutes=60))
        found = read_frame(connection, select(TABLES[name]).order_by(TABLES[name].c.timestamp))
    types = found.dtypes.astype(str)
    assert types[["open", "trade_count", "is_high_volume", "timestamp"]].tolist() == [
        "float64",
        "int64",
        "bool",
        "datetime64[us]",
    ]
    assert found["turnover_rate"].isna().all()
    assert found["id"].tolist()[1] == "cryptopair_binance_btcusdt_2024-08-01T01:00:00.000"


def test_times_in_sql_are_milliseconds_and_text_on_every_engine(any_database):
    moments = ["1969-12-31T23:59:59.999", "1970-01-01", "2024-02-29T12:34:56.789123"]
    frame = assets("A", "B", "C").assign(timestamp=np.array(moments, "datetime64[us]"))
    time = ASSETS.c.timestamp
    with any_database.begin(ASSETS.name) as connection:
        upsert(connection, ASSETS, frame)
        query = select(epoch_milliseconds(time), written_text(time)).where(as_written(time)).order_by(ASSETS.c.id)
        rows = connection.execute(query).all()
    assert rows == [
        (-1, "1969-12-31 23:59:59.999000"),
        (0, "1970-01-01 00:00:00.000000"),
        (1709210096789, "2024-02-29 12:34:56.789123"),
    ]


IN_TOKYO = """
import sys
from datetime import datetime
import numpy as np
from sqlalchemy import select
from crypto_assets.database.engines import open_database
from crypto_assets.database.result_frames import read_frame
from crypto_assets.database.tables import TABLES
from crypto_assets.database.writes import upsert
from crypto_assets_tests.database.database_frames import assets
table = TABLES["crypto_asset"]
database = open_database(sys.argv[1], "sandbox")
frame = assets("A").assign(timestamp=np.array(["2024-08-01T00:05:00.000001"], "datetime64[us]"))
with database.begin(table.name) as connection:
    upsert(connection, table, frame)
    print(read_frame(connection, select(table.c.timestamp)).iloc[0, 0].isoformat())
    print(connection.execute(select(table.c.timestamp)).scalar_one().isoformat())
"""


def test_the_time_zone_of_the_process_changes_no_time(any_database, database_url):
    environment = os.environ | {"TZ": "Asia/Tokyo", "PGTZ": "Asia/Tokyo"}
    done = subprocess.run(
        [sys.executable, "-c", IN_TOKYO, database_url], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["2024-08-01T00:05:00.000001"] * 2, done.stderr


def test_infinities_are_stored_or_refused_by_name(any_database):
    frame = assets("A").assign(data_quality_score=[math.inf])
    with any_database.connect(ASSETS.name) as connection:
        if any_database.engine == "mysql":
            with pytest.raises(ValueError, match="data_quality_score"):
                upsert(connection, ASSETS, frame)
        else:
            upsert(connection, ASSETS, frame)
            assert connection.execute(select(ASSETS.c.data_quality_score)).scalar_one() == math.inf
