"""Eight bootstraps at once on an empty machine: all succeed, and leave what one would."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sqlalchemy import func, select

from crypto_assets.database.engines import open_database
from crypto_assets.database.tables import TABLES

ROOT = Path(__file__).parents[2]

# What job bootstrap does, without Dagster: loading that eight times would take longer than all the rest.
BOOTSTRAP = """
import sys
from crypto_assets.database.engines import open_database
from crypto_assets.database.migrations import migrate
from crypto_assets.domain.entities import MarketType
from crypto_assets.orchestration.population import populate_assets, populate_markets
from crypto_assets_tests.paper_exchange import PaperExchange, market
database = open_database({database!r}, "sandbox")
exchange = PaperExchange(clock=1_700_000_000_000, listed=[market(f"{{base}}/USDT") for base in ("BTC", "ETH", "SOL")])
print("ready", flush=True)
sys.stdin.readline()
migrate(database)
populate_assets(database, exchange.markets(MarketType.SPOT), exchange.server_time(MarketType.SPOT))
populate_markets(database, exchange, MarketType.SPOT, ["BTC/USDT"], exchange.server_time(MarketType.SPOT))
"""


def test_eight_bootstraps_at_once_all_succeed(empty_url, tmp_path):
    code = BOOTSTRAP.format(database=empty_url)
    # Into files: a full pipe would stop the one whose lock the others wait for.
    said = [tmp_path / f"{number}.txt" for number in range(8)]
    started = []
    for file in said:
        with file.open("wb") as stderr:
            started.append(
                subprocess.Popen(
                    [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, cwd=ROOT
                )
            )
    for process in started:
        assert process.stdout.readline() == b"ready\n"
    for process in started:
        process.stdin.write(b"go\n")
        process.stdin.flush()
    for process in started:
        process.communicate()
    assert [process.returncode for process in started] == [0] * 8, [file.read_text()[-3000:] for file in said]
    database = open_database(empty_url, "sandbox")
    for table, rows in {"crypto_asset": 4, "crypto_pair": 3, "crypto_database_identity": 1}.items():
        with database.connect(table) as connection:
            assert connection.scalar(select(func.count()).select_from(TABLES[table])) == rows
    database.dispose()
