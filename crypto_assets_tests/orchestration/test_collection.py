"""What ends up in a candle table, whatever the order, windows, pages and failures on the way there."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from crypto_assets.collect.run import collect_table
from crypto_assets.collect.symbols import names_meant, populate_markets
from crypto_assets.database.engines import open_database
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import Interval
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets.domain.spans import Span, merge
from crypto_assets.exchange.errors import ContractViolation, TransientError, UnknownSymbol
from crypto_assets.quality.gaps.ledger import Policy
from crypto_assets.quality.verification.examination import examine
from crypto_assets_tests.paper_exchange import PaperExchange, candle, market, moment

NOW = datetime(2023, 3, 22, 11, 0)  # noqa: DTZ001 - stored times are naive UTC
TABLE = "cryptopair_5m_kdata"
INTERVAL = Interval.M5
DAYS = [Span(moment(f"2023-03-{day}"), moment(f"2023-03-{day + 1}")) for day in (20, 21, 22)]
WHOLE = Span(DAYS[0].start, DAYS[-1].end)
HISTORY = Span(moment("2023-03-19T21:00"), moment("2023-03-22T18:00"))


@contextmanager
def fresh_database(template: Path):
    with tempfile.TemporaryDirectory() as directory:
        shutil.copytree(template, directory, dirs_exist_ok=True)
        database = open_database(f"sqlite:///{directory}", "testnet")
        try:
            yield database
        finally:
            database.dispose()


def paper_exchange(**options) -> PaperExchange:
    exchange = PaperExchange(clock=moment("2023-03-22T10:07:30"), page_rows=97, **options)
    for listed in exchange.listed:
        exchange.publish(listed.symbol, INTERVAL, HISTORY)
    return exchange


def prepare(database, exchange):
    symbols = tuple(listed.symbol for listed in exchange.listed)
    populate_markets(database, exchange, MarketType.SPOT, symbols, exchange.clock)


def collect(database, exchange, window, *, only_missing=False, symbols=("BTC/USDT",)):
    return collect_table(
        exchange,
        database,
        KDATA_TABLES[TABLE],
        symbols,
        window,
        only_missing=only_missing,
        policy=Policy(),
        now=lambda: NOW,
    )


def contents(database, table=TABLE):
    with database.connect(table) as connection:
        return connection.exec_driver_sql(f"SELECT * FROM {table} ORDER BY entity_id, timestamp").all()


def gaps(database):
    said = examine(database, KDATA_TABLES[TABLE], NOW, Policy())
    return {each.entity_id: merge(gap.span for gap in each.gaps) for each in said.completeness}


@cache
def reference(template):
    """The table as one run over all days leaves it."""
    with fresh_database(template) as database:
        exchange = paper_exchange()
        prepare(database, exchange)
        collect(database, exchange, WHOLE)
        return contents(database)


def test_only_closed_candles_inside_the_window_are_stored(migrated_files):
    with fresh_database(migrated_files) as database:
        exchange = paper_exchange()
        prepare(database, exchange)
        run = collect(database, exchange, DAYS[2])
        rows = contents(database)
    assert rows[0].timestamp == "2023-03-22 00:00:00.000000"
    assert rows[-1].timestamp == "2023-03-22 10:00:00.000000"
    assert len(rows) == run.total.inserted == 121


def test_stored_values_are_those_the_exchange_published(migrated_files):
    with fresh_database(migrated_files) as database:
        exchange = paper_exchange()
        prepare(database, exchange)
        collect(database, exchange, DAYS[1])
        rows = contents(database)
    for position, row in enumerate(rows):
        raw = candle(DAYS[1].start + position * INTERVAL.milliseconds, INTERVAL)
        assert [row.open, row.high, row.low, row.close, row.volume, row.volume_quote] == [
            float(raw[column]) for column in (1, 2, 3, 4, 5, 7)
        ]
        assert row.trade_count == raw[8]
        assert row.vwap == (row.volume_quote / row.volume if row.volume else None)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.permutations([0, 1, 2]),
    again=st.lists(st.sampled_from([0, 1, 2]), max_size=2),
    page_rows=st.sampled_from([13, 50, 288, 1000]),
)
@example(order=[2], again=[], page_rows=1)
def test_bytes_do_not_depend_on_windows_pages_order_or_repetition(migrated_files, order, again, page_rows):
    with fresh_database(migrated_files) as database:
        exchange = paper_exchange()
        exchange.page_rows = page_rows
        prepare(database, exchange)
        for day in [*order, *again]:
            collect(database, exchange, DAYS[day])
        days = {f"2023-03-{20 + day}" for day in order}
        assert contents(database) == [row for row in reference(migrated_files) if row.timestamp[:10] in days]


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(holes=st.lists(st.tuples(st.integers(0, 690), st.integers(1, 60)), min_size=1, max_size=3))
def test_candles_published_late_end_as_if_they_had_always_been_there(migrated_files, holes):
    with fresh_database(migrated_files) as database:
        exchange = paper_exchange()
        prepare(database, exchange)
        book = exchange.candles[MarketType.SPOT, "BTCUSDT", INTERVAL]
        late = {}
        for first, length in holes:
            for position in range(first, first + length):
                time = WHOLE.start + position * INTERVAL.milliseconds
                if time in book:
                    late[time] = book.pop(time)
        collect(database, exchange, WHOLE)
        closed = [time for time in late if time + INTERVAL.milliseconds <= exchange.clock]
        missing = sum(INTERVAL.count(*span) for span in gaps(database)["cryptopair_binance_btcusdt"])
        assert missing == len(closed)
        book.update(late)
        collect(database, exchange, WHOLE, only_missing=True)
        assert gaps(database) == {"cryptopair_binance_btcusdt": []}
        assert contents(database) == reference(migrated_files)


def test_a_revised_candle_replaces_ours_and_what_derives_from_it(migrated_files):
    with fresh_database(migrated_files) as database:
        exchange = paper_exchange()
        prepare(database, exchange)
        collect(database, exchange, WHOLE)
        last_of_first_day = DAYS[0].end - INTERVAL.milliseconds
        book = exchange.candles[MarketType.SPOT, "BTCUSDT", INTERVAL]
        book[last_of_first_day] = candle(last_of_first_day, INTERVAL, seed=1)
        run = collect(database, exchange, DAYS[0])
        repaired = contents(database)
    with fresh_database(migrated_files) as database:
        prepare(database, exchange)
        collect(database, exchange, WHOLE)
        assert repaired == contents(database)
    assert 2 <= run.total.changed <= 21  # the candle, and those after it that look back at it


def test_nothing_is_asked_for_what_is_stored(migrated_files):
    with fresh_database(migrated_files) as database:
        exchange = paper_exchange()
        prepare(database, exchange)
        collect(database, exchange, WHOLE)
        exchange.asked.clear()
        run = collect(database, exchange, WHOLE, only_missing=True)
        assert exchange.asked == []
        assert run.total.received == 0


def test_the_next_run_continues_where_a_broken_one_stopped(migrated_files):
    with fresh_database(migrated_files) as database:
        exchange = paper_exchange()
        prepare(database, exchange)
        pages = exchange.row_pages

        def breaking(*asked):
            for number, page in enumerate(pages(*asked)):
                if number == 12:
                    raise KeyboardInterrupt
                yield page

        exchange.row_pages = breaking
        exchange.page_rows = 20
        with pytest.raises(KeyboardInterrupt):
            collect(database, exchange, WHOLE)
        stored = contents(database)
        assert 0 < len(stored) < 300
        exchange.row_pages = pages
        run = collect(database, exchange, WHOLE, only_missing=True)
        assert contents(database) == reference(migrated_files)
        assert run.total.inserted == len(contents(database)) - len(stored)


def test_rows_that_break_the_contract_are_kept_out_and_logged_whole(migrated_files):
    with fresh_database(migrated_files) as database:
        exchange = paper_exchange()
        prepare(database, exchange)
        book = exchange.candles[MarketType.SPOT, "BTCUSDT", INTERVAL]
        times = [DAYS[1].start + position * INTERVAL.milliseconds for position in range(5)]
        book[times[0]][4] = None
        book[times[1]][3] = "-1.0"
        book[times[2]][2] = "0.01"
        book[times[3]][0] = times[3] + 1
        run = collect(database, exchange, DAYS[1])
        assert run.total.rejected == 4
        assert run.total.inserted == 288 - 4
        log = logged(database)
        collect(database, exchange, DAYS[1])
        assert logged(database) == log
        assert gaps(database)["cryptopair_binance_btcusdt"] == [Span(times[0], times[4])]
    assert sorted(issue for _, issues in log for issue in issues) == [
        "close: not_nullable",
        "high is the highest",
        "low: positive",
        "open_time: on the 5m grid",
    ]
    assert [book[times[0]]] == [row for row, issues in log if "close: not_nullable" in issues]


def logged(database):
    log = TABLES["crypto_data_quality_log"]
    with database.connect("crypto_quality") as connection:
        rows = connection.execute(log.select().order_by(log.c.id)).all()
    return [(row.validation_result["row"], row.issues_detected) for row in rows]


def test_duplicates_and_disorder_in_a_page_change_nothing(migrated_files):
    with fresh_database(migrated_files) as database:
        exchange = paper_exchange()
        prepare(database, exchange)
        pages = exchange.row_pages

        def disordered(*asked):
            for page in pages(*asked):
                yield [*reversed(page), page[0], page[-1]]

        exchange.row_pages = disordered
        collect(database, exchange, WHOLE)
        assert contents(database) == reference(migrated_files)


def test_one_failing_symbol_keeps_no_other_from_being_stored(migrated_files):
    exchange = paper_exchange(listed=[market(), market("ETH/USDT"), market("SOL/USDT")])
    exchange.failing["ETHUSDT"] = TransientError("klines did not answer")
    with fresh_database(migrated_files) as database:
        prepare(database, exchange)
        run = collect(database, exchange, DAYS[1], symbols=("BTC/USDT", "ETH/USDT", "SOL/USDT"))
        stored = {row.code for row in contents(database)}
    assert run.failures == {"ETH/USDT": "klines did not answer"}
    assert stored == {"btcusdt", "solusdt"}


def test_an_unknown_symbol_is_refused_with_the_nearest_names_before_anything_is_asked(migrated_files):
    with fresh_database(migrated_files) as database:
        exchange = paper_exchange()
        prepare(database, exchange)
        with pytest.raises(UnknownSymbol, match="BTC/USDT"):
            collect(database, exchange, DAYS[1], symbols=("BTC/USTD",))
        assert exchange.asked == []
        assert contents(database) == []


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        (["btcusdt"], ["BTC/USDT"]),
        (["BTC/USDT", "BTCUSDT"], ["BTC/USDT"]),
        (["btc*"], ["BTC/USDT"]),
        (["*/USDT"], ["BTC/USDT", "ETH/USDT"]),
        (["BTC/USTD"], ["BTC/USTD"]),
        ([], []),
    ],
)
def test_a_run_s_symbols_may_be_written_either_way(migrated_files, texts, names):
    with fresh_database(migrated_files) as database:
        prepare(database, PaperExchange(clock=DAYS[2].start, listed=[market(), market("ETH/USDT")]))
        assert list(names_meant(database, MarketType.SPOT, texts)) == names


def test_an_empty_entity_table_says_which_job_fills_it(migrated_files):
    with fresh_database(migrated_files) as database, pytest.raises(UnknownSymbol, match="bootstrap"):
        collect(database, paper_exchange(), DAYS[1])


def test_candles_before_the_listing_and_after_the_end_are_not_owed(migrated_files):
    ended = moment("2023-03-21T12:00")
    exchange = PaperExchange(clock=moment("2023-03-22T10:07:30"), listed=[market(is_active=False)])
    exchange.publish("BTC/USDT", INTERVAL, Span(moment("2023-03-20T06:00"), ended))
    with fresh_database(migrated_files) as database:
        prepare(database, exchange)
        collect(database, exchange, WHOLE)
        assert gaps(database) == {"cryptopair_binance_btcusdt": []}
        assert len(contents(database)) == 30 * 12


def test_whole_days_never_collected_between_two_collected_ones_are_gaps(migrated_files):
    with fresh_database(migrated_files) as database:
        exchange = paper_exchange()
        prepare(database, exchange)
        collect(database, exchange, DAYS[0])
        collect(database, exchange, DAYS[2])
        assert gaps(database) == {"cryptopair_binance_btcusdt": [DAYS[1]]}


def test_a_run_that_broke_off_leaves_gaps_that_are_seen(migrated_files):
    with fresh_database(migrated_files) as database:
        exchange = paper_exchange()
        prepare(database, exchange)
        exchange.page_rows = 20
        pages = exchange.row_pages

        def breaking(*asked):
            for number, page in enumerate(pages(*asked)):
                if number == 12:
                    raise TransientError("klines did not answer")
                yield page

        exchange.row_pages = breaking
        run = collect(database, exchange, WHOLE)
        stored = contents(database)
        assert run.failures == {"BTC/USDT": "klines did not answer"}
        # Twelve pages, less the context before the window: those after the tenth are stored in spite of the error.
        assert len(stored) == 12 * 20 - 20
        owed = [Span(WHOLE.start + len(stored) * INTERVAL.milliseconds, INTERVAL.closed_before(exchange.clock))]
        assert gaps(database) == {"cryptopair_binance_btcusdt": owed}


def test_asking_for_an_old_day_again_makes_today_owe_nothing_more(migrated_files):
    with fresh_database(migrated_files) as database:
        exchange = paper_exchange()
        prepare(database, exchange)
        collect(database, exchange, WHOLE)
        exchange.clock += 7_200_000
        collect(database, exchange, DAYS[0])
        assert gaps(database) == {"cryptopair_binance_btcusdt": []}


def test_a_broken_delivery_does_not_displace_a_good_one(migrated_files):
    with fresh_database(migrated_files) as database:
        exchange = paper_exchange()
        prepare(database, exchange)
        pages = exchange.row_pages

        def twice(*asked):
            for page in pages(*asked):
                yield [*page, [*page[5][:4], None, *page[5][5:]]]

        exchange.row_pages = twice
        collect(database, exchange, WHOLE)
        assert contents(database) == reference(migrated_files)


def test_a_symbol_nobody_tracks_owes_nothing_before_its_first_candle(migrated_files):
    with fresh_database(migrated_files) as database:
        exchange = paper_exchange()
        populate_markets(database, exchange, MarketType.SPOT, (), exchange.clock)
        early = Span(moment("2023-03-01"), WHOLE.end)
        collect(database, exchange, early)
        assert gaps(database) == {"cryptopair_binance_btcusdt": []}


def test_an_exchange_that_lists_nothing_changes_nothing(migrated_files):
    with fresh_database(migrated_files) as database:
        exchange = paper_exchange()
        prepare(database, exchange)
        with database.connect("crypto_pair") as connection:
            before = connection.execute(TABLES["crypto_pair"].select()).all()
        with pytest.raises(ContractViolation, match="lists no spot symbol"):
            prepare(database, PaperExchange(clock=exchange.clock, listed=[]))
        with database.connect("crypto_pair") as connection:
            assert connection.execute(TABLES["crypto_pair"].select()).all() == before


def test_trading_that_resumes_is_owed_again(migrated_files):
    with fresh_database(migrated_files) as database:
        exchange = paper_exchange()
        halted = PaperExchange(clock=exchange.clock, listed=[market(is_active=False)])
        halted.publish("BTC/USDT", INTERVAL, Span(HISTORY.start, DAYS[1].start))
        prepare(database, halted)
        collect(database, halted, WHOLE)
        assert len(contents(database)) == 288
        prepare(database, exchange)
        collect(database, exchange, WHOLE, only_missing=True)
        assert contents(database) == reference(migrated_files)


def test_a_run_tells_how_far_it_is_and_compares_its_plan_with_what_came(migrated_files):
    listed = [market(f"{name}/USDT") for name in ("BTC", "ETH", "SOL")]
    with fresh_database(migrated_files) as database:
        exchange = paper_exchange(listed=listed, readers=3)
        prepare(database, exchange)
        collect(database, exchange, DAYS[1], symbols=["ETH/USDT"])
        exchange.failing["SOLUSDT"] = TransientError("no answer")
        told = []
        run = collect_table(
            exchange,
            database,
            KDATA_TABLES[TABLE],
            [each.symbol for each in listed],
            Span(DAYS[0].start, DAYS[1].end),
            only_missing=True,
            policy=Policy(),
            now=lambda: NOW,
            progress=told.append,
        )
    assert {step.candle_table.name for step in told} == {TABLE}
    assert sum(step.came for step in told) == run.total.received == 288 * 3
    last = {step.symbol: (step.done, step.planned) for step in told}
    assert last == {"BTC/USDT": (576, 576), "ETH/USDT": (288, 288)}
    assert (told[-1].all_done, told[-1].all_planned) == (864, 864), "nothing more is expected of what failed"
    assert run.planned_rows == 288 * 5
    assert run.planned_requests == 3 + 1, "a page of a thousand for each symbol, and the clock"


def test_what_was_altered_after_it_was_planned_is_asked_for_as_a_whole(migrated_files):
    listed = [market(f"{name}/USDT") for name in ("BTC", "ETH")]
    eth = "cryptopair_binance_ethusdt"
    with fresh_database(migrated_files) as database:
        exchange = paper_exchange(listed=listed)
        prepare(database, exchange)
        book = exchange.candles[MarketType.SPOT, "ETHUSDT", INTERVAL]
        late = {time: book.pop(time) for time in list(book) if time >= DAYS[1].end - 3 * INTERVAL.milliseconds}
        collect(database, exchange, DAYS[1], symbols=["ETH/USDT"])
        book.update(late)

        def alter(step):
            # Both symbols are planned by now, and only the first was collected.
            if step.symbol == "BTC/USDT":
                with database.begin(TABLE) as connection:
                    connection.exec_driver_sql(
                        f"UPDATE {TABLE} SET close = 1 WHERE entity_id = '{eth}' AND timestamp LIKE '2023-03-21 05:%'"
                    )

        collect_table(
            exchange,
            database,
            KDATA_TABLES[TABLE],
            ["BTC/USDT", "ETH/USDT"],
            DAYS[1],
            only_missing=True,
            policy=Policy(),
            now=lambda: NOW,
            progress=alter,
        )
        closes = [row.close for row in contents(database) if row.entity_id == eth]
    assert len(closes) == 288
    assert 1 not in closes
