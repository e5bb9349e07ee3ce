"""Prices that jump and feeds that got stuck, on every engine."""

from __future__ import annotations

from sqlalchemy import update

from crypto_assets.domain.intervals import Interval, parse_time
from crypto_assets.domain.spans import Span
from crypto_assets.quality.plausibility import look_for_implausible
from crypto_assets_tests.quality.stored_candles import (
    BTC,
    DAY,
    ETH,
    FIVE_MINUTES,
    NOW,
    START,
    STEP,
    TABLE,
    collected,
    list_pairs,
    naive,
    store,
    times_of,
    written,
)


def look(database, table=FIVE_MINUTES):
    return {each.entity_id: each.found for each in look_for_implausible(database, table, NOW)}


def day_of(connection, entity, special):
    """A day of candles that differ, but for what `special` says by their number."""
    for number, time in enumerate(times_of(DAY)):
        store(connection, [time], entity, **{"trade_count": number, **special.get(number, {})})


def test_jumps_and_stuck_feeds_are_told_by_partition_and_only_there(partitioned_database):
    jump = {7: {"change_pct": 0.51}, 8: {"change_pct": -0.6}, 9: {"change_pct": 0.5}}
    stuck = {number: {"trade_count": 5} for number in range(20, 26)}
    with written(partitioned_database) as connection:
        list_pairs(connection, "BTC", "ETH")
        day_of(connection, BTC, jump | stuck)
        day_of(connection, ETH, {number: {"trade_count": 5} for number in range(20, 24)})
        for entity in (BTC, ETH):
            collected(connection, DAY, entity=entity)
    first = f"{naive(START + 7 * STEP)}.000000"
    expected = {BTC: {"2023-03-20": {"count": 4, "jumps": 2, "stuck": 2, "first": first}}, ETH: {}}
    assert look(partitioned_database) == expected
    assert look(partitioned_database) == expected


def test_a_market_that_nobody_trades_on_is_not_stuck(partitioned_database):
    with written(partitioned_database) as connection:
        list_pairs(connection)
        store(connection, times_of(DAY), volume=0.0, volume_quote=0.0, trade_count=0)
        collected(connection, DAY)
    assert look(partitioned_database) == {BTC: {}}


def test_a_day_may_do_what_five_minutes_may_not(any_database):
    table, month = "cryptopair_1d_kdata", Span(parse_time("2023-03-01"), parse_time("2023-04-01"))
    with written(any_database, table) as connection:
        list_pairs(connection)
        for number, time in enumerate(times_of(month, Interval.D1)):
            change = {3: 2.9, 4: 3.1}.get(number)
            store(connection, [time], table=table, trade_count=number, change_pct=change)
        collected(connection, month, table=table)
    assert look(any_database, table)[BTC]["2023-03-01"]["jumps"] == 1


def test_what_was_looked_at_is_not_read_again_before_it_is_asked_for_again(partitioned_database):
    with written(partitioned_database) as connection:
        list_pairs(connection)
        day_of(connection, BTC, {})
        collected(connection, DAY)
    assert look(partitioned_database) == {BTC: {}}
    with written(partitioned_database) as connection:
        connection.execute(update(TABLE).where(TABLE.c.timestamp == naive(START)).values(change_pct=9.0))
    assert look(partitioned_database) == {BTC: {}}
    with written(partitioned_database) as connection:
        collected(connection, DAY, DAY.end + STEP)
    assert look(partitioned_database)[BTC]["2023-03-20"]["count"] == 1
    with written(partitioned_database) as connection:
        connection.execute(update(TABLE).where(TABLE.c.timestamp == naive(START)).values(change_pct=None))
        collected(connection, DAY, DAY.end + 2 * STEP)
    assert look(partitioned_database) == {BTC: {}}


def test_nothing_collected_is_nothing_to_say(any_database):
    assert look(any_database) == {}
