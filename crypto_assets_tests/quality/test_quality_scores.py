"""What is logged of an examination, and the scores that follow, on every engine."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from crypto_assets.database.tables import TABLES
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import Interval, parse_time
from crypto_assets.domain.series import CandleTable
from crypto_assets.domain.spans import Span
from crypto_assets.quality.gaps.ledger import Policy
from crypto_assets.quality.gaps.missing import Completeness
from crypto_assets.quality.rules.findings import Finding
from crypto_assets.quality.scores import INTEGRITY, record_scores, score
from crypto_assets.quality.verification.examination import Examination, examine
from crypto_assets_tests.database.filled_tables import store_entities
from crypto_assets_tests.quality.stored_candles import BTC, ETH, NOW, QUALITY, collected, store, times_of, written

LOG = TABLES["crypto_data_quality_log"]
ASSETS = TABLES["crypto_asset"]
HOURS, DAYS = (CandleTable(MarketType.SPOT, each) for each in (Interval.H1, Interval.D1))
PERPS = CandleTable(MarketType.SWAP, Interval.H1)
BTC_PERP = "cryptoperp_binance_btcusdt"


def series(entity, missing=0, absent=0, expected=100):
    return Completeness(entity, [], expected, [], [], missing, absent)


def examination(table, *found, offending=None, findings=None):
    return Examination(table, list(found), findings or {}, [], 0, 0, offending or {})


def currencies(database):
    with database.connect("crypto_meta") as connection:
        rows = connection.execute(select(ASSETS).where(ASSETS.c.id.in_(["crypto_binance_btc", "crypto_binance_eth"])))
        return {row.code: (row.data_quality_score, row.last_validation_timestamp) for row in rows}


@pytest.mark.parametrize(
    ("missing", "absent", "expected", "offending", "said"),
    [
        (0, 0, 100, 0, 1.0),
        (10, 0, 100, 0, 0.9),
        (10, 50, 100, 0, 0.8),
        (10, 0, 100, 15, 0.75),
        (90, 0, 100, 20, 0.0),
        (0, 100, 100, 0, 1.0),
        (0, 0, 0, 3, 1.0),
    ],
)
def test_a_score_is_the_share_of_what_exists_that_is_stored_and_sound(missing, absent, expected, offending, said):
    assert score(series(BTC, missing, absent, expected), offending) == pytest.approx(said)


def test_every_series_is_a_row_of_the_log(any_database):
    store_entities(any_database, 5)
    said = examination(
        HOURS,
        series(BTC, missing=1200, absent=3, expected=2000),
        series(ETH),
        offending={BTC: 2},
        findings={"valid_ohlc": Finding(2, 800), "on_grid": Finding(0, 800)},
    )
    record_scores(any_database, said, NOW, deep=True)
    with any_database.connect(QUALITY) as connection:
        btc, eth = connection.execute(select(LOG).order_by(LOG.c.entity_id)).all()
    assert btc.validation_result == {
        "table": HOURS.name,
        "level": "1h",
        "expected": 2000,
        "present": 797,
        "open": 1200,
        "source": 3,
        "offending": 2,
        "checks": {"valid_ohlc": 2},
        "deep": True,
    }
    assert btc.issues_detected == ["1,200 candles are missing", "2 candles or partitions are not as they should be"]
    assert (btc.validation_type, btc.provider, btc.timestamp) == (INTEGRITY, "binance", NOW)
    assert btc.quality_score == pytest.approx(1 - 1202 / 1997)
    assert (eth.quality_score, eth.issues_detected, eth.validation_result["offending"]) == (1.0, [], 0)


def test_a_currency_has_the_lowest_score_of_its_markets_as_of_their_last_examinations(any_database):
    store_entities(any_database, 5)
    record_scores(any_database, examination(HOURS, series(BTC, 10), series(ETH)), NOW, deep=False)
    assert currencies(any_database) == {"btc": (0.9, NOW), "eth": (1.0, NOW)}
    for minutes, (table, *found), btc in (
        (1, (PERPS, series(BTC_PERP, 30)), 0.7),
        (2, (DAYS, series(BTC, 20)), 0.7),
        (3, (PERPS, series(BTC_PERP)), 0.8),
        (4, (DAYS, series(BTC)), 0.9),
        (5, (HOURS, series(BTC)), 1.0),
    ):
        now = NOW + timedelta(minutes=minutes)
        record_scores(any_database, examination(table, *found), now, deep=False)
        assert currencies(any_database) == {"btc": (pytest.approx(btc), now), "eth": (1.0, NOW)}


def test_scores_of_tables_that_nobody_examines_any_more_are_forgotten(any_database):
    store_entities(any_database, 5)
    record_scores(any_database, examination(DAYS, series(BTC, 50)), NOW, deep=False)
    later = NOW + timedelta(days=7)
    record_scores(any_database, examination(HOURS, series(BTC)), later, deep=False)
    assert currencies(any_database)["btc"] == (0.5, later)
    later = NOW + timedelta(days=9)
    record_scores(any_database, examination(HOURS, series(BTC)), later, deep=False)
    assert currencies(any_database)["btc"] == (1.0, later)


def test_a_symbol_that_is_not_listed_is_logged_and_scores_no_currency(any_database):
    store_entities(any_database, 5)
    before = currencies(any_database)
    record_scores(any_database, examination(HOURS, series("cryptopair_binance_unknown", 50)), NOW, deep=False)
    assert currencies(any_database) == before
    with any_database.connect(QUALITY) as connection:
        assert connection.scalars(select(LOG.c.quality_score)).all() == [0.5]


def test_nothing_examined_is_nothing_to_log(any_database):
    record_scores(any_database, examination(HOURS), NOW, deep=False)
    with any_database.connect(QUALITY) as connection:
        assert connection.execute(select(LOG)).all() == []


def test_an_examination_of_stored_candles_is_scored(any_database):
    store_entities(any_database, 5)
    month = Span(parse_time("2023-03-01"), parse_time("2023-04-01"))
    with written(any_database, DAYS) as connection:
        times = times_of(month, Interval.D1)
        store(connection, times[3:], table=DAYS)
        collected(connection, month, table=DAYS)
    record_scores(any_database, examine(any_database, DAYS, NOW, Policy()), NOW, deep=False)
    assert currencies(any_database)["btc"] == (pytest.approx(28 / 31), NOW)
