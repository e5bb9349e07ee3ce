"""Eight bootstraps at once on an empty machine: all succeed, and leave what one would."""

from __future__ import annotations

from sqlalchemy import func, select

from crypto_assets.database.engines import open_database
from crypto_assets.database.migrations import current_revisions
from crypto_assets.database.revisions import HEAD
from crypto_assets.database.tables import TABLES
from crypto_assets_tests.processes_at_once import run_at_once

# What job bootstrap does, without Dagster: loading that would take longer than all the rest.
IMPORTS = """
from crypto_assets.database.engines import open_database
from crypto_assets.database.migrations import migrate
from crypto_assets.domain.entities import MarketType
from crypto_assets.collect.symbols import populate_assets, populate_markets
from crypto_assets_tests.paper_exchange import PaperExchange, market
"""
BOOTSTRAP = """
database = open_database({database!r}, "sandbox")
exchange = PaperExchange(clock=1_700_000_000_000, listed=[market(f"{{base}}/USDT") for base in ("BTC", "ETH", "SOL")])
migrate(database)
populate_assets(database, exchange.markets(MarketType.SPOT), exchange.server_time(MarketType.SPOT))
populate_markets(database, exchange, MarketType.SPOT, ["BTC/USDT"], exchange.server_time(MarketType.SPOT))
"""


def test_eight_bootstraps_at_once_all_succeed(empty_url):
    run_at_once(8, IMPORTS, BOOTSTRAP.format(database=empty_url))
    database = open_database(empty_url, "sandbox")
    assert set(current_revisions(database).values()) == {HEAD}
    for table, rows in {"crypto_asset": 4, "crypto_pair": 3, "crypto_database_identity": 1}.items():
        with database.connect(table) as connection:
            assert connection.scalar(select(func.count()).select_from(TABLES[table])) == rows
    database.dispose()
