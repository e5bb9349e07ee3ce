"""Listings that contradict what one expects: states, names, broken rows; the recorded exchangeInfo in both orders."""

from __future__ import annotations

import gzip
import json
from datetime import timedelta

import pytest
from sqlalchemy import event

from crypto_assets.collect.symbols import (
    names_meant,
    populate_assets,
    populate_markets,
    symbols_to_collect,
    tracked_now,
)
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import Interval
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.binance.symbols import read_market
from crypto_assets.exchange.errors import ExchangeError, TransientError, UnknownSymbol
from crypto_assets.exchange.markets import RefusedSymbol
from crypto_assets_tests.orchestration.test_listings import (
    BTC,
    DAILY,
    MONTHLY,
    collect,
    dates,
    exchange_at,
    lacking,
    listing,
    missing,
    naive,
    owed,
    resets,
)
from crypto_assets_tests.paper_exchange import PaperExchange, market, moment

SPOT, SWAP = MarketType.SPOT, MarketType.SWAP
HOUR = timedelta(hours=1) // timedelta(milliseconds=1)
DAYS = Span(moment("2023-03-20"), moment("2023-03-23"))
PERP = "cryptoperp_binance_btcusdt"


@pytest.fixture
def database(any_database):
    return any_database


@pytest.fixture
def engine():
    return "sqlite"


def rows(database, table):
    with database.connect(table) as connection:
        found = connection.execute(TABLES[table].select().order_by(TABLES[table].c.id)).mappings().all()
    return [{name: value for name, value in row.items() if name != "timestamp"} for row in found]


def refusals(database):
    log = TABLES["crypto_data_quality_log"]
    with database.connect("crypto_quality") as connection:
        found = connection.execute(log.select().where(log.c.validation_type == "contract").order_by(log.c.id)).all()
    return {row.entity_id: row.issues_detected for row in found}


# What one endpoint no longer mentions.


class Unlisted(PaperExchange):
    """An exchange whose klines serve on what its listing lacks."""

    def _book(self, market_type, exchange_id, interval):
        book = self.candles.get((market_type, exchange_id, interval), {})
        return [(time, row) for time, row in sorted(book.items()) if time <= self.clock]

    def _all(self, market_type, exchange_id):
        return [each for each in super()._all(market_type, exchange_id) if each[0] <= self.clock]


def vanished(database, until: str, clock: str = "2023-03-22T18:00") -> Unlisted:
    """BTC was collected until noon of the 22nd; then the listing lacks it, and its candles go on until then."""
    exchange = Unlisted(clock=moment("2023-03-22T12:00"), page_rows=1000, listed=[market(), market("ETH/USDT")])
    for interval in (Interval.M1, Interval.M5):
        exchange.publish("BTC/USDT", interval, Span(DAYS.start, moment(until)))
        exchange.publish("ETH/USDT", interval, DAYS)
    listing(database, exchange, "BTC/USDT", "ETH/USDT")
    collect(database, exchange, DAILY, DAYS, "BTC/USDT", "ETH/USDT")
    exchange.clock = moment(clock)
    exchange.listed = [market("ETH/USDT")]
    return exchange


def test_the_last_hours_of_a_symbol_that_vanished_are_owed_and_collected(database):
    exchange = vanished(database, "2023-03-22T15:00")
    said = listing(database, exchange, "BTC/USDT", "ETH/USDT")
    assert dates(database)[1] == naive("2023-03-22T15:00")
    assert said.remarks == ["BTC/USDT is listed no more; its candles end at 2023-03-22 15:00:00."]
    assert lacking(database, DAILY, "BTC/USDT", "ETH/USDT") == [(("BTC/USDT",), ("2023-03-22", "2023-03-22"))]
    collect(database, exchange, DAILY, DAYS, "BTC/USDT", "ETH/USDT", only_missing=True)
    assert owed(database, DAILY)[-1].end == moment("2023-03-22T15:00")
    assert lacking(database, DAILY, "BTC/USDT", "ETH/USDT") == []
    assert missing(database, DAILY)[BTC] == []


def test_a_symbol_that_vanished_from_the_listing_alone_has_not_ended(database):
    exchange = vanished(database, "2023-03-23")
    assert listing(database, exchange, "BTC/USDT", "ETH/USDT").remarks == [
        "BTC/USDT is listed no more; its candles go on."
    ]
    assert dates(database)[1] is None
    collect(database, exchange, DAILY, DAYS, "BTC/USDT", only_missing=True)
    assert owed(database, DAILY)[-1].end == exchange.clock


def test_a_symbol_that_nobody_knows_any_more_ends_when_it_was_last_seen_and_is_asked_for_no_more(database):
    exchange = vanished(database, "2023-03-22T15:00")
    exchange.candles.clear()
    exchange.last_candle_time = exchange.first_candle_time  # -1121
    listing(database, exchange, "BTC/USDT", "ETH/USDT")
    assert dates(database)[1] == naive("2023-03-22T12:00")
    assert lacking(database, DAILY, "BTC/USDT", "ETH/USDT") == []


# What the exchange states, and what it does not.


def perpetual(status: str, **changes):
    return market("BTC/USDT:USDT", is_active=status == "TRADING", status=status, **changes)


def test_a_perpetual_ends_when_its_delivery_date_says_so_whatever_candles_follow(database):
    exchange = exchange_at("2023-03-22", perpetual("SETTLING", delisted_ms=moment("2023-03-21T09:00")))
    exchange.publish("BTC/USDT:USDT", Interval.M1, Span(DAYS.start, DAYS.end))
    for later in (0, 6 * HOUR):
        exchange.clock += later
        listing(database, exchange, "BTC/USDT:USDT", market_type=SWAP)
        assert dates(database, "crypto_perp", PERP) == (naive("2023-03-20"), naive("2023-03-21T09:00"))


@pytest.mark.parametrize("status", ["SETTLING", "PENDING_TRADING", "PRE_SETTLE", "CLOSE", "SOMETHING_NEW"])
def test_a_state_without_a_past_delivery_date_is_no_end(database, status):
    exchange = exchange_at("2023-03-22", perpetual(status, delisted_ms=moment("2023-03-25")))
    exchange.publish("BTC/USDT:USDT", Interval.M1, Span(DAYS.start, DAYS.start + HOUR))
    said = listing(database, exchange, "BTC/USDT:USDT", market_type=SWAP)
    assert dates(database, "crypto_perp", PERP) == (naive("2023-03-20"), None)
    assert f"({status}); no end is known" in said.remarks[0]
    assert len(said.remarks) == (2 if status == "SOMETHING_NEW" else 1)
    assert rows(database, "crypto_perp")[0]["status"] == status


@pytest.mark.parametrize("status", ["CANCEL_ONLY", "HALT", "SOMETHING_NEW"])
def test_a_pair_that_is_not_said_to_have_ended_has_no_end(database, status):
    exchange = exchange_at("2023-03-22", market(is_active=False, status=status))
    exchange.publish("BTC/USDT", Interval.M1, Span(DAYS.start, DAYS.start + HOUR))
    listing(database, exchange)
    assert dates(database) == (naive("2023-03-20"), None)


@pytest.mark.parametrize("pause", [4, 30])
def test_a_pause_is_no_end_and_gets_into_the_ledger(database, pause):
    begun, over = moment("2023-03-21T18:00"), moment("2023-03-21T18:00") + pause * HOUR
    exchange = Unlisted(clock=begun + 3 * HOUR, page_rows=1000, listed=[market(is_active=False)])
    for interval in (Interval.M1, Interval.M5):
        exchange.publish("BTC/USDT", interval, Span(DAYS.start, begun))
        exchange.publish("BTC/USDT", interval, Span(over, DAYS.end + 24 * HOUR))
    listing(database, exchange)
    collect(database, exchange, DAILY, Span(DAYS.start, moment("2023-03-22")))
    assert missing(database, DAILY) == {BTC: []}
    exchange.listed = [market()]
    exchange.clock = over + HOUR
    listing(database, exchange)
    listing(database, exchange)
    assert dates(database) == (naive("2023-03-20"), None)
    assert rows_of_listings(database) == []
    collect(database, exchange, DAILY, DAYS, only_missing=True)
    assert missing(database, DAILY) == {BTC: [Span(begun, over)]}


def rows_of_listings(database):
    with database.connect("crypto_pair") as connection:
        return connection.execute(TABLES["crypto_listing"].select()).all()


def test_a_corrected_onboard_date_is_no_source_that_started_over(database):
    exchange = exchange_at("2023-03-22", perpetual("TRADING", listed_ms=moment("2023-03-01")))
    exchange.publish("BTC/USDT:USDT", Interval.M1, Span(DAYS.start, DAYS.start + HOUR))
    populate_markets(database, exchange, SWAP, (), exchange.clock)
    exchange.listed = [perpetual("TRADING", listed_ms=moment("2023-03-20"))]
    listing(database, exchange, "BTC/USDT:USDT", market_type=SWAP)
    assert dates(database, "crypto_perp", PERP) == (naive("2023-03-20"), None)
    assert resets(database) == []


# A name is no key.


def idols(*, living_first: bool):
    dead = market("IDOL/USDT:USDT", exchange_id="IDOL", is_active=False, status="PENDING_TRADING")
    living = market("IDOL/USDT:USDT")
    return [living, dead] if living_first else [dead, living]


@pytest.mark.parametrize("living_first", [True, False])
def test_of_two_symbols_with_one_name_the_one_that_trades_is_meant(database, living_first):
    exchange = exchange_at("2023-03-22", *idols(living_first=living_first))
    said = listing(database, exchange, "IDOL/USDT:USDT", market_type=SWAP)
    assert said.remarks == ["IDOL/USDT:USDT is taken for IDOLUSDT, not for IDOL."]
    (symbol,) = symbols_to_collect(database, SWAP, ["IDOL/USDT:USDT"])
    assert (symbol.exchange_id, symbol.entity_id) == ("IDOLUSDT", "cryptoperp_binance_idolusdt")
    (other,) = symbols_to_collect(database, SWAP, ["IDOL"])
    assert (other.exchange_id, other.display_name) == ("IDOL", "IDOL/USDT:USDT")
    assert tracked_now(database, SWAP, ("IDOL/USDT:USDT",)) == ("IDOL/USDT:USDT",)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("IDOL/USDT:USDT", ("IDOL/USDT:USDT",)),
        ("idol/usdt:usdt", ("IDOL/USDT:USDT",)),
        ("IDOL/USDT", ("IDOL/USDT:USDT",)),
        ("idolusdt", ("IDOL/USDT:USDT",)),
        ("idol", ("IDOL",)),
        ("*/USDT", ("BTC/USDT:USDT", "IDOL", "IDOL/USDT:USDT")),
    ],
)
def test_however_a_shared_name_is_written_no_symbol_is_passed_over(database, text, names):
    exchange = exchange_at("2023-03-22", market("BTC/USDT:USDT"), *idols(living_first=False))
    populate_markets(database, exchange, SWAP, (), exchange.clock)
    assert names_meant(database, SWAP, [text]) == names


@pytest.mark.parametrize("reverse", [True, False])
def test_two_symbols_never_become_one_entity_and_the_stored_one_stays_what_it_is(database, reverse):
    both = [market(exchange_id="A_BUSDT"), market(exchange_id="A-BUSDT")]
    exchange = exchange_at("2023-03-22", *(both[::-1] if reverse else both))
    populate_markets(database, exchange, SPOT, (), exchange.clock)
    assert [row["exchange_id"] for row in rows(database, "crypto_pair")] == ["A_BUSDT"]
    entity = "cryptopair_binance_a-busdt"
    assert refusals(database) == {entity: [f"id: 'A_BUSDT' is called '{entity}' already"]}
    exchange.listed = [both[1]]
    populate_markets(database, exchange, SPOT, (), exchange.clock)
    assert [(row["exchange_id"], row["is_active"]) for row in rows(database, "crypto_pair")] == [("A_BUSDT", False)]


def test_an_id_is_kept_as_the_exchange_spells_it(database):
    exchange = exchange_at("2023-03-22", market(exchange_id="bTcUSDT_x"))
    exchange.publish("BTC/USDT", Interval.M1, DAYS)
    listing(database, exchange)
    (symbol,) = symbols_to_collect(database, SPOT, ["BTC/USDT"])
    assert (symbol.exchange_id, symbol.entity_id) == ("bTcUSDT_x", "cryptopair_binance_btcusdt-x")


# What is broken costs itself only.


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"price_step": None}, "price_step"),
        ({"qty_step": float("inf")}, "qty_step"),
        ({"exchange_id": "X" * 65}, "code"),
        ({"base": "B" * 33}, "base_symbol"),
        ({"exchange_id": "B\0USDT"}, "printable"),
        ({"max_order_size": float("inf")}, "finite"),
    ],
)
def test_a_broken_symbol_is_logged_and_all_others_are_stored(any_database, changes, reason):
    exchange = exchange_at("2023-03-22", market("ETH/USDT"), market(**changes))
    for _ in range(2):
        said = populate_markets(any_database, exchange, SPOT, (), exchange.clock)
        assert (said.listed, said.rejected) == (2, 1)
    assert [row["id"] for row in rows(any_database, "crypto_pair")] == ["cryptopair_binance_ethusdt"]
    ((_, issues),) = refusals(any_database).items()
    assert any(reason in issue for issue in issues)


def test_currencies_that_would_be_one_are_kept_apart(database):
    exchange = exchange_at("2023-03-22", market("BTC/USDT"), market("btc/USDT", exchange_id="bUSDT"))
    populate_assets(database, exchange.listed, exchange.clock)
    populate_markets(database, exchange, SPOT, (), exchange.clock)
    assert [row["symbol"] for row in rows(database, "crypto_asset")] == ["BTC", "USDT"]
    assert [row["id"] for row in rows(database, "crypto_pair")] == [BTC]


def test_a_symbol_that_cannot_be_asked_for_keeps_no_other_from_being_listed(database):
    exchange = exchange_at("2023-03-22", market(), market("ETH/USDT"))
    exchange.publish("BTC/USDT", Interval.M1, DAYS)
    of_paper = exchange.first_candle_time

    def first_candle_time(market_type, exchange_id, since=0):
        if exchange_id == "ETHUSDT":
            raise TransientError("HTTP 503")
        return of_paper(market_type, exchange_id, since)

    exchange.first_candle_time = first_candle_time
    with pytest.raises(ExchangeError, match="ETH/USDT: HTTP 503"):
        listing(database, exchange, "ETH/USDT", "BTC/USDT")
    assert dates(database)[0] == naive("2023-03-20")


# Recorded listings.


class Recorded(PaperExchange):
    """An exchange that lists what a recording does; of candles it has a day, and it counts what it is asked."""

    def first_candle_time(self, market_type, exchange_id, since=0):  # noqa: ARG002 - the protocol's
        self.requests += 1
        return max(since, self.clock - 24 * HOUR)

    def last_candle_time(self, market_type, exchange_id):  # noqa: ARG002 - the protocol's
        self.requests += 1
        return self.clock - HOUR

    def markets(self, market_type, refuse=lambda _: None):  # noqa: ARG002 - the protocol's
        return self.listed


def parsed(raw):
    return {"base": raw["baseAsset"], "quote": raw["quoteAsset"], "settle": raw.get("marginAsset")}


def generated(count: int):
    """As many pairs, every third one of which is paused or ended."""
    return [market(f"COIN{number}/USDT", is_active=number % 3 > 0) for number in range(count)]


def statements(database, table, act):
    seen = []

    def note(*said):
        seen.append(said[2])

    with database.connect(table) as connection:
        engine = connection.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        act()
    finally:
        event.remove(engine, "before_cursor_execute", note)
    return len(seen)


def test_only_tracked_symbols_are_asked_for_and_statements_do_not_grow_with_the_listing(database):
    clock = moment("2023-03-22")
    counts = {}
    for size in (20, 400):
        exchange = Recorded(clock=clock, listed=generated(size))
        counts[size] = statements(
            database,
            "crypto_pair",
            lambda exchange=exchange: listing(database, exchange, "COIN0/USDT", "COIN1/USDT"),
        )
        assert exchange.requests == 3  # the first candle of both, the last of the one that does not trade
    assert counts[400] <= counts[20] + 2


def with_recorded(recorded_directory, name, market_type):
    raw = json.loads(gzip.decompress((recorded_directory / name).read_bytes()))
    found = [read_market(market_type, each, parsed, {}) for each in raw["symbols"]]
    return [each for each in found if each is not None], raw.get("serverTime") or moment("2026-03-31T08:43")


@pytest.mark.parametrize(
    ("name", "market_type", "tracked"),
    [
        ("spot/exchangeInfo-2023-10-19.json.gz", SPOT, ("BTC/USDT", "LUNA/BTC", "VEN/BTC")),
        ("usdm/exchangeInfo-demo-2026-03-31.json.gz", SWAP, ("BTC/USDT:USDT", "IDOL/USDT:USDT", "OCEAN/USDT:USDT")),
    ],
)
def test_a_recorded_listing_is_the_same_in_both_orders_and_the_second_time(
    any_database, recorded_directory, name, market_type, tracked
):
    table = market_type.entity_table
    markets, clock = with_recorded(recorded_directory, name, market_type)
    exchange = Recorded(clock=clock, listed=markets)
    said = populate_markets(any_database, exchange, market_type, tracked, clock)
    first, asked = rows(any_database, table), exchange.requests
    assert asked <= 2 * len(tracked)
    for order in (markets, markets[::-1]):
        exchange.listed = order
        exchange.clock += 6 * HOUR
        exchange.first_candle_time = lambda *_: clock - 24 * HOUR
        exchange.last_candle_time = lambda *_: clock - HOUR
        again = populate_markets(any_database, exchange, market_type, tracked, exchange.clock)
        assert rows(any_database, table) == first
        assert sorted(again.remarks) == sorted(said.remarks)
    if market_type is SWAP:
        by_id = {row["exchange_id"]: row for row in first}
        settling = [each for each in markets if each.status == "SETTLING"]
        assert len(settling) == 53
        assert all(by_id[each.exchange_id]["end_date"] is not None for each in settling)
        (symbol,) = symbols_to_collect(any_database, SWAP, ["IDOL/USDT:USDT"])
        assert symbol.exchange_id == "IDOLUSDT"


def test_an_unread_symbol_is_logged_with_what_it_said(database):
    class Unread(PaperExchange):
        def markets(self, market_type, refuse=lambda _: None):
            refuse(RefusedSymbol("NaNUSDT", {"symbol": "NaNUSDT", "filters": [float("nan"), 10**30, "\0"]}, "broken"))
            return super().markets(market_type)

    exchange = Unread(clock=moment("2023-03-22"))
    said = populate_markets(database, exchange, SPOT, (), exchange.clock)
    assert (said.listed, said.rejected) == (2, 1)
    assert refusals(database) == {"binance_NaNUSDT": ["broken"]}


def test_a_tracked_symbol_that_was_refused_is_unknown(database):
    exchange = exchange_at("2023-03-22", market("ETH/USDT"), market(price_step=None))
    with pytest.raises(UnknownSymbol, match="BTC/USDT"):
        listing(database, exchange)
    assert len(rows(database, "crypto_pair")) == 1


def test_an_ended_symbol_that_nobody_tracks_is_owed_until_its_end_once_it_is_collected(database):
    exchange = exchange_at("2023-04-01", market(is_active=False))
    for interval in (Interval.M1, Interval.H1):
        exchange.publish("BTC/USDT", interval, DAYS)
    populate_markets(database, exchange, SPOT, (), exchange.clock)
    assert dates(database) == (None, None)
    collect(database, exchange, MONTHLY, Span(moment("2023-03-01"), moment("2023-04-01")))
    assert dates(database) == (naive("2023-03-20"), naive("2023-03-23"))
    assert owed(database) == [DAYS]
