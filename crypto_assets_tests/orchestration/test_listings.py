"""What a listing comes to: first candles, ends, second listings, sources that start over, and what is owed by them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from crypto_assets.collect.run import collect_table
from crypto_assets.collect.symbols import populate_markets, tracked_now
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import Interval, to_datetime, to_naive
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets.domain.spans import Span, merge
from crypto_assets.exchange.errors import UnknownSymbol
from crypto_assets.quality.gaps.coverage import coverage_row, owed_spans, record_coverage
from crypto_assets.quality.gaps.ledger import Policy
from crypto_assets.quality.gaps.uncollected import PARTITIONS_PER_RUN, Uncollected, uncollected_histories
from crypto_assets.quality.verification.examination import examine
from crypto_assets_tests.paper_exchange import PaperExchange, market, moment

NOW = datetime(2023, 4, 1)  # noqa: DTZ001 - stored times are naive UTC
DAILY, MONTHLY = "cryptopair_5m_kdata", "cryptopair_1h_kdata"
MARCH = Span(moment("2023-03-01"), moment("2023-04-01"))
BTC, ETH = "cryptopair_binance_btcusdt", "cryptopair_binance_ethusdt"


@pytest.fixture
def database(any_database):
    return any_database


@pytest.fixture
def engine():
    """What is owed is the same on every engine, and is tested there by others."""
    return "sqlite"


def exchange_at(clock: str, *listed: Any) -> PaperExchange:
    return PaperExchange(clock=moment(clock), page_rows=1000, listed=list(listed) or [market()])


def listing(database, exchange, *tracked: str, market_type=MarketType.SPOT):
    chosen = tracked or (("BTC/USDT",) if market_type is MarketType.SPOT else ())
    return populate_markets(database, exchange, market_type, chosen, exchange.clock)


def collect(database, exchange, table, span, *symbols: str, only_missing=False):
    run = collect_table(
        exchange,
        database,
        KDATA_TABLES[table],
        symbols or ("BTC/USDT",),
        span,
        only_missing=only_missing,
        now=lambda: NOW,
    )
    assert not run.failures


def owed(database, table=MONTHLY, entity=BTC) -> list[Span]:
    with database.connect(table) as connection:
        (found,) = owed_spans(connection, KDATA_TABLES[table], entity)
    return found.spans


def lacking(database, table, *tracked: str) -> list[tuple[tuple[str, ...], tuple[str, str]]]:
    with database.connect(table) as connection:
        return [
            (each.symbols, each.partitions) for each in uncollected_histories(connection, KDATA_TABLES[table], tracked)
        ]


def missing(database, table) -> dict[str, list[Span]]:
    said = examine(database, KDATA_TABLES[table], NOW, Policy())
    assert all(finding.passed for finding in said.findings.values())
    return {each.entity_id: merge(gap.span for gap in each.gaps) for each in said.completeness}


def resets(database) -> list[tuple[str, dict[str, str]]]:
    log = TABLES["crypto_data_quality_log"]
    with database.connect("crypto_quality") as connection:
        rows = connection.execute(log.select().where(log.c.validation_type == "reset").order_by(log.c.id)).all()
    return [(row.entity_id, row.validation_result) for row in rows]


def dates(database, table="crypto_pair", entity=BTC):
    with database.connect(table) as connection:
        row = connection.execute(TABLES[table].select().where(TABLES[table].c.id == entity)).one()
    return row.list_date, row.end_date


def naive(text: str) -> datetime:
    return to_naive(moment(text))


def test_a_pair_quoted_for_three_days_of_a_month_owes_three_days(database):
    exchange = exchange_at("2023-04-01", market(is_active=False))
    three_days = Span(moment("2023-03-10T08:00"), moment("2023-03-13T08:00"))
    for interval in (Interval.M1, Interval.H1):
        exchange.publish("BTC/USDT", interval, three_days)
    listing(database, exchange)
    collect(database, exchange, MONTHLY, MARCH)
    assert owed(database) == [three_days]
    assert missing(database, MONTHLY) == {BTC: []}


def relisted(database, *, interval=Interval.H1) -> PaperExchange:
    """A pair that traded from the 2nd to the 10th and from the 20th on, seen when it ended and when it was back."""
    ended = exchange_at("2023-03-12", market(is_active=False))
    for each in {Interval.M1, interval}:
        ended.publish("BTC/USDT", each, Span(moment("2023-03-02"), moment("2023-03-10T12:00")))
    listing(database, ended)
    back = exchange_at("2023-03-25")
    back.candles = ended.candles
    for each in {Interval.M1, interval}:
        back.publish("BTC/USDT", each, Span(moment("2023-03-20T06:00"), back.clock))
    listing(database, back)
    listing(database, back)  # once more: nothing else is found
    return back


def test_a_relisted_pair_owes_both_spans_and_not_the_time_between(database):
    exchange = relisted(database)
    collect(database, exchange, MONTHLY, MARCH)
    before = Span(moment("2023-03-02"), moment("2023-03-10T12:00"))
    after = Span(moment("2023-03-20T06:00"), exchange.clock)
    assert owed(database) == [before, after]
    assert missing(database, MONTHLY) == {BTC: []}
    again = exchange_at("2023-03-28", market(is_active=False))
    again.candles = exchange.candles
    listing(database, again)  # and it ended again
    assert owed(database) == [before, after]
    assert dates(database) == (naive("2023-03-02"), naive("2023-03-25"))


def test_a_relisted_pairs_partitions_in_between_are_not_asked_for(database):
    exchange = relisted(database, interval=Interval.M5)
    eth = market("ETH/USDT")
    exchange.listed.append(eth)
    exchange.publish("ETH/USDT", Interval.M1, Span(MARCH.start, MARCH.start + 60_000))
    listing(database, exchange, "BTC/USDT", "ETH/USDT")
    collect(database, exchange, DAILY, Span(MARCH.start, moment("2023-03-26")), "ETH/USDT")
    assert lacking(database, DAILY, "BTC/USDT", "ETH/USDT") == [
        (("BTC/USDT",), ("2023-03-20", "2023-03-25")),
        (("BTC/USDT",), ("2023-03-02", "2023-03-10")),
    ]


def test_a_pair_that_trades_again_and_has_no_candle_yet_is_owed_nothing_new(database):
    ended = exchange_at("2023-03-12", market(is_active=False))
    ended.publish("BTC/USDT", Interval.M1, Span(moment("2023-03-02"), moment("2023-03-03")))
    listing(database, ended)
    back = exchange_at("2023-03-20")
    back.candles = ended.candles
    listing(database, back)
    assert dates(database) == (naive("2023-03-02"), naive("2023-03-03"))
    back.publish("BTC/USDT", Interval.M1, Span(back.clock, back.clock + 60_000))
    back.clock += 120_000
    listing(database, back)
    assert dates(database) == (naive("2023-03-02"), None)
    collect(database, back, MONTHLY, MARCH)
    assert owed(database) == [Span(moment("2023-03-02"), moment("2023-03-03"))]  # its first hour is still open


def test_an_ended_pair_is_owed_its_last_stretch(database):
    exchange = exchange_at("2023-03-21T10:00", market(), market("ETH/USDT"))
    for symbol in ("BTC/USDT", "ETH/USDT"):
        for interval in (Interval.M1, Interval.M5):
            exchange.publish(symbol, interval, Span(moment("2023-03-20"), moment("2023-03-22T18:00")))
    listing(database, exchange, "BTC/USDT", "ETH/USDT")
    days = Span(moment("2023-03-20"), moment("2023-03-22"))
    collect(database, exchange, DAILY, days, "BTC/USDT", "ETH/USDT")
    assert lacking(database, DAILY, "BTC/USDT", "ETH/USDT") == []
    exchange.clock = moment("2023-03-21T20:00")
    exchange.listed[1] = market("ETH/USDT", is_active=False)
    for interval in (Interval.M1, Interval.M5):
        exchange.candles[MarketType.SPOT, "ETHUSDT", interval].clear()
        exchange.publish("ETH/USDT", interval, Span(moment("2023-03-20"), moment("2023-03-21T14:00")))
    listing(database, exchange, "BTC/USDT", "ETH/USDT")
    assert lacking(database, DAILY, "BTC/USDT", "ETH/USDT") == [(("ETH/USDT",), ("2023-03-21", "2023-03-21"))]
    collect(database, exchange, DAILY, Span(days.start, days.end), "ETH/USDT", only_missing=True)
    assert owed(database, DAILY, ETH) == [Span(moment("2023-03-20"), moment("2023-03-21T14:00"))]
    assert lacking(database, DAILY, "BTC/USDT", "ETH/USDT") == []
    assert missing(database, DAILY) == {BTC: [], ETH: []}


def test_a_source_that_starts_over_is_one_row_and_no_gaps_though_there_were_some(database):
    exchange = exchange_at("2023-03-20T12:00")
    for interval in (Interval.M1, Interval.H1):
        exchange.publish("BTC/USDT", interval, Span(moment("2023-03-02"), exchange.clock))
    book = exchange.candles[MarketType.SPOT, "BTCUSDT", Interval.H1]
    del book[moment("2023-03-15T05:00")]
    listing(database, exchange)
    collect(database, exchange, MONTHLY, MARCH)
    assert missing(database, MONTHLY) == {BTC: [Span(moment("2023-03-15T05:00"), moment("2023-03-15T06:00"))]}
    wiped = exchange_at("2023-03-22T12:00")
    wiped.publish("BTC/USDT", Interval.M1, Span(moment("2023-03-21T09:30"), wiped.clock))
    wiped.publish("BTC/USDT", Interval.H1, Span(moment("2023-03-21T09:00"), wiped.clock))
    wiped.first_candle_time = lambda *_: moment("2023-03-21T09:30")  # of minutes, as the protocol says
    for _ in range(2):
        listing(database, wiped)
    assert resets(database) == [
        (BTC, {"first_candle_before": "2023-03-02T00:00:00", "first_candle_now": "2023-03-21T09:30:00"})
    ]
    assert missing(database, MONTHLY) == {BTC: []}
    assert owed(database) == []  # nothing since was asked for
    collect(database, wiped, MONTHLY, MARCH, only_missing=True)
    assert owed(database) == [Span(moment("2023-03-21T09:00"), wiped.clock)]
    assert missing(database, MONTHLY) == {BTC: []}


def test_a_source_that_starts_over_ends_earlier_listings_too(database):
    exchange = relisted(database)
    collect(database, exchange, MONTHLY, MARCH)
    wiped = exchange_at("2023-03-27")
    for interval in (Interval.M1, Interval.H1):
        wiped.publish("BTC/USDT", interval, Span(moment("2023-03-26"), wiped.clock))
    listing(database, wiped)
    assert len(resets(database)) == 1
    collect(database, wiped, MONTHLY, MARCH)
    assert owed(database) == [Span(moment("2023-03-26"), wiped.clock)]
    assert missing(database, MONTHLY) == {BTC: []}


def test_a_perpetual_whose_first_candle_is_later_than_its_onboard_date_did_not_start_over(database):
    perp = market("BTC/USDT:USDT", listed_ms=moment("2023-03-01"))
    exchange = exchange_at("2023-03-20", perp)
    exchange.publish("BTC/USDT:USDT", Interval.M1, Span(moment("2023-03-02"), moment("2023-03-03")))
    listing(database, exchange, market_type=MarketType.SWAP)  # while nobody tracked it
    listing(database, exchange, "BTC/USDT:USDT", market_type=MarketType.SWAP)
    entity = "cryptoperp_binance_btcusdt"
    assert dates(database, "crypto_perp", entity) == (naive("2023-03-02"), None)
    assert resets(database) == []


def test_a_symbol_that_is_not_traded_yet_lacks_nothing(database):
    exchange = exchange_at("2023-03-20T12:00", market(), market("ETH/USDT", is_active=False))
    exchange.publish("BTC/USDT", Interval.M1, Span(MARCH.start, MARCH.start + 60_000))
    listing(database, exchange, "BTC/USDT", "ETH/USDT")
    collect(database, exchange, MONTHLY, MARCH)
    assert lacking(database, MONTHLY, "BTC/USDT", "ETH/USDT") == []


def test_an_unknown_symbol_is_refused_after_all_others_were_written(database):
    exchange = exchange_at("2023-03-20T12:00")
    exchange.publish("BTC/USDT", Interval.M1, Span(MARCH.start, MARCH.start + 60_000))
    with pytest.raises(UnknownSymbol, match=r"BTX/USDT.*BTC/USDT"):
        listing(database, exchange, "BTX/USDT", "BTC/USDT")
    assert dates(database) == (naive("2023-03-01"), None)


def test_a_renamed_symbol_goes_on_under_its_successor_as_soon_as_that_is_listed(database):
    exchange = exchange_at("2023-03-20", market("MATIC/USDT"))
    exchange.publish("MATIC/USDT", Interval.M1, Span(MARCH.start, moment("2023-03-02")))
    listing(database, exchange, "MATIC/USDT")
    assert tracked_now(database, MarketType.SPOT, ("MATIC/USDT",)) == ("MATIC/USDT",)
    exchange.listed = [market("MATIC/USDT", is_active=False), market("POL/USDT")]
    exchange.publish("POL/USDT", Interval.M1, Span(moment("2023-03-10"), moment("2023-03-11")))
    listing(database, exchange, "MATIC/USDT")
    assert tracked_now(database, MarketType.SPOT, ("MATIC/USDT",)) == ("MATIC/USDT", "POL/USDT")
    assert dates(database, entity="cryptopair_binance_polusdt") == (naive("2023-03-10"), None)


def test_of_a_symbol_renamed_before_anybody_listed_it_only_the_successor_is_tracked(database):
    exchange = exchange_at("2023-03-20", market("POL/USDT"))
    exchange.publish("POL/USDT", Interval.M1, Span(moment("2023-03-10"), moment("2023-03-11")))
    listing(database, exchange, "MATIC/USDT")
    assert tracked_now(database, MarketType.SPOT, ("MATIC/USDT",)) == ("POL/USDT",)


# What is lacking of a long history, from coverage alone.

LONG = Span(moment("2022-01-01"), moment("2022-09-08"))  # 250 days


@pytest.fixture
def long_history(database):
    """BTC was collected for 250 days; of the others nothing was, and SOL was listed for three days."""
    exchange = exchange_at("2022-09-10", *(market(f"{base}/USDT") for base in ("BTC", "ETH", "XRP")))
    for base in ("BTC", "ETH", "XRP"):
        exchange.publish(f"{base}/USDT", Interval.M1, Span(LONG.start, LONG.start + 60_000))
    exchange.listed.append(market("SOL/USDT", is_active=False))
    exchange.publish("SOL/USDT", Interval.M1, Span(moment("2022-03-05T12:00"), moment("2022-03-07T12:00")))
    listing(database, exchange, *(each.symbol for each in exchange.listed))
    cover(database, BTC, LONG, exchange.clock)
    return database


def cover(database, entity: str, span: Span, clock: int) -> None:
    days = [f"{to_datetime(time):%Y-%m-%d}" for time in range(span.start, span.end, 86_400_000)]
    with database.begin("crypto_quality") as connection:
        record_coverage(connection, [coverage_row(KDATA_TABLES[DAILY], entity, day, [LONG], clock) for day in days])


def test_symbols_with_the_same_range_are_asked_for_together_in_chunks_and_newest_first(long_history):
    found = lacking(long_history, DAILY, "BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT")
    assert found == [
        (("ETH/USDT", "XRP/USDT"), ("2022-07-20", "2022-09-07")),
        (("ETH/USDT", "XRP/USDT"), ("2022-04-11", "2022-07-19")),
        (("SOL/USDT",), ("2022-03-05", "2022-03-07")),
        (("ETH/USDT", "XRP/USDT"), ("2022-01-01", "2022-04-10")),
    ]
    days = [(naive(last) - naive(first)).days + 1 for _, (first, last) in found]
    assert max(days) == PARTITIONS_PER_RUN


def test_only_what_lies_outside_of_what_was_collected_is_lacking(long_history):
    cover(long_history, ETH, Span(moment("2022-02-01"), moment("2022-09-01")), moment("2022-09-10"))
    assert lacking(long_history, DAILY, "BTC/USDT", "ETH/USDT") == [
        (("ETH/USDT",), ("2022-09-01", "2022-09-07")),
        (("ETH/USDT",), ("2022-01-01", "2022-01-31")),
    ]


def test_a_last_partition_that_was_asked_for_while_it_ran_is_asked_for_with_those_after_it(long_history):
    cover(long_history, ETH, Span(LONG.start, moment("2022-09-06")), moment("2022-09-05T12:00"))
    assert lacking(long_history, DAILY, "BTC/USDT", "ETH/USDT") == [(("ETH/USDT",), ("2022-09-05", "2022-09-07"))]


def test_what_nobody_tracks_or_nobody_collected_lacks_nothing(long_history):
    assert lacking(long_history, DAILY, "BTC/USDT") == []
    assert lacking(long_history, DAILY, "ETH/USDT") == []
    assert lacking(long_history, MONTHLY, "BTC/USDT", "ETH/USDT") == []


def test_each_range_has_a_digest_of_its_own():
    made = [
        Uncollected(KDATA_TABLES[DAILY], ("BTC/USDT",), ("2022-01-01", "2022-01-02")),
        Uncollected(KDATA_TABLES[DAILY], ("BTC/USDT",), ("2022-01-01", "2022-01-03")),
        Uncollected(KDATA_TABLES[DAILY], ("ETH/USDT",), ("2022-01-01", "2022-01-02")),
        Uncollected(KDATA_TABLES[MONTHLY], ("BTC/USDT",), ("2022-01-01", "2022-01-02")),
    ]
    assert len({each.digest for each in made}) == 4
    assert made[0].digest == Uncollected(KDATA_TABLES[DAILY], ("BTC/USDT",), ("2022-01-01", "2022-01-02")).digest
