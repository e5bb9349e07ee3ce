"""Two exchanges in one database: the same engine for both, and neither touches what is the other's."""

from __future__ import annotations

import pytest
from sqlalchemy import delete, select

from crypto_assets.collect.run import collect_table
from crypto_assets.collect.symbols import populate_markets, symbols_to_collect
from crypto_assets.database.archive.move import archive_candles, restore_candles
from crypto_assets.database.engines import open_database
from crypto_assets.database.migrations import migrate
from crypto_assets.database.queries import query_data
from crypto_assets.database.removal.rollback import Depth, carry_out
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import MINUTE_MS, Interval, to_naive
from crypto_assets.domain.series import CandleTable
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.errors import UnknownSymbol
from crypto_assets.exchange.venues import add_venue
from crypto_assets.quality.gaps.ledger import USUAL
from crypto_assets.quality.gaps.rows import load_gaps
from crypto_assets.quality.scores import record_scores
from crypto_assets.quality.verification.examination import examine
from crypto_assets_tests import tiny_exchange
from crypto_assets_tests.paper_exchange import PaperExchange, market, moment
from crypto_assets_tests.tiny_exchange import TinyExchange

FIVE_MINUTES = CandleTable(MarketType.SPOT, Interval.M5)
DAY = Span(moment("2023-03-20"), moment("2023-03-21"))
CLOCK = moment("2023-03-22T10:07:30")
NOW = to_naive(CLOCK)
LACKING = DAY.start + 30 * 5 * MINUTE_MS
KEPT = ("crypto_asset", "crypto_pair", FIVE_MINUTES.name, "crypto_kdata_coverage", "crypto_kdata_gap")


@pytest.fixture(autouse=True, scope="module")
def known():
    add_venue(tiny_exchange.PROVIDER, tiny_exchange.__name__)


@pytest.fixture
def both(any_database, database_url):
    """The database as each of the two sees it."""
    other = open_database(database_url, "sandbox", tiny_exchange.PROVIDER)
    if other.engine == "sqlite":
        migrate(other)
    yield any_database, other
    other.dispose()


def exchanges():
    shipped = PaperExchange(clock=CLOCK, listed=[market("BTC/USDT"), market("BTC/USD")])
    for each in shipped.listed:
        shipped.publish(each.symbol, Interval.M5, DAY)
    return shipped, TinyExchange(CLOCK, lacking={LACKING})


def listed(database, exchange, symbol):
    populate_markets(database, exchange, MarketType.SPOT, [symbol], exchange.clock)


def collected(database, exchange, symbol="BTC/USD", **options):
    return collect_table(exchange, database, FIVE_MINUTES, [symbol], DAY, **{"only_missing": False} | options)


def rows_of(database, provider):
    """What is stored of a provider, by table."""
    found = {}
    for name in KEPT:
        table = TABLES[name]
        of = table.c.exchange if "exchange" in table.c else table.c.provider
        with database.connect(name) as connection:
            found[name] = sorted(map(repr, connection.execute(select(table).where(of == provider)).all()))
    return found


def test_each_lists_collects_and_examines_its_own_and_leaves_the_others_as_it_was(both):
    (shipped, tiny), (database, other) = exchanges(), both
    listed(database, shipped, "BTC/USD")
    collected(database, shipped)
    before = rows_of(database, "binance")
    listed(other, tiny, "BTC/USD")
    run = collected(other, tiny)
    assert run.failures == {}
    assert run.total.inserted == 287
    said = examine(other, FIVE_MINUTES, NOW, USUAL, deep=True)
    record_scores(other, said, NOW, deep=True)
    assert [each.entity_id for each in said.completeness] == ["cryptopair_tiny_xxbtzusd"]
    assert not any(finding.count for finding in said.findings.values())
    assert rows_of(database, "binance") == before
    stored = rows_of(other, "tiny")
    assert len(stored[FIVE_MINUTES.name]) == 287
    assert len(stored["crypto_pair"]) == 1
    said = examine(database, FIVE_MINUTES, NOW, USUAL, deep=True)
    assert [each.entity_id for each in said.completeness] == ["cryptopair_binance_btcusd"]
    assert not any(finding.count for finding in said.findings.values())
    assert rows_of(other, "tiny") == stored


def test_what_one_lacks_is_in_its_own_ledger_and_comes_with_its_own_repair(both):
    (shipped, tiny), (database, other) = exchanges(), both
    for each, exchange in ((database, shipped), (other, tiny)):
        listed(each, exchange, "BTC/USD")
        collected(each, exchange)
    with other.connect(FIVE_MINUTES.name) as connection:
        assert [gap.span.start for gap in load_gaps(connection, FIVE_MINUTES)["cryptopair_tiny_xxbtzusd"]] == [LACKING]
    with database.connect(FIVE_MINUTES.name) as connection:
        assert load_gaps(connection, FIVE_MINUTES) == {}
    tiny.lacking.clear()
    assert collected(other, tiny, only_missing=True).total.inserted == 1
    assert collected(database, shipped, only_missing=True).total.received == 0


def test_a_symbol_means_the_providers_own_listing(both):
    (shipped, tiny), (database, other) = exchanges(), both
    listed(database, shipped, "BTC/USD")
    listed(other, tiny, "BTC/USD")
    # A second listing of one knows nothing of the other's symbols, and takes none of them for gone.
    listed(database, shipped, "BTC/USD")
    [own] = symbols_to_collect(database, MarketType.SPOT, ["BTC/USD"])
    [others] = symbols_to_collect(other, MarketType.SPOT, ["BTC/USD"])
    assert (own.exchange_id, others.exchange_id) == ("BTCUSD", "XXBTZUSD")
    pairs = TABLES["crypto_pair"]
    with other.connect("crypto_pair") as connection:
        assert connection.scalar(select(pairs.c.is_active).where(pairs.c.exchange == "tiny"))
    with pytest.raises(UnknownSymbol):
        symbols_to_collect(other, MarketType.SPOT, ["BTC/USDT"])


def test_a_row_that_goes_behind_ones_back_is_found_by_its_own_provider(both):
    (shipped, tiny), (database, other) = exchanges(), both
    for each, exchange in ((database, shipped), (other, tiny)):
        listed(each, exchange, "BTC/USD")
        collected(each, exchange)
    table = TABLES[FIVE_MINUTES.name]
    with other.begin(FIVE_MINUTES.name) as connection:
        own = table.c.entity_id == "cryptopair_tiny_xxbtzusd"
        connection.execute(delete(table).where(own, table.c.timestamp == to_naive(DAY.start)))
    assert examine(database, FIVE_MINUTES, NOW, USUAL).looked_at == 0
    assert examine(other, FIVE_MINUTES, NOW, USUAL).looked_at == 1


def test_a_month_that_one_archives_is_read_and_restored_by_it_alone(both, tmp_path):
    (shipped, tiny), (database, other) = exchanges(), both
    for each, exchange in ((database, shipped), (other, tiny)):
        listed(each, exchange, "BTC/USD")
        collected(each, exchange)
    before, own = rows_of(database, "binance"), rows_of(other, "tiny")
    files = tmp_path / "archive"
    archive_candles(other, files, FIVE_MINUTES, [("cryptopair_tiny_xxbtzusd", "2023-03-01")])
    assert rows_of(database, "binance") == before
    assert rows_of(other, "tiny")[FIVE_MINUTES.name] == []
    asked = {"columns": ["entity_id", "timestamp", "close"], "archive_directory": files}
    assert len(query_data(FIVE_MINUTES.name, database=database, codes=["btcusd"], **asked)) == 288
    assert len(query_data(FIVE_MINUTES.name, database=other, codes=["xxbtzusd"], **asked)) == 287
    restore_candles(other, files, FIVE_MINUTES)
    assert rows_of(other, "tiny")[FIVE_MINUTES.name] == own[FIVE_MINUTES.name]
    assert rows_of(database, "binance") == before


def test_a_rollback_of_one_provider_leaves_the_other_whole(both):
    (shipped, tiny), (database, other) = exchanges(), both
    for each, exchange in ((database, shipped), (other, tiny)):
        listed(each, exchange, "BTC/USD")
        collected(each, exchange)
    before = rows_of(database, "binance")
    carry_out(other, Depth.PROVIDER, "tiny")
    assert rows_of(database, "binance") == before
    assert rows_of(other, "tiny")[FIVE_MINUTES.name] == []
    assert len(query_data(FIVE_MINUTES.name, database=database)) == 288
