"""CPU seconds of the six checks of a candle table, in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks.collecting import TABLE, open_benchmark
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets.quality.gaps.missing import completeness
from crypto_assets.quality.rules.candles import duplicates, invalid_ohlc, null_ohlc, off_grid, unknown_entities


def measure(directory: str) -> dict[str, Any]:
    """Each check once over everything stored in `directory`, in the order they run, on one connection."""
    market_type, interval = KDATA_TABLES[TABLE]
    table, entities = TABLES[TABLE], TABLES[market_type.entity_table]
    database = open_benchmark(directory)
    seconds: dict[str, float] = {}
    with database.connect(TABLE) as connection:
        checks: dict[str, Callable[[], Any]] = {
            "no_duplicates": lambda: duplicates(connection, table).count,
            "no_null_ohlc": lambda: null_ohlc(connection, table).count,
            "valid_ohlc": lambda: invalid_ohlc(connection, table).count,
            "no_gaps": lambda: sum(each.missing for each in completeness(connection, KDATA_TABLES[TABLE])),
            "on_grid": lambda: off_grid(connection, table, interval).count,
            "known_entities": lambda: unknown_entities(connection, table, entities).count,
        }
        for name, check in checks.items():
            before = time.process_time()
            offending = check()
            seconds[name] = time.process_time() - before
            if offending:
                raise RuntimeError(f"{name}: {offending} rows offend")
    database.dispose()
    return {"seconds": seconds}
