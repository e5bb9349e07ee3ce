"""Each partition is looked at once, whichever run collected it and however late."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from crypto_assets.quality.standing import Standing, load_standing, store_standing
from crypto_assets_tests.quality.stored_candles import BTC, ETH, NOW, QUALITY

NOON = datetime(2023, 3, 20, 12)  # noqa: DTZ001 - stored times are naive UTC
FOUND = {"count": 2, "first": "2023-03-20 00:05"}


def covered(**minutes):
    """Partitions by key, asked for so many minutes after noon; a negative number means not verified."""
    return {
        key.strip("_").replace("_", "-"): SimpleNamespace(
            verified_at=NOON + timedelta(minutes=abs(each)), digest="" if each < 0 else "digest"
        )
        for key, each in minutes.items()
    }


def look(standing, partitions, **found):
    fresh = standing.fresh("5m", partitions)
    standing.looked_at("5m", partitions, dict.fromkeys(fresh) | found)
    return fresh


def test_a_partition_is_looked_at_once_and_again_when_it_was_asked_for_again():
    standing = Standing(BTC)
    assert look(standing, covered(_2023_03_20=0, _2023_03_19=0)) == ["2023-03-19", "2023-03-20"]
    assert look(standing, covered(_2023_03_20=0, _2023_03_19=0)) == []
    assert look(standing, covered(_2023_03_20=0, _2023_03_19=1)) == ["2023-03-19"]
    # Another level is another matter.
    assert standing.fresh("1m", covered(_2023_03_20=0)) == ["2023-03-20"]


def test_what_a_long_run_collects_is_looked_at_although_its_clock_is_old():
    standing = Standing(BTC)
    look(standing, covered(_2023_03_20=60))
    assert look(standing, covered(_2023_03_20=60, _2023_03_19=1)) == ["2023-03-19"]
    assert look(standing, covered(_2023_03_20=60, _2023_03_19=1)) == []
    assert standing.until == {"5m": "2023-03-20T13:00:00"}


def test_what_is_not_verified_waits():
    standing = Standing(BTC)
    assert look(standing, covered(_2023_03_20=-5, _2023_03_21=6)) == ["2023-03-21"]
    assert look(standing, covered(_2023_03_20=5, _2023_03_21=6)) == ["2023-03-20"]


def test_what_was_found_stands_until_its_partition_is_sound():
    standing = Standing(BTC)
    look(standing, covered(_2023_03_20=0, _2023_03_21=0), **{"2023-03-20": FOUND})
    look(standing, covered(_2023_03_20=0, _2023_03_21=1))
    assert standing.found == {"2023-03-20": FOUND}
    look(standing, covered(_2023_03_20=2, _2023_03_21=1))
    assert standing.found == {}


@given(st.lists(st.dictionaries(st.dates(), st.integers(0, 2**40), max_size=8), max_size=6))
def test_new_partitions_are_never_missed_and_old_ones_never_looked_at_without_reason(looks):
    standing, seen, until = Standing(BTC), set(), datetime.min  # noqa: DTZ901 - stored times are naive UTC
    for each in looks:
        partitions = {
            day.isoformat(): SimpleNamespace(verified_at=NOON + timedelta(microseconds=time), digest="digest")
            for day, time in each.items()
        }
        fresh = look(standing, partitions)
        assert set(fresh) == {key for key, row in partitions.items() if row.verified_at > until or key not in seen}
        seen |= set(partitions)
        until = max([until, *(row.verified_at for row in partitions.values())])


def test_it_is_stored_and_loaded_by_check_table_and_symbol(any_database):
    btc, eth = Standing(BTC), Standing(ETH)
    look(btc, covered(_2023_03_20=0), **{"2023-03-20": FOUND})
    with any_database.begin(QUALITY) as connection:
        store_standing(connection, "plausible", "cryptopair_1m_kdata", [btc, eth], NOW)
        store_standing(connection, "plausible", "cryptopair_15m_kdata", [Standing(BTC)], NOW)
        store_standing(connection, "plausible", "cryptopair_1m_kdata", [], NOW)
    with any_database.connect(QUALITY) as connection:
        assert load_standing(connection, "plausible", "cryptopair_1m_kdata") == {BTC: btc, ETH: eth}
        assert load_standing(connection, "plausible", "cryptopair_15m_kdata") == {BTC: Standing(BTC)}
        assert load_standing(connection, "agrees_with_minutes", "cryptopair_1m_kdata") == {}
        assert btc.fresh("5m", covered(_2023_03_20=0)) == []
