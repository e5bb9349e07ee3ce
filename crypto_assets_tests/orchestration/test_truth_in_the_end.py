"""Whatever happens to table, exchange and runs: once the sensors have run dry, table = exchange, ledger = difference.

A small world on paper: two pairs, a daily and a monthly partitioned table, three days. The sensor is the real one, its
requests are carried out as the asset would, without Dagster's executor, which would take most of the time.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any

import dagster as dg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from crypto_assets.collect.run import collect_table
from crypto_assets.collect.spans_in_config import parse_spans
from crypto_assets.collect.symbols import populate_markets
from crypto_assets.database.engines import Database, open_database
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import Interval, partition_key, partition_span, to_datetime, to_naive
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets.domain.spans import Span, intersect, merge, subtract
from crypto_assets.exchange.errors import TransientError
from crypto_assets.orchestration.jobs.refresh import refresh_window
from crypto_assets.orchestration.sensors import gap_backfill
from crypto_assets.quality.gaps.coverage import owed_spans
from crypto_assets.quality.gaps.due import due_repairs
from crypto_assets.quality.gaps.ledger import OPEN, Gap
from crypto_assets.quality.gaps.rows import load_gaps
from crypto_assets.quality.verification.examination import examine, settle_marks
from crypto_assets_tests.paper_exchange import PaperExchange, candle, market, moment
from crypto_assets_tests.sandboxed_project import ledger_at

FIVE_MINUTES, HOURS = "cryptopair_5m_kdata", "cryptopair_1h_kdata"
SYMBOLS = {"BTC/USDT": "cryptopair_binance_btcusdt", "ETH/USDT": "cryptopair_binance_ethusdt"}
DAYS = Span(moment("2023-03-20"), moment("2023-03-23"))
CLOCK = moment("2023-03-22T10:07:30")
HISTORY = Span(moment("2023-03-18"), moment("2023-03-24"))
BEGINNING = date(2023, 3, 18)
LISTED = [market(symbol) for symbol in SYMBOLS]
MOST_ROUNDS = 60
Books = dict[tuple[MarketType, str, Interval], dict[int, list[Any]]]


class Killed(BaseException):
    """The end of a process: nothing of ours catches it."""


@dataclass(frozen=True)
class Crash:
    """What ends a run: the exchange does not answer, or the process is killed, at the n-th page or transaction."""

    how: str
    after: int


class MortalDatabase:
    """A database whose process is killed before the n-th transaction."""

    def __init__(self, database: Database, crash: Crash) -> None:
        self._database, self._crash, self._begun = database, crash, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    @contextmanager
    def begin(self, *names: Any, **options: Any) -> Iterator[Any]:
        self._begun += 1
        if self._begun > self._crash.after:
            raise Killed
        with self._database.begin(*names, **options) as connection:
            yield connection


class UnreliableExchange(PaperExchange):
    """Delivers pages twice and backwards, or breaks off, when told so."""

    disordered = False
    crash: Crash | None = None

    def row_pages(self, *asked: Any) -> Iterator[list[Any]]:
        for number, page in enumerate(super().row_pages(*asked)):
            if self.crash and number >= self.crash.after:
                raise TransientError("klines did not answer") if self.crash.how == "no answer" else Killed
            yield [*reversed(page), *page[:3]] if self.disordered else page


@dataclass
class World:
    """A database, its exchange, and a clock that stands still unless a step moves it."""

    database: Database
    exchange: UnreliableExchange
    instance: dg.DagsterInstance
    at: datetime = datetime(2023, 3, 22, 11)  # noqa: DTZ001 - stored times are naive UTC
    hidden: list[tuple[str, str, dict[int, list[Any]]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ledger = ledger_at(self)

    def now(self) -> datetime:
        return self.at

    # What a step of the story does.

    def delete(self, table: str, symbol: str, position: int, length: int) -> None:
        self._write(TABLES[table].delete().where(*_rows(table, symbol, _span(table, position, length))))

    def alter(self, table: str, symbol: str, position: int, length: int) -> None:
        # The sensor has looked since a run of ours died there: what is altered before that cannot be told from ours.
        settle_marks(self.database, KDATA_TABLES[table], self.at, self.ledger.policy, 1000)
        rows = _rows(table, symbol, _span(table, position, min(length, 3)))
        close = TABLES[table].c.close
        self._write(TABLES[table].update().where(*rows).values(close=close + 0.01, high=TABLES[table].c.high + 0.01))

    def withdraw(self, table: str, symbol: str, position: int, length: int) -> None:
        """The exchange has these no more, and we neither; a user has the partitions collected anew."""
        span = _span(table, position, length)
        book = self._book(table, symbol)
        self.hidden.append((table, symbol, {time: book.pop(time) for time in sorted(book) if _within(time, span)}))
        self._write(TABLES[table].delete().where(*_rows(table, symbol, span)))
        self._collect(table, _partitions(table, span), symbols=[symbol])

    def give_back(self) -> None:
        if self.hidden:
            table, symbol, candles = self.hidden.pop(0)
            self._book(table, symbol).update(candles)

    def revise(self, table: str, symbol: str, position: int, length: int) -> None:
        """The exchange changed its mind, and a user has the partitions collected anew."""
        book, interval = self._book(table, symbol), KDATA_TABLES[table].interval
        span = _span(table, position, length)
        for time in [time for time in book if _within(time, span)]:
            book[time] = candle(time, interval, seed=length)
        self._collect(table, _partitions(table, span), symbols=[symbol])

    def disorder(self) -> None:
        self.exchange.disordered = not self.exchange.disordered

    def wait(self, minutes: int) -> None:
        self.at += timedelta(minutes=minutes)
        self.exchange.clock = min(self.exchange.clock + minutes * 60_000, HISTORY.end - 1)

    def refresh(self, table: str, crash: Crash | None) -> None:
        window = refresh_window(self.database, KDATA_TABLES[table], tuple(SYMBOLS), self.exchange.clock)
        self._collect(table, window, crash, only_missing=True)

    def materialize(self, table: str, position: int, crash: Crash | None) -> None:
        self._collect(table, _partitions(table, _span(table, position, 1)), crash)

    def integrity(self, *, deep: bool) -> None:
        for table in (FIVE_MINUTES, HOURS):
            examine(self.database, KDATA_TABLES[table], self.at, self.ledger.policy, deep=deep)

    def tick(self, crash: Crash | None = None) -> int:
        """A tick of the sensor, and the runs that it asks for; how many they were."""
        asked = [
            each
            for each in gap_backfill.requests(self.instance, self.database, self.ledger, BEGINNING)
            if _is_run(each)
        ]
        for request in asked:
            ((table, op),) = request.run_config["ops"].items()
            first, last = (request.tags[f"dagster/asset_partition_range_{end}"] for end in ("start", "end"))
            scheme = KDATA_TABLES[table].partition_scheme
            window = Span(partition_span(scheme, first)[0], partition_span(scheme, last)[1])
            spans = parse_spans(op["config"]["spans"], window)
            self._collect(table, window, crash, symbols=list(spans), spans=spans)
        return len(asked)

    # What there is, and what there should be.

    def stored(self, table: str) -> list[Any]:
        with self.database.connect(table) as connection:
            return list(connection.exec_driver_sql(f"SELECT * FROM {table} ORDER BY entity_id, timestamp"))

    def owed(self, table: str) -> dict[str, list[Span]]:
        with self.database.connect(table) as connection:
            owed = owed_spans(connection, KDATA_TABLES[table])
        return {each.entity_id: each.spans for each in owed}

    def lacking(self, table: str) -> dict[str, list[Span]]:
        """What is owed and the exchange has not."""
        step, owed = KDATA_TABLES[table].interval.milliseconds, self.owed(table)
        return {
            entity: subtract(owed[entity], merge(Span(time, time + step) for time in self._book(table, symbol)))
            for symbol, entity in SYMBOLS.items()
        }

    def gaps(self, table: str) -> dict[str, list[Gap]]:
        with self.database.connect(table) as connection:
            found = load_gaps(connection, KDATA_TABLES[table])
        return {entity: found.get(entity, []) for entity in SYMBOLS.values()}

    def is_settled(self) -> bool:
        """Whether only that is missing which the exchange has not, and it was asked often enough for that."""
        return all(
            merge(gap.span for gap in gaps) == self.lacking(table)[entity]
            and not any(gap.status == OPEN and _has_neighbours(gap) for gap in gaps)
            for table in (FIVE_MINUTES, HOURS)
            for entity, gaps in self.gaps(table).items()
        )

    def next_due(self) -> datetime | None:
        times = []
        for table in (FIVE_MINUTES, HOURS):
            with self.database.connect(table) as connection:
                times.append(due_repairs(connection, KDATA_TABLES[table], self.at, self.ledger.policy).next_due)
        return min((time for time in times if time), default=None)

    def run_dry(self) -> None:
        """Ticks, and moments passing, until the sensor has nothing left to ask for that the exchange may have."""
        for _ in range(MOST_ROUNDS):
            if self.tick():
                continue
            due = self.next_due()
            if due is None or self.is_settled():
                return
            self.at = due
        pytest.fail(f"the sensor still asks after {MOST_ROUNDS} rounds")

    def _collect(self, table: str, window: Span, crash: Crash | None = None, **chosen: Any) -> None:
        options = {"symbols": list(SYMBOLS), "only_missing": False, **chosen}
        of_exchange = crash is not None and crash.how != "killed between transactions"
        database: Any = self.database if crash is None or of_exchange else MortalDatabase(self.database, crash)
        self.exchange.crash = crash if of_exchange else None
        try:
            run = collect_table(
                self.exchange,
                database,
                KDATA_TABLES[table],
                window=window,
                policy=self.ledger.policy,
                now=self.now,
                **options,
            )
            assert crash or not run.failures
        except Killed:
            pass
        finally:
            self.exchange.crash = None

    def _book(self, table: str, symbol: str) -> dict[int, list[Any]]:
        return self.exchange.candles[MarketType.SPOT, symbol.replace("/", ""), KDATA_TABLES[table].interval]

    def _write(self, statement: Any) -> None:
        with self.database.begin(statement.table.name) as connection:
            connection.execute(statement)


def _is_run(each: dg.RunRequest | dg.SkipReason) -> bool:
    return isinstance(each, dg.RunRequest)


def _within(time: int, span: Span) -> bool:
    return span.start <= time < span.end


def _has_neighbours(gap: Gap) -> bool:
    return bool(gap.last_checked is None or (gap.evidence.get("before") and gap.evidence.get("after")))


def _span(table: str, position: int, length: int) -> Span:
    """A span of so many candles, its place in thousandths of the days."""
    interval = KDATA_TABLES[table].interval
    start = interval.floor(DAYS.start + position * (CLOCK - DAYS.start) // 1000)
    return Span(start, start + length * interval.milliseconds)


def _partitions(table: str, span: Span) -> Span:
    scheme = KDATA_TABLES[table].partition_scheme
    keys = [partition_key(scheme, time) for time in (span.start, span.end - 1)]
    return Span(partition_span(scheme, keys[0])[0], partition_span(scheme, keys[1])[1])


def _rows(table: str, symbol: str, span: Span) -> list[Any]:
    c = TABLES[table].c
    start, end = (to_naive(time) for time in span)
    return [c.entity_id == SYMBOLS[symbol], c.timestamp >= start, c.timestamp < end]


@cache
def history() -> Books:
    """All that the exchange will ever publish, unless it changes its mind."""
    exchange = PaperExchange(clock=CLOCK, listed=LISTED)
    for symbol in SYMBOLS:
        for interval in (Interval.M5, Interval.H1):
            exchange.publish(symbol, interval, HISTORY)
    return exchange.candles


def fresh_exchange() -> UnreliableExchange:
    books = {key: dict(book) for key, book in history().items()}
    return UnreliableExchange(clock=CLOCK, page_rows=11, listed=LISTED, candles=books)


@pytest.fixture(scope="module")
def collected(migrated_files, tmp_path_factory):
    """The three days of both tables, to copy from."""
    directory = tmp_path_factory.mktemp("collected on paper")
    shutil.copytree(migrated_files, directory, dirs_exist_ok=True)
    database = open_database(f"sqlite:///{directory}", "testnet")
    exchange = fresh_exchange()
    populate_markets(database, exchange, MarketType.SPOT, tuple(SYMBOLS), exchange.clock)
    world = World(database, exchange, dg.DagsterInstance.ephemeral())
    for table in (FIVE_MINUTES, HOURS):
        world._collect(table, _partitions(table, DAYS))  # noqa: SLF001 - of this module
    database.dispose()
    return directory


@contextmanager
def a_world(directory, instance: dg.DagsterInstance) -> Iterator[World]:
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(directory, copy, dirs_exist_ok=True)
        database = open_database(f"sqlite:///{copy}", "testnet")
        try:
            yield World(database, fresh_exchange(), instance)
        finally:
            database.dispose()


@pytest.fixture(scope="module")
def instance():
    """A history without any run: that of a daemon that was reset at each tick."""
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def as_the_exchange_has_it(world: World, directory, table: str) -> list[Any]:
    """What a database would hold that was collected at one go."""
    books = world.exchange.candles
    return collected_at_once(directory, table) if books == history() else collect_at_once(books, directory, table)


@cache
def collected_at_once(directory, table: str) -> list[Any]:
    """Of an exchange that never changed its mind, which most stories end with."""
    return collect_at_once(history(), directory, table)


def collect_at_once(books: Books, directory, table: str) -> list[Any]:
    with dg.DagsterInstance.ephemeral() as unused, a_world(directory, unused) as other:
        other.exchange.candles, other.exchange.clock = books, HISTORY.end
        other.exchange.page_rows = 5000
        other._write(TABLES[table].delete())  # noqa: SLF001 - of this module
        other._collect(table, Span(_partitions(table, DAYS).start, HISTORY.end))  # noqa: SLF001
        return other.stored(table)


def until_owed(world: World, table: str, rows: list[Any]) -> list[Any]:
    """The rows without those that a run which broke off stored beyond what is owed."""
    ends = {entity: f"{to_datetime(spans[-1].end):%Y-%m-%d %H:%M:%S.%f}" for entity, spans in world.owed(table).items()}
    return [row for row in rows if row.timestamp < ends[row.entity_id]]


TABLE = st.sampled_from([FIVE_MINUTES, FIVE_MINUTES, HOURS])
SYMBOL = st.sampled_from(sorted(SYMBOLS))
PLACE = st.integers(0, 999)
LENGTH = st.sampled_from([1, 2, 12, 40, 300])
CRASH = st.none() | st.builds(
    Crash, st.sampled_from(["no answer", "killed at a page", "killed between transactions"]), st.integers(0, 12)
)
STEP = st.one_of(
    st.tuples(st.sampled_from(["delete", "alter", "withdraw", "revise"]), TABLE, SYMBOL, PLACE, LENGTH),
    st.tuples(st.just("tick"), CRASH),
    st.tuples(st.just("refresh"), TABLE, CRASH),
    st.tuples(st.just("materialize"), TABLE, PLACE, CRASH),
    st.tuples(st.just("wait"), st.sampled_from([4, 61, 300, 1500])),
    st.tuples(st.sampled_from(["disorder", "give_back", "integrity", "deep"])),
)


BTC, ETH = "BTC/USDT", "ETH/USDT"
KILLED = "killed between transactions"
ALTERED_AND_LOST = [("alter", FIVE_MINUTES, BTC, 800, 1), ("delete", FIVE_MINUTES, BTC, 430, 1)]
"""Of one day, the first near its end, the other near its beginning: no batch of pages has both."""

ALTERED_BEFORE_LOST = [("alter", FIVE_MINUTES, ETH, 800, 1), ("delete", FIVE_MINUTES, ETH, 830, 12)]
"""The first late in a day, the other early in the next, whose refresh fetches the end of the day before as context."""

LOST_OVERNIGHT = ("delete", FIVE_MINUTES, ETH, 729, 300)
"""The end of one day and all of the next."""


def take(world: World, step: tuple[Any, ...]) -> None:
    name, *arguments = step
    if name in ("integrity", "deep"):
        world.integrity(deep=name == "deep")
    else:
        getattr(world, name)(*arguments)


@settings(
    max_examples=10,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(STEP, min_size=2, max_size=8), returns=st.booleans())
@example(steps=[*ALTERED_AND_LOST, ("materialize", FIVE_MINUTES, 500, Crash(KILLED, 1))], returns=True)
@example(steps=[*ALTERED_AND_LOST, ("tick", Crash(KILLED, 4))], returns=True)
@example(steps=[("alter", HOURS, ETH, 800, 1), *ALTERED_BEFORE_LOST, ("refresh", FIVE_MINUTES, None)], returns=True)
@example(steps=[LOST_OVERNIGHT, ("withdraw", FIVE_MINUTES, ETH, 279, 2), ("refresh", FIVE_MINUTES, None)], returns=True)
@example(steps=[("wait", 1500), ("refresh", FIVE_MINUTES, Crash("no answer", 11))], returns=False)
def test_table_and_exchange_agree_and_the_ledger_is_the_difference(collected, instance, steps, returns):
    with a_world(collected, instance) as world:
        for step in steps:
            take(world, step)
        if returns:
            while world.hidden:
                world.give_back()
        asked_before = world.exchange.requests
        world.run_dry()
        assert world.exchange.requests - asked_before < 2000
        for table in (FIVE_MINUTES, HOURS):
            closed = KDATA_TABLES[table].interval.closed_before(CLOCK)
            for spans in world.owed(table).values():
                assert intersect(spans, [Span(DAYS.start, closed)]) == [Span(DAYS.start, closed)]
            stored, published = world.stored(table), as_the_exchange_has_it(world, collected, table)
            assert until_owed(world, table, stored) == until_owed(world, table, published)
            assert set(stored) <= set(published)
            lacking = world.lacking(table)
            assert {entity: merge(gap.span for gap in gaps) for entity, gaps in world.gaps(table).items()} == lacking
            said = examine(world.database, KDATA_TABLES[table], world.at, world.ledger.policy, deep=True)
            assert all(finding.passed for finding in said.findings.values())
            assert said.altered == []
            assert all(not _has_neighbours(gap) for each in said.completeness for gap in each.gaps)
        assert world.tick() == 0
