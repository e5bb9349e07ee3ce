from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from crypto_assets.database.expressions import written_text
from crypto_assets.database.tables import TABLES
from crypto_assets.database.writes import WriteCounts, upsert
from crypto_assets.domain.spans import Span
from crypto_assets_tests.database.database_frames import CANDLES, assets, candles, pairs

TABLE = TABLES[CANDLES]
ON_ONE_DATABASE = settings(
    max_examples=60,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking against a database takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
DOUBLES = st.floats(allow_nan=True, allow_infinity=True)
MINUTES = st.integers(0, 12)
AUGUST = Span(1_722_470_400_000, 1_725_148_800_000)
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["btc", "eth"]), MINUTES, DOUBLES, st.none() | st.integers(-(2**63), 2**63 - 1), st.booleans()
    )
)


@pytest.fixture
def database(any_database):
    """What candles need before they are written: their entities, and the month's partition."""
    with any_database.begin("crypto_asset") as connection:
        upsert(connection, TABLES["crypto_asset"], assets("BTC", "ETH", "USDT"))
        upsert(connection, TABLES["crypto_pair"], pairs("BTC", "ETH"))
    any_database.ensure_partitions(CANDLES, AUGUST)
    return any_database


def storable(database, rows):
    """The same rows without what only SQLite can store: integers beyond 32 bits, infinities (PostgreSQL can too)."""
    if database.engine == "sqlite":
        return rows
    return [
        (
            code,
            minute,
            1.5 if database.engine == "mysql" and math.isinf(close) else close,
            None if trades is None else trades % 2**31,
            flag,
        )
        for code, minute, close, trades, flag in rows
    ]


def written(database, frame, table=TABLE, **options):
    with database.begin(table.name) as connection:
        return upsert(connection, table, frame, **options)


def frame_of(rows):
    return pd.DataFrame(
        {
            "entity_id": [f"cryptopair_binance_{row[0]}usdt" for row in rows],
            "timestamp": [np.datetime64("2024-08-01", "ms") + np.timedelta64(row[1], "m") for row in rows],
            "close": [row[2] for row in rows],
            "trade_count": pd.Series([row[3] for row in rows], dtype=object),
            "is_high_volume": [row[4] for row in rows],
            "provider": "binance",
            "name": "",
        }
    )


def stored(connection):
    shown = [TABLE.c[name] for name in ("entity_id", "timestamp", "close", "trade_count", "is_high_volume")]
    rows = connection.execute(select(*shown)).all()
    return {(row[0].split("_")[2][:3], row[1].minute): tuple(row[2:]) for row in rows}


@ON_ONE_DATABASE
@given(batches=st.lists(ROWS, max_size=4))
def test_upserts_store_the_last_of_each_key_exactly_and_count_truly(database, batches):
    expected: dict[tuple[str, int], tuple[object, ...]] = {}
    with database.connect(TABLE.name) as connection:  # rolled back: each example starts empty
        for rows in (storable(database, batch) for batch in batches):
            before = dict(expected)
            batch = {
                (code, minute): (None if math.isnan(close) else close, trades, flag)
                for code, minute, close, trades, flag in rows
            }
            expected |= batch
            counts = upsert(connection, TABLE, frame_of(rows))
            assert counts == WriteCounts(
                inserted=len(batch.keys() - before.keys()),
                changed=sum(key in before and before[key] != value for key, value in batch.items()),
                unchanged=sum(key in before and before[key] == value for key, value in batch.items()),
            )
            assert stored(connection) == expected
            assert upsert(connection, TABLE, frame_of(rows)).written == 0


@ON_ONE_DATABASE
@given(first=ROWS, second=ROWS)
def test_only_existing_rewrites_what_is_stored_and_adds_nothing(database, first, second):
    first, second = storable(database, first), storable(database, second)
    with database.connect(TABLE.name) as connection:
        upsert(connection, TABLE, frame_of(first))
        before = stored(connection)
        batch = {
            (code, minute): (None if math.isnan(close) else close, trades, flag)
            for code, minute, close, trades, flag in second
        }
        common = {key: value for key, value in batch.items() if key in before}
        counts = upsert(connection, TABLE, frame_of(second), only_existing=True)
        changed = sum(before[key] != value for key, value in common.items())
        assert counts == WriteCounts(changed=changed, unchanged=len(common) - changed)
        assert stored(connection) == before | common


@ON_ONE_DATABASE
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30))
def test_doubles_survive_to_the_last_bit(database, values):
    frame = candles(count=len(values)).assign(close=values)
    with database.connect(TABLE.name) as connection:
        upsert(connection, TABLE, frame)
        found = connection.execute(select(TABLE.c.close).order_by(TABLE.c.timestamp)).scalars().all()
    # Only PostgreSQL keeps -0.0.
    assert [(value + 0.0).hex() for value in found] == [(value + 0.0).hex() for value in values]


def test_running_the_same_again_writes_nothing(database):
    assert written(database, candles()) == WriteCounts(inserted=5)
    assert written(database, candles()) == WriteCounts(unchanged=5)
    assert written(database, candles().assign(close=lambda frame: frame["close"] + (frame.index == 2))) == WriteCounts(
        changed=1, unchanged=4
    )


def as_arrays(frame):
    texts = ("entity_id", "provider", "name")
    return {name: frame[name].iloc[0] if name in texts else frame[name].to_numpy() for name in frame.columns}


def test_arrays_are_stored_as_a_frame_of_them_would_be(database):
    frame = candles(count=30)
    frame.loc[3, ["open", "turnover_rate"]] = [0.1, math.nan]
    assert written(database, as_arrays(frame)) == WriteCounts(inserted=30)
    assert written(database, frame) == WriteCounts(unchanged=30)
    frame.loc[7, "close"] = 0.3
    assert written(database, as_arrays(frame[5:]), only_existing=True) == WriteCounts(changed=1, unchanged=24)
    assert written(database, frame) == WriteCounts(unchanged=30)
    assert written(database, as_arrays(frame) | {name: np.empty(0) for name in frame.columns}) == WriteCounts()


def test_a_few_rows_spread_over_a_long_history_are_counted_truly(database):
    written(database, candles(count=2_000))
    sparse = candles(count=2_100).iloc[[0, 1_000, 2_050]]
    assert written(database, sparse) == WriteCounts(inserted=1, unchanged=2)


def test_columns_a_frame_lacks_keep_what_is_stored(database):
    written(database, candles())
    partial = candles()[["entity_id", "timestamp", "provider", "name", "close"]].assign(close=7.0)
    assert written(database, partial) == WriteCounts(changed=5)
    with database.connect(CANDLES) as connection:
        rows = connection.execute(select(TABLE.c.close, TABLE.c.high).order_by(TABLE.c.timestamp)).all()
    assert rows == [(7.0, high) for high in candles()["high"]]


def test_derived_columns_alone_can_be_rewritten_where_candles_are_stored(database):
    written(database, candles(count=3))
    derived = candles(count=5)[["entity_id", "timestamp", "change_pct", "is_high_volume"]].assign(is_high_volume=True)
    assert written(database, derived, only_existing=True) == WriteCounts(changed=3)
    assert written(database, derived, only_existing=True) == WriteCounts(unchanged=3)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_of_every_unit_are_stored_as_the_same_text(database, unit):
    frame = candles(count=1)
    frame["timestamp"] = frame["timestamp"].astype(f"datetime64[{unit}]")
    written(database, frame)
    with database.connect(CANDLES) as connection:
        assert connection.execute(select(written_text(TABLE.c.timestamp))).scalar_one() == "2024-08-01 00:00:00.000000"
        if database.engine == "sqlite":
            assert connection.execute(select(func.typeof(TABLE.c.timestamp))).scalar_one() == "text"


@pytest.mark.parametrize(
    "moment",
    [
        pd.Timestamp("2024-08-01T09:00", tz="Asia/Tokyo"),
        datetime(2024, 8, 1, tzinfo=UTC),
        date(2024, 8, 1),
        "2024-08-01T00:00:00Z",
    ],
)
def test_aware_times_and_other_spellings_become_utc(database, moment):
    written(database, candles(count=1).assign(timestamp=pd.Series([moment])))
    with database.connect(CANDLES) as connection:
        assert connection.execute(select(TABLE.c.timestamp)).scalar_one() == pd.Timestamp("2024-08-01")


def test_missing_values_of_every_kind_become_null(database):
    table = TABLES["crypto_asset"]
    frame = assets(*"ABCD").assign(
        end_date=pd.Series([pd.NaT, None, pd.Timestamp("2024-01-01"), pd.NaT]),
        max_supply=pd.Series([None, np.nan, Decimal("21000000.00000001"), 5], dtype=object),
        blockchain=pd.Series([None, np.nan, "main", None], dtype=object),
        full_name=pd.Series([None, "x", None, "y"], dtype="string"),
    )
    assert written(database, frame, table) == WriteCounts(inserted=4)
    assert written(database, frame, table) == WriteCounts(unchanged=4)
    with database.connect("crypto_asset") as connection:
        rows = connection.execute(
            select(table.c.end_date, table.c.max_supply, table.c.blockchain, table.c.full_name)
            .where(table.c.id.in_(frame["id"]))
            .order_by(table.c.id)
        ).all()
    assert rows == [
        (None, None, None, None),
        (None, None, None, "x"),
        (datetime(2024, 1, 1), Decimal("21000000.00000001"), "main", None),  # noqa: DTZ001
        (None, Decimal(5), None, "y"),
    ]


def test_python_objects_become_json(database):
    table = TABLES["crypto_operational_metrics"]
    frame = pd.DataFrame(
        {
            "id": ["a"],
            "metric_name": "n",
            "metric_value": 1,
            "metric_tags": [{"é": [1, np.float64(0.1), None]}],
            "timestamp": pd.Timestamp("2024-08-01"),
        }
    )
    written(database, frame, table)
    with database.connect(table.name) as connection:
        assert connection.execute(select(table.c.metric_tags)).scalar_one() == {"é": [1, 0.1, None]}


def test_an_empty_frame_writes_nothing(database):
    assert written(database, candles().iloc[:0]) == WriteCounts()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda frame: frame.assign(clsoe=1.0), "'clsoe' is no column .* close"),
        (lambda frame: frame.assign(vwap=1.0), "'vwap' is generated"),
        (lambda frame: frame.drop(columns="timestamp"), "lacks timestamp"),
        (lambda frame: frame.assign(trade_count=1.5), "trade_count.*1.5 is not a whole number"),
        (lambda frame: frame.assign(close="high"), "column 'close'"),
    ],
)
def test_a_frame_that_does_not_fit_is_refused_with_the_column(database, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        written(database, change(candles()))


def test_a_row_without_its_key_is_refused(database):
    frame = candles()
    frame.loc[2, "timestamp"] = pd.NaT
    with pytest.raises(IntegrityError):
        written(database, frame)


def test_a_text_shared_by_many_rows_is_stored_as_it_is(database):
    name = "O''N\\' ? {} %s %(a)s :b');-- \u20bf"
    frame = candles(count=300).assign(name=name)
    assert written(database, frame) == WriteCounts(inserted=300)
    assert written(database, frame) == WriteCounts(unchanged=300)
    with database.connect(CANDLES) as connection:
        rows = connection.execute(select(TABLE.c.name, TABLE.c.entity_id, TABLE.c.trade_count).order_by("timestamp"))
        assert rows.all() == [(name, frame["entity_id"][0], count) for count in range(300)]


@pytest.mark.parametrize("engine", ["sqlite"])
def test_a_shared_text_that_sqlite_cannot_read_in_a_statement_is_bound(database):
    name = "BTC\0USDT"
    assert written(database, candles(count=300).assign(name=name)) == WriteCounts(inserted=300)
    with database.connect(CANDLES) as connection:
        assert set(connection.scalars(select(TABLE.c.name))) == {name}


def test_write_counts_add_up():
    assert WriteCounts(1, 2, 3) + WriteCounts(10, 20, 30) == WriteCounts(11, 22, 33)
    assert WriteCounts(1, 2, 3).written == 3
