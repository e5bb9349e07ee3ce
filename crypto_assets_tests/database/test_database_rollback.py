"""Taking data back at three depths, and the copies that are made before: on every engine, row by row."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, inspect, select, update

from crypto_assets.database.engines import Database, open_database
from crypto_assets.database.engines.base import BACKUP
from crypto_assets.database.errors import DatabaseError, EnvironmentMismatch
from crypto_assets.database.migrations import current_revisions, migrate
from crypto_assets.database.removal import backups
from crypto_assets.database.removal.backups import KEPT, list_backups, restore
from crypto_assets.database.removal.rollback import Depth, carry_out, plan_rollback
from crypto_assets.database.revisions import HEAD, REVISIONS
from crypto_assets.database.tables import META, TABLES, key_columns
from crypto_assets.domain.intervals import parse_time
from crypto_assets.domain.spans import Span

SINCE = datetime(2024, 8, 1)  # noqa: DTZ001 - stored times are naive UTC
PARTITIONED = ("cryptopair_1m_kdata", "cryptopair_5m_kdata", "cryptoperp_1m_kdata", "cryptoperp_5m_kdata")
SPARED = {"crypto_database_identity", "crypto_schema_migration"}
Rows = dict[str, list[tuple[Any, ...]]]


def put(database: Database, name: str, *rows: dict[str, Any]) -> None:
    if name in PARTITIONED:
        database.ensure_partitions(name, Span(parse_time("2024-07-01"), parse_time("2024-09-01")))
    with database.begin(name) as connection:
        connection.execute(insert(TABLES[name]), list(rows))


def every_row(database: Database) -> Rows:
    found = {}
    for name, table in TABLES.items():
        with database.connect(name) as connection:
            chosen = connection.execute(select(table).order_by(*(table.c[key] for key in key_columns(table))))
            found[name] = [tuple(row) for row in chosen]
    return found


def entity(kind: str, exchange: str, code: str, **more: Any) -> dict[str, Any]:
    key = f"{kind}_{exchange}_{code}"
    common = {"id": key, "entity_id": key, "entity_type": kind, "exchange": exchange, "code": code, "name": code}
    return common | {"timestamp": SINCE - timedelta(days=1)} | more


def candle(of: str, at: datetime, provider: str = "binance") -> dict[str, Any]:
    return {"entity_id": of, "provider": provider, "name": "BTC/USDT", "timestamp": at, "open": 0.1, "volume": 1e-9}


def gap(of: str, level: str, start: datetime, end: datetime, provider: str = "binance") -> dict[str, Any]:
    return {
        "id": f"{of}_{level}_{start:%Y%m%d}",
        "entity_id": of,
        "provider": provider,
        "level": level,
        "start": start,
        "end": end,
        "missing": 3,
        "status": "source",
        "attempts": 2,
        "first_seen": SINCE,
        "evidence": [{"asked": "2024-08-01T00:00:00.123456", "got": 0, "名": None, "rate": 0.1}],
    }


def coverage(of: str, level: str, partition: str, provider: str = "binance") -> dict[str, Any]:
    of_partition = {"entity_id": of, "provider": provider, "level": level, "partition": partition}
    return of_partition | {"expected": 2, "present": 2, "verified_at": SINCE, "digest": "d"}


def archived(of: str, level: str, month: str, first: datetime, last: datetime) -> dict[str, Any]:
    of_month = {"entity_id": of, "provider": "binance", "level": level, "month": month, "path": f"{month}.parquet"}
    times = {"first_timestamp": first, "last_timestamp": last, "archived_at": SINCE}
    return of_month | times | {"rows": 2, "bytes": 2**40, "digest": "d"}


def log(key: str, at: datetime, provider: str = "binance") -> dict[str, Any]:
    found = {"none": None, "deep": {"ü": [1.5, "'", '"', "\\"]}, "true": True}
    whose = {"id": key, "entity_id": "cryptopair_binance_btcusdt", "provider": provider, "timestamp": at}
    return whose | {
        "validation_type": "no_gaps",
        "validation_result": found,
        "quality_score": 0.1 + 0.2,
        "issues_detected": [],
    }


def fill(database: Database) -> None:
    """Rows of two providers, before and after SINCE, in tables of every kind."""
    day = timedelta(days=1)
    for provider in ("binance", "okx"):
        coins = [f"crypto_{provider}_{code}" for code in ("btc", "usdt")]
        put(
            database,
            "crypto_asset",
            *(entity("crypto", provider, code, symbol=code) for code in ("btc", "usdt")),
        )
        rules = {"price_step": 0.01, "qty_step": 0.001}
        legs = {"base_symbol": "BTC", "quote_symbol": "USDT", "base_asset_id": coins[0], "quote_asset_id": coins[1]}
        put(database, "crypto_pair", entity("cryptopair", provider, "btcusdt", **legs, **rules))
        pair = f"cryptopair_{provider}_btcusdt"
        for table, step in (("cryptopair_1m_kdata", 1), ("cryptopair_1h_kdata", 60)):
            times = [SINCE + step * timedelta(minutes=number) for number in range(-2, 3)]
            put(database, table, *(candle(pair, at, provider) for at in times))
        put(
            database,
            "crypto_kdata_coverage",
            *(coverage(pair, "1m", key, provider) for key in ("2024-07-31", "2024-08-01", "2024-08-02")),
            *(coverage(pair, "1h", key, provider) for key in ("2024-07-01", "2024-08-01")),
        )
        put(
            database,
            "crypto_kdata_gap",
            gap(pair, "1m", SINCE - 2 * day, SINCE - day, provider),
            gap(pair, "1m", SINCE - timedelta(hours=1), SINCE, provider),
            gap(pair, "1h", SINCE + day, SINCE + day, provider),
        )
        put(
            database,
            "crypto_data_quality_log",
            log(f"{provider}_old", SINCE - timedelta(microseconds=1), provider),
            log(f"{provider}_new", SINCE + timedelta(microseconds=123456), provider),
        )
    btc = "cryptopair_binance_btcusdt"
    put(
        database,
        "crypto_kdata_archive",
        archived(btc, "1m", "2024-06-01", SINCE - 61 * day, SINCE - 32 * day),
        archived(btc, "1m", "2024-09-01", SINCE + 31 * day, SINCE + 60 * day),
    )
    follows = {"underlying_symbol": "BTC", "settlement_symbol": "USDT"}
    follows |= {"underlying_asset_id": "crypto_binance_btc", "settlement_asset_id": "crypto_binance_usdt"}
    steps = {"price_step": 0.1, "qty_step": 0.001}
    put(database, "crypto_perp", entity("cryptoperp", "binance", "btcusdt", **follows, **steps))
    put(database, "cryptoperp_1h_kdata", candle("cryptoperp_binance_btcusdt", SINCE + day))
    put(database, "crypto_kdata_coverage", coverage("cryptoperp_binance_btcusdt", "1h", "2024-08-01"))
    put(database, "crypto_trade", trade("1", SINCE - day), trade("2", SINCE))
    price = {"symbol": "BTC/USDT", "timestamp_window": SINCE, "validation_timestamp": SINCE}
    put(
        database,
        "crypto_price_consistency",
        price
        | {"id": "1", "provider_prices": {"binance": 65000.125, "okx": None}, "outlier_providers": ["okx"]}
        | {"max_deviation_pct": 1e-17, "confidence_score": 1.0}
        | {"recommended_price": Decimal("12345678901234567890.12345678")},
    )
    measured = {"metric_name": "rows", "metric_value": 1 / 3, "metric_tags": {"a": {"b": [1, 2.5, None]}}}
    put(
        database,
        "crypto_operational_metrics",
        *(
            measured | {"id": key, "provider": key if key == "binance" else None, "timestamp": SINCE + day}
            for key in ("binance", "nobody")
        ),
    )
    session = {"session_id": "s", "connection_status": "connected", "subscribed_streams": ["a"]}
    times = {"started_timestamp": SINCE, "updated_timestamp": SINCE}
    put(database, "crypto_websocket_sessions", session | times | {"id": "1", "provider": "binance"})


def trade(key: str, at: datetime) -> dict[str, Any]:
    of = {"id": key, "entity_id": "cryptopair_binance_btcusdt", "provider": "binance", "code": "btcusdt", "name": "B"}
    figures = {"trade_id": key, "price": 0.1, "volume": 0.2, "quote_volume": 0.02, "side": "buy"}
    return of | figures | {"timestamp": at, "timestamp_ms": 0, "is_buyer_maker": False}


@contextmanager
def opened(url: str, environment: str = "sandbox", revision: str = HEAD) -> Iterator[Database]:
    database = open_database(url, environment, revision=revision)
    yield database
    database.dispose()


def remove_backups(database: Database) -> None:
    """On SQLite they go with the test's directory."""
    if database.schemas:
        database.remove(BACKUP)


@pytest.fixture
def database(any_database: Database) -> Iterator[Database]:
    """A database with rows of two providers and without backups."""
    remove_backups(any_database)
    fill(any_database)
    yield any_database
    remove_backups(any_database)


@pytest.fixture
def lone_url(own_url: str) -> Iterator[str]:
    """The URL of a database of the test's own, with rows."""
    with opened(own_url) as made:
        fill(made)
    yield own_url
    with opened(own_url) as made:
        remove_backups(made)


def kept(rows: Rows) -> Rows:
    return {name: rows[name] for name in KEPT}


def counts(rows: Rows) -> dict[str, int]:
    return {name: len(each) for name, each in rows.items() if each}


def difference(before: Rows, after: Rows) -> dict[str, int]:
    """How many rows each table lost; none may have appeared."""
    assert all(set(map(repr, after[name])) <= set(map(repr, before[name])) for name in before)
    lost = {name: len(before[name]) - len(after[name]) for name in before}
    return {name: rows for name, rows in lost.items() if rows}


def test_data_goes_the_schema_stays_and_the_kept_tables_come_back_equal(database):
    before = every_row(database)
    outcome = carry_out(database, Depth.DATA)
    after = every_row(database)
    assert {name for name, rows in after.items() if rows} <= SPARED
    assert after["crypto_database_identity"] == before["crypto_database_identity"]
    assert after["crypto_schema_migration"] == before["crypto_schema_migration"]
    assert outcome.removed == {name: rows for name, rows in counts(before).items() if name not in SPARED}
    assert restore(database, outcome.backup) == {name: len(before[name]) for name in KEPT}
    restored = every_row(database)
    assert kept(restored) == kept(before)
    assert {name: rows for name, rows in restored.items() if name not in KEPT} == {
        name: rows for name, rows in after.items() if name not in KEPT
    }
    assert all(before[name] for name in KEPT)


def test_a_schema_goes_with_everything_and_the_backup_outlives_it(lone_url):
    with opened(lone_url) as database:
        before = every_row(database)
        outcome = carry_out(database, Depth.SCHEMA)
        assert counts(before) == {name: rows for name, rows in outcome.removed.items() if rows}
        assert set(outcome.removed) == set(TABLES)
        assert not database.exists()
        assert set(current_revisions(database).values()) == {None}
        if database.engine == "sqlite":
            assert [path.name for path in database.path(META).parent.iterdir()] == ["binance_crypto_backup.db"]
        assert counts(kept(before)) == {each.table: each.rows for each in list_backups(database) if each.rows}
        with pytest.raises(DatabaseError, match="run crypto-assets migrate"):
            restore(database, outcome.backup)
        assert carry_out(database, Depth.SCHEMA).backup is None
        migrate(database)
        restore(database, outcome.backup)
        assert kept(every_row(database)) == kept(before)


def test_a_backup_of_an_older_revision_is_brought_back_by_the_columns_both_have(lone_url):
    with opened(lone_url) as database:
        before = every_row(database)
        migrate(database, revision=REVISIONS[-2])
        stamp = carry_out(database, Depth.SCHEMA).backup
        migrate(database)
        restore(database, stamp)
        assert kept(every_row(database)) == kept(before)


def test_a_provider_s_rows_go_and_nobody_else_s(database):
    before = every_row(database)
    outcome = carry_out(database, Depth.PROVIDER, "binance")
    after = every_row(database)
    assert outcome.removed == difference(before, after)
    left = {name: rows for name, rows in after.items() if rows and name not in SPARED}
    okx = ("crypto_asset", "crypto_pair", "cryptopair_1m_kdata", "cryptopair_1h_kdata", "crypto_kdata_coverage")
    assert set(left) == {*okx, "crypto_kdata_gap", "crypto_data_quality_log"} | {
        "crypto_price_consistency",
        "crypto_operational_metrics",  # of nobody
    }
    assert "binance" not in re.sub(r"\{.*?\}|entity_id", "", repr([left[name] for name in okx]))
    restore(database, outcome.backup)
    assert kept(every_row(database)) == kept(before)


def test_since_takes_series_from_a_time_on_and_what_is_owed_with_them(database):
    before = every_row(database)
    outcome = carry_out(database, Depth.PROVIDER, "binance", since=SINCE)
    assert outcome.removed == difference(before, every_row(database))
    assert outcome.removed == {
        "cryptopair_1m_kdata": 3,
        "cryptopair_1h_kdata": 3,
        "cryptoperp_1h_kdata": 1,
        "crypto_trade": 1,
        "crypto_data_quality_log": 1,
        "crypto_operational_metrics": 1,
        "crypto_kdata_gap": 2,
        "crypto_kdata_coverage": 4,
        "crypto_kdata_archive": 1,
    }
    restore(database, outcome.backup)
    assert kept(every_row(database)) == kept(before)


def test_with_candles_of_one_table_goes_what_speaks_of_them_only(database):
    before = every_row(database)
    outcome = carry_out(
        database, Depth.PROVIDER, "binance", ["CryptoPair1mKdata"], SINCE + timedelta(days=1, minutes=1)
    )
    assert (
        outcome.removed
        == difference(before, every_row(database))
        == {
            "crypto_kdata_coverage": 1,
            "crypto_kdata_archive": 1,
        }
    )
    before = every_row(database)
    outcome = carry_out(database, Depth.PROVIDER, "binance", ["cryptopair_1h_kdata"], SINCE - timedelta(minutes=30))
    after = every_row(database)
    # The month of July is not whole any more: it is no longer owed.
    expected = {"cryptopair_1h_kdata": 3, "crypto_kdata_coverage": 2, "crypto_kdata_gap": 1}
    assert outcome.removed == difference(before, after) == expected
    of_perps = [row for row in after["crypto_kdata_coverage"] if row[0].startswith("cryptoperp")]
    assert len(of_perps) == 1


@pytest.mark.parametrize(
    "asked",
    [
        (Depth.DATA,),
        (Depth.SCHEMA,),
        (Depth.PROVIDER, "binance"),
        (Depth.PROVIDER, "okx", ["cryptopair_1m_kdata"], SINCE),
    ],
    ids=["data", "schema", "provider", "narrowed"],
)
def test_a_plan_says_what_will_be_removed_and_changes_nothing(database, asked):
    before, stored = every_row(database), list_backups(database)
    plan = plan_rollback(database, *asked)
    assert every_row(database) == before
    assert list_backups(database) == stored == []
    if asked[0] is not Depth.SCHEMA:
        outcome = carry_out(database, *asked)
        assert {each.table: each.rows for each in plan} == outcome.removed == difference(before, every_row(database))


def test_what_cannot_be_done_is_refused_in_one_sentence_before_anything_is_done(database):
    before = every_row(database)
    for asked, said in (
        (("binance", ["cryptopair_1m_kdta"]), "did you mean cryptopair_1m_kdata"),
        (("kraken",), "Nothing of kraken is stored in"),
        (("binance", ["cryptopair_1h_kdata"], datetime(2030, 1, 1)), "since 2030-01-01 00:00"),  # noqa: DTZ001
        (("binance", ["crypto_price_consistency"]), "only a rollback of all data"),
        (("binance", ["crypto_pair"]), "crypto_pair cannot lose rows that cryptopair_1m_kdata still refers to"),
        (("binance", ["crypto_asset"]), "crypto_asset cannot lose rows that crypto_p"),
        (("binance", ["crypto_pair", "cryptopair_1m_kdata"]), "that cryptopair_1h_kdata still refers to"),
        (
            ("binance", ["crypto_pair", "cryptopair_1m_kdata", "cryptopair_1h_kdata"]),
            "crypto_pair cannot lose rows that crypto_trade still refers to",
        ),
        (("binance", ["cryptopair_1m_kdata"], datetime(2024, 6, 15)), "2024-06 are archived in one file"),  # noqa: DTZ001
    ):
        with pytest.raises(DatabaseError, match=re.escape(said)) as refused:
            carry_out(database, Depth.PROVIDER, *asked)
        assert len(str(refused.value).splitlines()) == 1
    assert every_row(database) == before
    assert list_backups(database) == []


def test_a_row_of_another_provider_that_refers_to_a_removed_pair_is_not_left_behind(database):
    put(database, "cryptopair_1h_kdata", candle("cryptopair_binance_btcusdt", SINCE + timedelta(days=9), "mirror"))
    with pytest.raises(DatabaseError, match="cryptopair_1h_kdata still refers to"):
        carry_out(database, Depth.PROVIDER, "binance")


def test_pairs_can_go_with_all_that_refers_to_them(database):
    tables = ["cryptopair_1m_kdata", "cryptopair_1h_kdata", "crypto_trade", "crypto_pair"]
    carry_out(database, Depth.PROVIDER, "binance", tables)
    after = every_row(database)
    assert [row[0] for row in after["crypto_pair"]] == ["cryptopair_okx_btcusdt"]
    assert len(after["crypto_asset"]) == 4


def test_arguments_that_do_not_go_together_are_refused(database):
    for asked in [(Depth.DATA, "binance"), (Depth.PROVIDER,), (Depth.SCHEMA, None, ["crypto_pair"])]:
        with pytest.raises(DatabaseError, match="A provider is named"):
            plan_rollback(database, *asked)


@pytest.mark.parametrize("depth", Depth)
def test_when_the_backup_fails_nothing_is_removed(database, depth, monkeypatch):
    before, copy = every_row(database), backups._copy  # noqa: SLF001 - to fail after some tables

    def breaking(connection, opened, name, stamp):
        if name == KEPT[2]:
            raise DatabaseError("The disk is full.")
        return copy(connection, opened, name, stamp)

    monkeypatch.setattr(backups, "_copy", breaking)
    with pytest.raises(DatabaseError, match="disk is full"):
        carry_out(database, depth, "binance" if depth is Depth.PROVIDER else None)
    assert every_row(database) == before
    assert list_backups(database) == []
    with database.backups() as connection:
        place = database.schemas.get(BACKUP, BACKUP)
        assert not inspect(connection).get_table_names(place)


@pytest.mark.parametrize("engine", ["sqlite"])
def test_a_place_for_backups_that_cannot_be_opened_is_named_and_nothing_is_removed(database):
    place = database.path(META).with_name("binance_crypto_backup.db")
    place.mkdir()
    before = every_row(database)
    with pytest.raises(DatabaseError, match=r"binance_crypto_backup\.db cannot be opened"):
        carry_out(database, Depth.DATA)
    assert every_row(database) == before


def test_restoring_replaces_changed_rows_and_leaves_newer_ones_alone(database):
    before = every_row(database)
    stamp = carry_out(database, Depth.PROVIDER, "okx").backup
    table = TABLES["crypto_data_quality_log"]
    with database.begin(table.name) as connection:
        connection.execute(update(table).where(table.c.id == "binance_old").values(quality_score=-1, provider="x"))
        connection.execute(delete(table).where(table.c.id == "binance_new"))
    put(database, table.name, log("newer", SINCE))
    newer = [row for row in every_row(database)[table.name] if row[0] == "newer"]
    assert restore(database, stamp.lower())[table.name] == 4
    assert sorted(every_row(database)[table.name], key=repr) == sorted(before[table.name] + newer, key=repr)
    again = every_row(database)
    restore(database, stamp)
    assert every_row(database) == again


def test_an_unknown_stamp_is_answered_with_those_there_are(database):
    with pytest.raises(DatabaseError, match=r"no backup '20200101T000000Z' .*; none is"):
        restore(database, "20200101T000000Z")
    first = carry_out(database, Depth.PROVIDER, "okx").backup
    second = carry_out(database, Depth.DATA).backup
    assert re.fullmatch(r"\d{8}T\d{6}Z", first)
    assert first < second
    with pytest.raises(DatabaseError, match=f"there are {first}, {second}"):
        restore(database, "20200101T000000Z")
    listed = list_backups(database)
    assert [(each.stamp, each.table) for each in listed] == [
        (stamp, name) for stamp in (first, second) for name in sorted(KEPT)
    ]


def test_a_backup_of_another_environment_is_refused(lone_url):
    with opened(lone_url) as database:
        stamp = carry_out(database, Depth.SCHEMA).backup
    with opened(lone_url, "testnet") as other:
        migrate(other)
        with pytest.raises(EnvironmentMismatch, match="holds sandbox data"):
            restore(other, stamp)
        assert not any(kept(every_row(other)).values())


def test_another_environment_s_database_is_not_rolled_back(database_url):
    with opened(database_url, "live") as other:
        for depth in (Depth.SCHEMA, Depth.DATA):
            with pytest.raises(EnvironmentMismatch):
                carry_out(other, depth)


def test_a_database_that_was_never_migrated_is_told_to(empty_url):
    with opened(empty_url) as database:
        with pytest.raises(DatabaseError, match="run crypto-assets migrate"):
            carry_out(database, Depth.DATA)
        assert plan_rollback(database, Depth.SCHEMA) == []
        assert list_backups(database) == []
        assert carry_out(database, Depth.SCHEMA).removed == {}


def test_a_run_that_stopped_between_two_tables_is_finished_by_the_next(database, monkeypatch):
    before = every_row(database)
    begin, turns = database.begin, iter(range(3))

    def stopping(name, also=()):
        if next(turns, None) is None:
            raise DatabaseError("Another process has been writing.")
        return begin(name, also)

    monkeypatch.setattr(database, "begin", stopping)
    with pytest.raises(DatabaseError, match="Another process"):
        carry_out(database, Depth.PROVIDER, "binance")
    monkeypatch.undo()
    halfway = every_row(database)
    assert difference(before, halfway).keys() >= {"cryptopair_1m_kdata", "cryptoperp_1h_kdata"}
    # What is gone is not owed.
    owed = {(row[0], row[2]) for row in halfway["crypto_kdata_coverage"] if row[1] == "binance"}
    assert owed == set()
    carry_out(database, Depth.PROVIDER, "binance")
    assert "binance" not in {row[2] for row in every_row(database)["cryptopair_1h_kdata"]}
    assert kept(before) != kept(every_row(database))
    restore(database, list_backups(database)[0].stamp)
    assert kept(every_row(database)) == kept(before)


HOURS = st.integers(-48, 48)


@pytest.mark.parametrize("engine", ["sqlite"])
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(hours=st.sets(HOURS, min_size=1), logged=st.sets(HOURS), minutes=st.integers(-48 * 60, 48 * 60))
def test_whatever_the_time_what_should_remain_remains_and_the_rest_comes_back(any_database, hours, logged, minutes):
    of, since = "cryptopair_binance_btcusdt", SINCE + timedelta(minutes=minutes)
    times = [SINCE + timedelta(hours=each) for each in sorted(hours)]
    keys = sorted({f"{at:%Y-%m-01}" for at in times})
    for name in ("cryptopair_1h_kdata", "crypto_kdata_coverage", "crypto_kdata_gap", "crypto_data_quality_log"):
        with any_database.begin(name) as connection:
            connection.execute(delete(TABLES[name]))
    put(any_database, "cryptopair_1h_kdata", *(candle(of, at) for at in times))
    put(any_database, "crypto_kdata_coverage", *(coverage(of, "1h", key) for key in keys))
    put(any_database, "crypto_kdata_gap", gap(of, "1h", times[0], times[-1]))
    for each in logged:
        put(any_database, "crypto_data_quality_log", log(str(each), SINCE + timedelta(hours=each)))
    before = every_row(any_database)
    stamp = None
    if max(times + [SINCE + timedelta(hours=each) for each in logged]) >= since or keys[-1] >= f"{since:%Y-%m-01}":
        stamp = carry_out(any_database, Depth.PROVIDER, "binance", since=since).backup
    else:
        with pytest.raises(DatabaseError, match="Nothing of binance"):
            carry_out(any_database, Depth.PROVIDER, "binance", since=since)
    after = every_row(any_database)
    assert [row[3] for row in after["cryptopair_1h_kdata"]] == [at for at in times if at < since]
    assert [row[3] for row in after["crypto_kdata_coverage"]] == [key for key in keys if key < f"{since:%Y-%m-01}"]
    assert len(after["crypto_kdata_gap"]) == (times[-1] < since)
    assert len(after["crypto_data_quality_log"]) == sum(SINCE + timedelta(hours=each) < since for each in logged)
    if stamp is not None:
        restore(any_database, stamp)
    assert kept(every_row(any_database)) == kept(before)
