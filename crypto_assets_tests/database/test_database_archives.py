"""Candles that leave for Parquet files and come back: nothing is lost, nothing differs, whatever is interrupted."""

from __future__ import annotations

import errno
import shutil
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event, insert, select

from crypto_assets.database.archive.files import create_file
from crypto_assets.database.archive.move import RestoreCounts, archive_candles, restore_candles
from crypto_assets.database.engines import open_database
from crypto_assets.database.errors import DatabaseError
from crypto_assets.database.queries import query_data
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.intervals import parse_time
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets.domain.spans import Span
from crypto_assets_tests.database.database_frames import CANDLES, assets, candles, pairs

MANIFEST = TABLES["crypto_kdata_archive"]
BTC, ETH = "cryptopair_binance_btcusdt", "cryptopair_binance_ethusdt"
AUGUST, JULY = "2024-08-01", "2024-07-01"
H4 = "cryptopair_4h_kdata"


class Killed(Exception):  # noqa: N818
    """What the observer of a step raises."""


def killed_after(step):
    def observe(done):
        if done == step:
            raise Killed

    return observe


def insert_frame(connection, table, frame):
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    for row in rows:
        if "timestamp" in row:
            row["timestamp"] = row["timestamp"].to_pydatetime()
    connection.execute(insert(table), rows)


def store(database, *frames, table=CANDLES):
    for frame in frames:
        times = frame["timestamp"].astype("datetime64[ms]").astype("int64")
        database.ensure_partitions(table, Span(int(times.min()), int(times.max()) + 1))
    with database.begin(table) as connection:
        for frame in frames:
            insert_frame(connection, TABLES[table], frame)


def stored(database, table=CANDLES):
    """Every stored row, as Python values."""
    found = TABLES[table]
    with database.connect(table) as connection:
        return connection.execute(select(found).order_by(found.c.entity_id, found.c.timestamp)).all()


def manifest(database):
    with database.connect("crypto_quality") as connection:
        return connection.execute(select(MANIFEST).order_by(MANIFEST.c.entity_id, MANIFEST.c.month)).all()


def files(directory):
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())


def asked(database, archive, table=CANDLES, **options):
    return query_data(table, database=database, archive_directory=archive, **options)


@pytest.fixture
def listed(any_database):
    """A database that knows the pairs."""
    with any_database.begin("crypto_meta") as connection:
        insert_frame(connection, TABLES["crypto_asset"], assets("BTC", "ETH", "USDT"))
        insert_frame(connection, TABLES["crypto_pair"], pairs("BTC", "ETH"))
    return any_database


@pytest.fixture
def filled(listed):
    """July and August of one pair, August of another."""
    store(listed, candles(BTC, "2024-07-31T23:57", 8), candles(ETH, "2024-08-01", 4))
    return listed


@pytest.fixture
def archive(tmp_path):
    return tmp_path / "archive"


MONTHS = [(BTC, JULY), (BTC, AUGUST), (ETH, AUGUST)]

number = st.one_of(st.none(), st.just(0.0), st.floats(0.0001, 1e12))
times = st.sets(st.integers(0, 4 * 180), max_size=25)  # steps of four hours: four months
FIRST = np.datetime64("2023-01-01", "us")


@st.composite
def candle_frames(draw, entity):
    steps = sorted(draw(times))
    columns = ("open", "high", "low", "close", "volume", "change_pct", "turnover_rate", "volume_quote")
    values = {name: [draw(number) for _ in steps] for name in columns}
    return pd.DataFrame(
        {
            "entity_id": [entity] * len(steps),
            "provider": "binance",
            "name": draw(st.sampled_from(["BTC/USDT", "币安人生/USDT"])),
            "timestamp": FIRST + np.array(steps, dtype=int) * np.timedelta64(4, "h"),
            **{name: pd.Series(each, dtype="float64") for name, each in values.items()},
            "trade_count": pd.Series([draw(st.none() | st.integers(0, 2**31 - 1)) for _ in steps], dtype="Int64"),
            "is_high_volatility": [draw(st.booleans()) for _ in steps],
            "is_high_volume": [draw(st.booleans()) for _ in steps],
        }
    )


moments = st.none() | st.integers(-10, 4 * 180).map(lambda step: pd.Timestamp(FIRST + step * np.timedelta64(4, "h")))


def from_earlier_to_later(question):
    """The question; of two times the earlier is the start."""
    ends = ("start_timestamp", "end_timestamp")
    if None in (question[end] for end in ends):
        return question
    return question | dict(zip(ends, sorted(question[end] for end in ends), strict=True))


questions = st.fixed_dictionaries(
    {
        "start_timestamp": moments,
        "end_timestamp": moments,
        "limit": st.none() | st.integers(0, 30),
        "order": st.sampled_from(["asc", "desc", None]),
        "columns": st.none() | st.lists(st.sampled_from(TABLES[H4].columns.keys()), min_size=1, max_size=4),
    },
    optional={
        "entity_ids": st.lists(st.sampled_from([BTC, ETH]), max_size=2),
        "codes": st.lists(st.sampled_from(["btcusdt", "ETHUSDT", "solusdt"]), max_size=2),
    },
).map(from_earlier_to_later)
MONTHS_2023 = [(entity, f"2023-0{month}-01") for entity in (BTC, ETH) for month in range(1, 6)]


def emptied(database, archive):
    for name in (H4, MANIFEST.name):
        with database.begin(name) as connection:
            connection.execute(TABLES[name].delete())
    shutil.rmtree(archive, ignore_errors=True)


# An example takes tens of milliseconds on a server: looking for a smaller one would take minutes.
UNSHRUNK = settings(
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
EXAMPLES = {"sqlite": 25, "postgresql": 6, "mysql": 6}
"""What is archived and merged is decided in Python: an engine can only spoil how it comes and goes."""


def try_out(engine, prove, *strategies):
    """Runs a property on as many examples as an engine is worth."""
    settings(UNSHRUNK, max_examples=EXAMPLES[engine])(given(*strategies)(prove))()


month_sets = st.sets(st.sampled_from(MONTHS_2023), min_size=1)


def store_again(database, rows):
    """Stores half of the rows, read before they were archived, beside their archive."""
    own = [column.name for column in TABLES[H4].columns if column.computed is None]
    again = [{name: getattr(row, name) for name in own} for row in rows][::2]
    if again:
        with database.begin(H4) as connection:
            connection.execute(insert(TABLES[H4]), again)


def test_an_archived_table_answers_as_it_did_before_and_restored_it_is_what_it_was(listed, archive, engine):
    def prove(btc, eth, months, asking, both):
        emptied(listed, archive)
        store(listed, *(frame for frame in (btc, eth) if len(frame)), table=H4)
        rows = stored(listed, H4)
        before = [asked(listed, archive, H4, **question) for question in asking]
        archive_candles(listed, archive, KDATA_TABLES[H4], sorted(months))
        left = stored(listed, H4)
        assert left == [row for row in rows if (row.entity_id, f"{row.timestamp:%Y-%m-01}") not in months]
        assert len(rows) == len(left) + sum(row.rows for row in manifest(listed))
        if both:
            store_again(listed, [row for row in rows if row not in left])
        for question, expected in zip(asking, before, strict=True):
            pd.testing.assert_frame_equal(asked(listed, archive, H4, **question), expected, check_exact=True)
        restore_candles(listed, archive, KDATA_TABLES[H4])
        assert stored(listed, H4) == rows
        assert (manifest(listed), files(archive)) == ([], [])

    asking = st.lists(questions, min_size=1, max_size=4)
    try_out(engine, prove, candle_frames(BTC), candle_frames(ETH), month_sets, asking, st.booleans())


@pytest.mark.parametrize("table", ["cryptopair_1d_kdata", "cryptopair_1m_kdata"])
def test_generated_columns_of_archived_candles_are_those_of_the_table(listed, archive, table):
    minutes = 1440 if "1d" in table else 1
    store(listed, candles(BTC, "2024-08-01", 20, minutes), table=table)
    before = asked(listed, archive, table)
    assert archive_candles(listed, archive, KDATA_TABLES[table], [(BTC, AUGUST)])
    assert stored(listed, table) == []
    pd.testing.assert_frame_equal(asked(listed, archive, table), before, check_exact=True)


def test_the_digest_of_the_same_candles_is_the_same_everywhere(listed, archive):
    frame = candles(BTC, "2024-08-01", 3).assign(trade_count=pd.array([1, None, 3], dtype="Int64"), close=0.1)
    store(listed, frame)
    [archived] = archive_candles(listed, archive, KDATA_TABLES[CANDLES], [(BTC, AUGUST)])
    assert archived.digest == "f0fcca87066262ff5fb80113e8c56f61"


def test_the_manifest_says_what_is_in_each_file(filled, archive):
    archived = archive_candles(filled, archive, KDATA_TABLES[CANDLES], MONTHS)
    rows = manifest(filled)
    assert [(row.entity_id, row.month, row.rows, row.level, row.provider) for row in rows] == [
        (BTC, JULY, 3, "1m", "binance"),
        (BTC, AUGUST, 5, "1m", "binance"),
        (ETH, AUGUST, 4, "1m", "binance"),
    ]
    assert (rows[0].first_timestamp, rows[0].last_timestamp) == (
        datetime(2024, 7, 31, 23, 57),  # noqa: DTZ001 - stored times are naive UTC
        datetime(2024, 7, 31, 23, 59),  # noqa: DTZ001
    )
    assert [each.path for each in archived] == [row.path for row in rows] == files(archive)
    assert all(row.path.startswith(f"{CANDLES}/{row.entity_id}/{row.entity_id}_{row.month[:7]}.") for row in rows)
    assert all(row.bytes == (archive / row.path).stat().st_size for row in rows)
    assert archive_candles(filled, archive, KDATA_TABLES[CANDLES], MONTHS) == []


@pytest.mark.parametrize("step", ["written", "compared", "recorded", "deleted"])
def test_archiving_killed_after_any_step_loses_nothing_and_can_be_run_again(filled, archive, step):
    before = asked(filled, archive)
    with pytest.raises(Killed):
        archive_candles(filled, archive, KDATA_TABLES[CANDLES], MONTHS, observe=killed_after(step))
    assert (len(stored(filled)) == 12) == (step != "deleted")
    assert len(manifest(filled)) == (step in ("recorded", "deleted"))
    pd.testing.assert_frame_equal(asked(filled, archive), before, check_exact=True)
    archive_candles(filled, archive, KDATA_TABLES[CANDLES], MONTHS)
    pd.testing.assert_frame_equal(asked(filled, archive), before, check_exact=True)
    assert stored(filled) == []
    assert files(archive) == [row.path for row in manifest(filled)]


@pytest.mark.parametrize("step", ["stored", "removed"])
def test_restoring_killed_after_any_step_loses_nothing_and_can_be_run_again(filled, archive, step):
    before, rows = asked(filled, archive), stored(filled)
    archive_candles(filled, archive, KDATA_TABLES[CANDLES], MONTHS)
    with pytest.raises(Killed):
        restore_candles(filled, archive, KDATA_TABLES[CANDLES], observe=killed_after(step))
    assert len(manifest(filled)) == (3 if step == "stored" else 2)
    pd.testing.assert_frame_equal(asked(filled, archive), before, check_exact=True)
    restore_candles(filled, archive, KDATA_TABLES[CANDLES])
    assert (stored(filled), manifest(filled)) == (rows, [])


def test_months_are_restored_by_entity_and_range(filled, archive):
    rows = stored(filled)
    archive_candles(filled, archive, KDATA_TABLES[CANDLES], MONTHS)
    august = parse_time("2024-08-01")
    assert restore_candles(filled, archive, KDATA_TABLES[CANDLES], [ETH]) == RestoreCounts(1, 4, 0)
    assert restore_candles(filled, archive, KDATA_TABLES[CANDLES], end=august) == RestoreCounts(1, 3, 0)
    assert restore_candles(filled, archive, KDATA_TABLES[CANDLES], [BTC], start=august + 5 * 60_000) == RestoreCounts()
    store(filled, candles(BTC, "2024-08-01T00:02", 1).assign(close=7.0))
    assert restore_candles(filled, archive, KDATA_TABLES[CANDLES], start=august) == RestoreCounts(1, 4, 1)
    assert len(stored(filled)) == len(rows)
    assert [row.close for row in stored(filled) if row not in rows] == [7.0]
    assert files(archive) == []


def test_a_revised_candle_wins_and_is_merged_by_the_next_archiving(filled, archive):
    archive_candles(filled, archive, KDATA_TABLES[CANDLES], MONTHS)
    old = files(archive)
    store(filled, candles(BTC, "2024-08-01T00:02", 1).assign(close=7.0))
    revised = asked(filled, archive)
    assert revised["close"].eq(7.0).sum() == 1
    assert len(revised) == 12
    [merged] = archive_candles(filled, archive, KDATA_TABLES[CANDLES], MONTHS)
    assert (merged.rows, merged.month, stored(filled)) == (5, AUGUST, [])
    pd.testing.assert_frame_equal(asked(filled, archive), revised, check_exact=True)
    assert len(set(files(archive)) - set(old)) == len(set(old) - set(files(archive))) == 1


def test_a_file_that_the_manifest_does_not_name_is_left_alone(filled, archive):
    archive_candles(filled, archive, KDATA_TABLES[CANDLES], MONTHS)
    kept = files(archive)
    with filled.begin("crypto_quality") as connection:  # as taking revision 0003 back does
        connection.execute(TABLES["crypto_kdata_archive"].delete())
    store(filled, candles(BTC, "2024-08-01T00:02", 1).assign(close=7.0))
    archive_candles(filled, archive, KDATA_TABLES[CANDLES], MONTHS)
    assert set(kept) < set(files(archive)), "it may be the only copy of these candles"


def test_a_candle_revised_before_its_deletion_stays(filled, archive):
    def revise(step):
        if step == "recorded":
            with filled.begin(CANDLES) as connection:
                table = TABLES[CANDLES]
                connection.execute(table.update().where(table.c.entity_id == ETH).values(close=7.0))

    assert archive_candles(filled, archive, KDATA_TABLES[CANDLES], [(ETH, AUGUST)], observe=revise) == []
    assert len(stored(filled)) == 12
    assert asked(filled, archive, codes="ethusdt")["close"].tolist() == [7.0] * 4


def test_a_file_that_does_not_hold_what_was_written_costs_no_row(filled, archive):
    class Forgetful:
        def __init__(self, path):
            self.file = create_file(path)

        def __getattr__(self, name):
            return getattr(self.file, name)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, content):
            self.file.write(content[:40] + bytes([content[40] ^ 1]) + content[41:])

    with pytest.raises(DatabaseError, match=r"2024-07 is damaged"):
        archive_candles(filled, archive, KDATA_TABLES[CANDLES], MONTHS, create=Forgetful)
    assert (len(stored(filled)), manifest(filled)) == (12, [])


def test_a_full_disk_leaves_the_rows_and_no_half_file(filled, archive):
    class FullDisk:
        def __init__(self, path):
            self.file = create_file(path)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, content):
            self.file.write(content[:100])
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DatabaseError, match=r"cannot be written \(No space left on device\); its candles stay"):
        archive_candles(filled, archive, KDATA_TABLES[CANDLES], MONTHS, create=FullDisk)
    assert (len(stored(filled)), manifest(filled), files(archive)) == (12, [], [])


@pytest.mark.parametrize("position", [0, 0.2, 0.5, 0.8, 1])
def test_a_changed_byte_is_noticed_by_queries_and_restoration(filled, archive, position):
    archived = archive_candles(filled, archive, KDATA_TABLES[CANDLES], MONTHS)
    path = archive / archived[2].path
    content = bytearray(path.read_bytes())
    content[int(position * (len(content) - 1))] ^= 1
    path.write_bytes(content)
    refusal = f"{path.name} of {CANDLES} for 2024-08 is damaged"
    with pytest.raises(DatabaseError, match=refusal):
        asked(filled, archive)
    with pytest.raises(DatabaseError, match=refusal):
        restore_candles(filled, archive, KDATA_TABLES[CANDLES])
    assert (stored(filled), len(manifest(filled))) == ([], 3)
    assert len(asked(filled, archive, end_timestamp="2024-07-31T23:59:59")) == 3


def test_candles_that_are_not_those_of_the_manifest_are_refused(filled, archive):
    archive_candles(filled, archive, KDATA_TABLES[CANDLES], MONTHS)
    with filled.begin("crypto_quality") as connection:
        connection.execute(MANIFEST.update().values(digest="0" * 32))
    with pytest.raises(DatabaseError, match="is damaged"):
        asked(filled, archive)


def test_a_missing_file_is_named_and_nothing_is_restored(filled, archive):
    archived = archive_candles(filled, archive, KDATA_TABLES[CANDLES], MONTHS)
    (archive / archived[2].path).unlink()
    for act, table in ((asked, CANDLES), (restore_candles, KDATA_TABLES[CANDLES])):
        with pytest.raises(DatabaseError, match=rf"{ETH}_2024-08\S+ of {CANDLES} for 2024-08 cannot be read"):
            act(filled, archive, table)
    assert (stored(filled), len(manifest(filled))) == ([], 3)


def test_without_a_directory_only_queries_of_archived_months_are_refused(filled, archive, engine):
    if engine == "sqlite":
        archive = filled.directory / "archive"
    archive_candles(filled, archive, KDATA_TABLES[CANDLES], [(BTC, JULY)])
    assert len(query_data(CANDLES, start_timestamp="2024-08-01", database=filled)) == 9
    assert len(query_data(CANDLES, entity_ids=ETH, database=filled)) == 4
    if engine == "sqlite":
        assert len(query_data(CANDLES, database=filled)) == 12
    else:
        with pytest.raises(DatabaseError, match="from 2024-07 to 2024-07 are archived; name archive_directory"):
            query_data(CANDLES, database=filled)


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_no_file_is_read_for_a_limit_that_nearer_rows_meet(filled, archive, order):
    if order == "asc":
        archive_candles(filled, archive, KDATA_TABLES[CANDLES], [(BTC, AUGUST), (ETH, AUGUST)])
        store(filled, candles(BTC, "2024-07-01", 2))
    else:
        archive_candles(filled, archive, KDATA_TABLES[CANDLES], [(BTC, JULY)])
    count = len(stored(filled))
    before = asked(filled, archive, order=order)
    shutil.rmtree(archive)
    for columns in (None, ["close", "trade_count"]):
        found = asked(filled, archive, order=order, limit=count, columns=columns)
        pd.testing.assert_frame_equal(found, before.head(count)[columns or list(before)], check_exact=True)
    with pytest.raises(DatabaseError, match="parquet"):
        asked(filled, archive, order=order, limit=count + 1)


def test_a_candle_of_the_same_time_is_read_from_its_file(filled, archive):
    archive_candles(filled, archive, KDATA_TABLES[CANDLES], [(BTC, AUGUST)])
    first = {"start_timestamp": "2024-08-01", "order": "asc", "limit": 1}
    assert asked(filled, archive, **first)["entity_id"].tolist() == [BTC]
    store(filled, candles(BTC, "2024-08-01", 5))
    archive_candles(filled, archive, KDATA_TABLES[CANDLES], [(BTC, AUGUST), (ETH, AUGUST)])
    store(filled, candles(BTC, "2024-08-01", 4))
    last = {"end_timestamp": "2024-08-01T00:03", "order": "desc", "limit": 1}
    assert asked(filled, archive, **last)["entity_id"].tolist() == [ETH]


def test_the_settings_name_the_directory_where_no_database_is_given(filled, database_url, archive, monkeypatch):
    archive_candles(filled, archive, KDATA_TABLES[CANDLES], MONTHS)
    monkeypatch.setenv("CRYPTO_ASSETS_ENVIRONMENT", "sandbox")
    monkeypatch.setenv("CRYPTO_ASSETS_DATABASE", database_url)
    monkeypatch.setenv("CRYPTO_ASSETS_ARCHIVE_DIRECTORY", str(archive))
    assert len(query_data(CANDLES, codes=["ETHUSDT"])) == 4


def test_a_database_without_a_manifest_is_queried_as_ever(database):
    store(database, candles(BTC, "2024-08-01", 5))
    database.dispose()
    for path in database.path("crypto_quality").parent.glob("*crypto_quality.db*"):
        path.unlink()
    assert len(query_data(CANDLES, database=database)) == 5


@pytest.mark.parametrize("act", ["archive", "restore"])
def test_candles_that_move_while_they_are_read_are_read_once(database, database_directory, act):
    store(database, candles(BTC, "2024-08-01", 5))
    other = open_database(f"sqlite:///{database_directory}", "sandbox")
    archive = database.directory / "archive"
    if act == "restore":
        archive_candles(other, archive, KDATA_TABLES[CANDLES], [(BTC, AUGUST)])
    moved = []

    def move(_connection, _cursor, statement, *_):
        if not moved and "change_pct" in statement:
            moved.append(statement)
            if act == "archive":
                assert archive_candles(other, archive, KDATA_TABLES[CANDLES], [(BTC, AUGUST)])
            else:
                assert restore_candles(other, archive, KDATA_TABLES[CANDLES]).restored == 5

    event.listen(Engine, "before_cursor_execute", move)
    try:
        frame = query_data(CANDLES, database=database)
    finally:
        event.remove(Engine, "before_cursor_execute", move)
    assert moved
    assert frame["timestamp"].dt.minute.tolist() == [0, 1, 2, 3, 4]


@pytest.fixture
def database_directory(database) -> Path:
    return database.directory


def test_what_is_no_month_or_proper_candle_is_refused(database, archive):
    with pytest.raises(ValueError, match="'2024-08-02' is not the first day of a month"):
        archive_candles(database, archive, KDATA_TABLES[CANDLES], [(BTC, "2024-08-02")])
    store(database, candles("../up", "2024-08-01", 1), candles(BTC, "2024-08-01T00:00:00.001", 1))
    with pytest.raises(DatabaseError, match=r"'\.\./up' cannot be part of a file's name"):
        archive_candles(database, archive, KDATA_TABLES[CANDLES], [("../up", AUGUST)])
    with pytest.raises(DatabaseError, match="2024-08 cannot be archived: a time is off the grid or stored twice"):
        archive_candles(database, archive, KDATA_TABLES[CANDLES], [(BTC, AUGUST)])
    assert (len(stored(database)), manifest(database)) == (2, [])
