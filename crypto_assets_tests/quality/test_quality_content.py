"""What a partition holds: one checksum on every engine, another for every change, times against sets of them."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from crypto_assets.database.tables import TABLES
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import Interval, parse_time
from crypto_assets.domain.series import CandleTable
from crypto_assets.domain.spans import Span, intersect, merge
from crypto_assets.quality.verification.content import EMPTY, read_content
from crypto_assets_tests.quality.stored_candles import (
    BTC,
    DAY,
    ETH,
    FIVE_MINUTES,
    M5,
    START,
    STEP,
    TABLE,
    list_pairs,
    naive,
    rolled_back,
    store,
    times_of,
)

ON_ONE_DATABASE = settings(
    max_examples=8,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking against a database takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
PRICES = ("open", "high", "low", "close", "volume", "volume_quote")
UNIT = 1e-8
"""The exchange publishes no smaller difference; the checksum misses none while prices are below 5 million."""

published = st.integers(0, 10**16).map(lambda units: units / 10**8)
# PostgreSQL makes `vwap` of two of them when it stores a row, and refuses one whose quotient is no double.
doubles = st.none() | published | st.floats(-1e6, 1e6).map(lambda value: value if abs(value) > 1e-9 else 0.0)
whole = st.none() | st.integers(-(2**31), 2**31 - 1)
rows = st.fixed_dictionaries(
    dict.fromkeys((*PRICES, "change_pct", "turnover_rate"), doubles)
    | {"trade_count": whole, "is_high_volatility": st.booleans(), "is_high_volume": st.booleans()}
)
prices_published = st.integers(0, 5 * 10**14 - 1).map(lambda units: units / 10**8)  # below 5 million
sound_rows = st.fixed_dictionaries(
    dict.fromkeys(("open", "high", "low", "close"), prices_published)
    | dict.fromkeys(("volume", "volume_quote"), published)
    | dict.fromkeys(("change_pct", "turnover_rate"), st.none() | st.floats(-1, 1e6))
    | {"trade_count": st.integers(0, 10**9), "is_high_volatility": st.booleans(), "is_high_volume": st.booleans()}
)


def content(database, candles, span=DAY):
    """What is read where `candles`, values by open time, are all that is stored."""
    with rolled_back(database) as connection:
        list_pairs(connection, "BTC", "ETH")
        for time, values in candles.items():
            store(connection, [time], **values)
        store(connection, [START], ETH, close=9.0)  # somebody else's
        return read_content(connection, TABLE, BTC, span)


def in_a_row(*values):
    return {START + number * STEP: each for number, each in enumerate(values)}


@ON_ONE_DATABASE
@given(st.lists(rows, min_size=1, max_size=4))
def test_every_engine_reads_the_same(partitioned_database, quality_database, values):
    here, there = content(partitioned_database, in_a_row(*values)), content(quality_database, in_a_row(*values))
    assert here == there


@ON_ONE_DATABASE
@given(sound_rows, sound_rows, st.sampled_from([*PRICES, "change_pct", "turnover_rate"]), st.sampled_from([1, -1]))
def test_every_change_of_a_value_changes_the_checksum(partitioned_database, first, second, name, sign):
    before = content(partitioned_database, in_a_row(first, second))
    value = 0.0 if second[name] is None else second[name]
    changed = second | {name: value + sign * UNIT}
    assume(abs(changed[name] - value) > UNIT / 2)  # doubles of this size have such a neighbour
    assert content(partitioned_database, in_a_row(first, changed)).digest != before.digest
    more = second | {"trade_count": second["trade_count"] + 1}
    assert content(partitioned_database, in_a_row(first, more)).digest != before.digest
    for flag in ("is_high_volatility", "is_high_volume"):
        other = second | {flag: not second[flag]}
        assert content(partitioned_database, in_a_row(first, other)).digest != before.digest


def test_a_null_is_another_value_than_nought(partitioned_database):
    sound = dict.fromkeys(PRICES, 1.0) | {"trade_count": 1, "change_pct": 0.0, "turnover_rate": 0.0}
    digests = [content(partitioned_database, in_a_row(sound)).digest]
    digests += [
        content(partitioned_database, in_a_row(sound | {name: None})).digest for name in ("change_pct", "turnover_rate")
    ]
    digests.append(content(partitioned_database, in_a_row(sound | {"close": None})).digest)
    assert len(set(digests)) == 4


@ON_ONE_DATABASE
@given(sound_rows, sound_rows)
def test_rows_that_change_places_change_the_checksum(partitioned_database, first, second):
    assume(any(abs(first[name] - second[name]) > UNIT for name in PRICES))
    swapped = content(partitioned_database, in_a_row(second, first))
    assert swapped.digest != content(partitioned_database, in_a_row(first, second)).digest


def test_a_row_at_another_time_changes_the_checksum(partitioned_database):
    values = dict.fromkeys(PRICES, 1.0)
    moved = {START + 7 * STEP: values}
    assert content(partitioned_database, moved).digest != content(partitioned_database, in_a_row(values)).digest


def test_nothing_stored_is_empty_and_clean(partitioned_database):
    found = content(partitioned_database, {})
    assert found == EMPTY
    assert found.is_clean(M5, DAY)
    assert found.missing(M5, DAY, [DAY]) == [DAY]


def test_a_month_of_half_hours_is_read_whole(partitioned_database):
    table, interval = CandleTable(MarketType.SPOT, Interval.M30), Interval.M30
    month = Span(parse_time("2023-03-01"), parse_time("2023-04-01"))
    with rolled_back(partitioned_database, table) as connection:
        list_pairs(connection)
        store(connection, times_of(month, interval), table=table)
        found = read_content(connection, TABLES[table.name], BTC, month)
    assert len(found.times.split(",")) == 1488
    assert found.missing(interval, month, [month]) == []
    assert found.is_clean(interval, month)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.frozensets(st.integers(0, 287), max_size=288),
    st.frozensets(st.tuples(st.integers(0, 287), st.integers(1, STEP - 1)), max_size=2),
    st.lists(st.tuples(st.integers(0, 287), st.integers(1, 100)), max_size=3),
)
def test_counts_and_gaps_are_those_of_the_times(quality_database, stored, off_grid, ranges):
    within = merge(Span(START + first * STEP, START + min(288, first + length) * STEP) for first, length in ranges)
    with rolled_back(quality_database) as connection:
        store(connection, [START + number * STEP for number in sorted(stored)])
        store(connection, [START + number * STEP + shift for number, shift in off_grid])
        found = read_content(connection, TABLE, BTC, DAY)
    inside = {time for span in within for time in times_of(span)}
    there = {START + number * STEP for number in stored}
    assert found.count(M5, DAY, within) == len(there & inside)
    missing = found.missing(M5, DAY, within)
    assert {time for span in missing for time in times_of(span)} == inside - there
    assert missing == intersect(missing, within)
    assert found.is_clean(M5, DAY) is not bool(off_grid)
    written = [each for each in found.times.split(",") if each]
    assert len(written) == len(stored) + len({START + number * STEP + shift for number, shift in off_grid})


def test_a_row_that_breaks_a_rule_or_is_written_otherwise_is_not_clean(quality_database):
    said = {}
    for column, value in (
        ("open", "NULL"),
        ("high", "0.5"),
        ("low", "0"),
        ("volume", "-1"),
        ("trade_count", "NULL"),
        ("timestamp", "'2023-03-20T00:05:00.000000'"),
        ("timestamp", "'2023-03-20 noon'"),
        ("timestamp", "'2023-03-20 00:05:00.000001'"),
        ("timestamp", "'2023-03-20 00:05:00'"),
    ):
        with rolled_back(quality_database) as connection:
            store(connection, [START, START + STEP])
            where = f"timestamp = '{naive(START + STEP)}.000000'"
            changed = connection.exec_driver_sql(f"UPDATE {FIVE_MINUTES.name} SET {column} = {value} WHERE {where}")
            assert changed.rowcount == 1
            said[column, value] = read_content(connection, TABLE, BTC, DAY).is_clean(M5, DAY)
    assert set(said.values()) == {False}
