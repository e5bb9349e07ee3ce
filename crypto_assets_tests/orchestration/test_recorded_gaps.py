"""Real outages of Binance, where there are recordings: they end as the exchange's own, and nothing else is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import Interval, to_datetime
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets.exchange.client import Exchange
from crypto_assets.orchestration.resources import ExchangeResource
from crypto_assets.sandbox.recorded import RecordedDataset
from crypto_assets.sandbox.server import RunningSandbox
from crypto_assets_tests.paper_exchange import PaperExchange, market
from crypto_assets_tests.sandboxed_project import BTC, ETH, Project, evaluation

HALT = {
    "1m": ("12:40", "13:59", 80),
    "5m": ("12:40", "13:55", 16),
    "15m": ("12:45", "13:45", 5),
    "30m": ("13:00", "13:30", 2),
    "1h": ("13:00", "13:00", 1),
}
PAIR_TABLES = {
    interval.value: table for table, (market_type, interval) in KDATA_TABLES.items() if market_type is MarketType.SPOT
}
# first missing hour, hours: as the MANIFEST beside the recordings counts them
ETHBTC_OUTAGES = {
    "2019-03-12 02:00": 6,
    "2019-05-15 03:00": 10,
    "2019-08-15 02:00": 8,
    "2019-11-13 02:00": 2,
    "2019-11-25 02:00": 2,
    "2020-02-09 02:00": 1,
    "2020-02-19 12:00": 5,
    "2020-03-04 10:00": 1,
    "2020-04-25 02:00": 2,
    "2020-06-28 02:00": 3,
}


def repair_until_confirmed(project: Project) -> None:
    """The first answer came with the collection; the second and third after the waits that the ledger demands."""
    for hours in (1, 2):
        project.our_clock.ahead += timedelta(hours=hours)
        while runs := requested(project):
            for run in runs:
                assert project.carry_out(run).success


def requested(project: Project) -> list[dg.RunRequest]:
    return [each for each in project.tick() if isinstance(each, dg.RunRequest)]


def ledger(project: Project) -> list[tuple]:
    return project.sql(
        "crypto_quality",
        'SELECT level, entity_id, substr(start, 1, 16), substr("end", 1, 16), missing, status, attempts'
        " FROM crypto_kdata_gap ORDER BY 1, 2, 3",
    )


@pytest.fixture
def recorded(some_recordings, tmp_path: Path) -> Iterator[Project]:
    pairs = some_recordings({"spot": ["BTCUSDT", "ETHUSDT"]})
    with RunningSandbox(RecordedDataset(pairs), spot_budget=None) as sandbox:
        yield Project(tmp_path / "data", sandbox.url, perps=())


def test_the_halt_of_march_2023_ends_as_one_gap_of_the_source_per_symbol_and_level(recorded):
    assert recorded.run("bootstrap").success
    for table in PAIR_TABLES.values():
        daily = table in (PAIR_TABLES["1m"], PAIR_TABLES["5m"])
        assert recorded.collect(table, "2023-03-24" if daily else "2023-03-01").success
    assert {row[-2:] for row in ledger(recorded)} == {("open", 1)}
    repair_until_confirmed(recorded)
    assert ledger(recorded) == sorted(
        (level, entity, f"2023-03-24 {first}", f"2023-03-24 {last}", missing, "source", 3)
        for level, (first, last, missing) in HALT.items()
        for entity in (BTC, ETH)
    )
    for level, table in PAIR_TABLES.items():
        checked = recorded.check(table)
        assert checked.success
        assert all(verdict.passed for verdict in checked.get_asset_check_evaluations()), "plausible is a warning"
        verdict = evaluation(checked, table, "no_gaps")
        shown = verdict.metadata
        missing = HALT[level][-1] if level in HALT else 0
        assert (shown["count"].value, shown["source_candles"].value) == (0, 2 * missing)
        said = f"in 2 gaps it has none of {2 * missing}." if missing else "owed candles are stored."
        assert str(verdict.description).endswith(said)
        percents = {row.data["entity_id"]: row.data["percent"] for row in shown["completeness"].records}
        assert percents == {BTC: 100.0, ETH: 100.0}
    assert requested(recorded) == [], "what is confirmed is left alone"


@dataclass
class AppendedHistory(PaperExchange):
    """Delivers a recording row by row as it is in the file, those that it holds twice twice."""

    recording: list[tuple[int, list]] = field(default_factory=list)
    delivered: Counter[int] = field(default_factory=Counter)

    def row_pages(self, *asked):
        for page in super().row_pages(*asked):
            self.delivered.update(row[0] for row in page)
            yield page

    def _book(self, *_):
        return self.recording

    _all = _book


def kline(row: dict) -> list:
    """A recorded row as the exchange writes it; what was not recorded, from the quote volume on, is zero here."""
    prices = [str(row[name]) for name in ("open", "high", "low", "close", "volume")]
    return [row["open_time"], *prices, row["open_time"] + Interval.H1.milliseconds - 1, "0", 0, "0", "0", "0"]


def test_ten_outages_in_a_recording_with_rows_appended_twice_are_the_sources_and_every_row_is_stored_once(
    recorded_directory, tmp_path
):
    file = recorded_directory / "spot" / "history" / "ETHBTC-1h-appended.parquet"
    if not file.is_file():
        pytest.skip(f"{file.name} is not among the recordings")
    rows = pq.read_table(file).to_pylist()
    assert len(rows) - len({row["open_time"] for row in rows}) == 37
    exchange = AppendedHistory(
        clock=rows[-1]["open_time"] + Interval.H1.milliseconds,
        page_rows=1000,
        listed=[market("ETH/BTC")],
        recording=[(row["open_time"], kline(row)) for row in rows],
    )

    class Recording(ExchangeResource):
        @contextmanager
        def open(self) -> Iterator[Exchange]:
            yield exchange

    project = Project(
        tmp_path / "data",
        "http://127.0.0.1:9",  # nobody is asked there
        pairs=("ETH/BTC",),
        perps=(),
        start=date(2018, 12, 1),
        exchange=Recording(environment="sandbox"),
    )
    table = "cryptopair_1h_kdata"
    assert project.run("bootstrap").success
    assert project.collect(table, "2018-12-01", "2020-07-01").success
    assert sum(exchange.delivered.values()) == len(rows), "the duplicates were delivered"
    repair_until_confirmed(project)
    entity = "cryptopair_binance_ethbtc"
    assert [(row[1], row[2], *row[4:]) for row in ledger(project)] == [
        (entity, start, missing, "source", 3) for start, missing in ETHBTC_OUTAGES.items()
    ]
    distinct = {row["open_time"]: row for row in rows}
    names = ("open", "high", "low", "close", "volume")
    stored = project.sql(table, f"SELECT timestamp, {', '.join(names)} FROM {table} ORDER BY timestamp")
    assert stored == [
        (f"{to_datetime(time):%Y-%m-%d %H:%M:%S.%f}", *(float(row[name]) for name in names))
        for time, row in sorted(distinct.items())
    ]
    checked = project.check(table)
    assert checked.success
    (complete,) = evaluation(checked, table, "no_gaps").metadata["completeness"].records
    said = {name: complete.data[name] for name in ("expected", "present", "missing", "source_has_none", "percent")}
    assert said == {
        "expected": len(distinct) + 40,
        "present": len(distinct),
        "missing": 0,
        "source_has_none": 40,
        "percent": 100.0,
    }
