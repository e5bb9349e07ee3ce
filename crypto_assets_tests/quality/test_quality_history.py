"""Old scores are thinned, evidence stays, and what that costs does not grow with the rows."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

import pytest
from sqlalchemy import event, func, insert, select

from crypto_assets.database.engines import open_database
from crypto_assets.database.migrations import migrate
from crypto_assets.database.tables import TABLES
from crypto_assets.quality.history import Forgotten, forget

LOG, GAPS, METRICS = (
    TABLES[name] for name in ("crypto_data_quality_log", "crypto_kdata_gap", "crypto_operational_metrics")
)
NOW = datetime(2026, 11, 28, 2)  # noqa: DTZ001 - stored times are naive UTC
BTC = "cryptopair_binance_btcusdt"
HOURS = "cryptopair_1h_kdata"


def logged(moment, score=1.0, entity=BTC, table=HOURS, kind="integrity"):
    return {
        "id": f"{kind}_{table}_{entity}_{moment:%Y%m%dT%H%M%S%f}",
        "entity_id": entity,
        "provider": "binance",
        "validation_type": kind,
        "validation_result": {"table": table},
        "quality_score": score,
        "issues_detected": [],
        "timestamp": moment,
    }


def gap(number, status="repaired", repaired=None, attempts=0):
    return {
        "id": f"gap_{number}",
        "entity_id": BTC,
        "provider": "binance",
        "level": "1h",
        "start": NOW - timedelta(days=500),
        "end": NOW - timedelta(days=500),
        "missing": 1,
        "status": status,
        "attempts": attempts,
        "first_seen": NOW - timedelta(days=400),
        "last_checked": None,
        "repaired_at": repaired,
        "evidence": {},
    }


def measured(moment, table=HOURS):
    return {
        "id": f"table_rows_{table}_{moment.isoformat(timespec='milliseconds')}",
        "metric_name": "table_rows",
        "provider": None,
        "metric_value": 1.0,
        "metric_tags": {"table": table},
        "timestamp": moment,
    }


def put(database, table, rows):
    with database.begin(table.name) as connection:
        connection.execute(insert(table), rows)


def left(database, table, column):
    with database.connect(table.name) as connection:
        return sorted(connection.scalars(select(table.c[column])))


def test_of_old_scores_the_lowest_of_a_day_and_later_of_a_month_is_kept(any_database):
    recent, older, oldest = NOW - timedelta(days=3), NOW - timedelta(days=40), datetime(2026, 3, 10)  # noqa: DTZ001
    every = [recent + timedelta(hours=6 * run) for run in range(4)]
    day = [(older + timedelta(hours=6 * run), score) for run, score in enumerate([1.0, 0.5, 0.5, 1.0])]
    month = [(oldest + timedelta(days=number), score) for number, score in enumerate([1.0, 0.9, 1.0])]
    put(any_database, LOG, [logged(moment) for moment in every])
    put(any_database, LOG, [logged(moment, score) for moment, score in day + month])
    others = [
        logged(day[0][0], 0.7, entity="cryptopair_binance_\u5e01\u5b89usdt"),
        logged(day[0][0], 0.8, table="cryptopair_1d_kdata"),
    ]
    put(any_database, LOG, others)
    evidence = [logged(moment, 0.0, kind=kind) for kind in ("contract", "conflict", "reset") for moment, _ in month]
    put(any_database, LOG, evidence)
    assert forget(any_database, NOW, 92) == Forgotten(scores=3 + 2)
    kept = [*every, day[2][0], month[1][0], day[0][0], day[0][0], *(moment for moment, _ in month * 3)]
    assert left(any_database, LOG, "timestamp") == sorted(kept)
    assert forget(any_database, NOW, 92) == Forgotten(), "what is left stays"


def test_a_repaired_gap_goes_unless_the_exchange_once_answered_without_its_candles(any_database):
    long_ago, lately = NOW - timedelta(days=100), NOW - timedelta(days=90)
    rows = [
        gap(1, repaired=long_ago),
        gap(2, repaired=long_ago, attempts=3),
        gap(3, repaired=lately),
        gap(4, status="open"),
        gap(5, status="source", attempts=9),
    ]
    put(any_database, GAPS, rows)
    assert forget(any_database, NOW, 92) == Forgotten(repaired_gaps=1)
    assert left(any_database, GAPS, "id") == ["gap_2", "gap_3", "gap_4", "gap_5"]


def test_of_old_measurements_the_last_of_a_month_is_kept(any_database):
    moments = [datetime(2026, 3, number, 4) for number in (1, 8, 15)] + [NOW - timedelta(days=20), NOW]  # noqa: DTZ001
    put(any_database, METRICS, [measured(moment) for moment in moments])
    put(any_database, METRICS, [measured(moments[0], table="cryptopair_1d_kdata")])
    assert forget(any_database, NOW, 92) == Forgotten(measurements=2)
    assert left(any_database, METRICS, "timestamp") == sorted([moments[0], *moments[2:]])


@pytest.fixture
def small_database(tmp_path):
    opened = open_database(f"sqlite:///{tmp_path}", "testnet")
    migrate(opened, ["crypto_quality", "crypto_operations"])
    yield opened
    opened.dispose()


def test_without_the_setting_nothing_goes(small_database):
    put(small_database, LOG, [logged(datetime(2020, 1, 1, hour)) for hour in range(3)])  # noqa: DTZ001
    assert forget(small_database, NOW, 0) == Forgotten()
    assert len(left(small_database, LOG, "id")) == 3


def test_a_hundred_symbols_cost_as_many_statements_as_one(small_database):
    start = NOW - timedelta(days=18)
    series = [
        (f"cryptopair_binance_{number}usdt", f"cryptopair_{level}_kdata") for number in range(100) for level in range(7)
    ]
    deletes = Counter()

    def count(connection, cursor, statement, *rest):
        deletes[statement.split()[0]] += 1

    def thinned(chosen):
        for run in range(4 * 4):
            moment = start + timedelta(hours=6 * run)
            put(small_database, LOG, [logged(moment, 1.0, entity, table) for entity, table in chosen])
        deletes.clear()
        with small_database.connect(LOG.name) as connection:
            event.listen(connection.engine, "before_cursor_execute", count)
        went = forget(small_database, NOW, 92).scores
        with small_database.connect(LOG.name) as connection:
            event.remove(connection.engine, "before_cursor_execute", count)
        return went, deletes["DELETE"]

    one, statements = thinned(series[:1])
    many, still = thinned(series[1:])
    assert many == 699 * one > 5000
    assert still == statements <= 100
    with small_database.connect(LOG.name) as connection:
        assert connection.scalar(select(func.count()).select_from(LOG)) == 700 * (16 - one)
