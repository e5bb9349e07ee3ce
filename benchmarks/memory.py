"""The collecting process's peak memory, in a process of its own, with as many pages in flight as by default.

The database it fills can be kept.
"""

from __future__ import annotations

import importlib
from contextlib import closing
from typing import Any

from benchmarks.collecting import TABLE, exchange_at, prepare
from benchmarks.processes import peak_megabytes
from crypto_assets.collect.run import collect_table
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets.domain.spans import Span
from crypto_assets.settings import Settings

_LOADED_ON_USE = ("ccxt", "tenacity", "pandera.pandas", "filelock", "alembic.command", "alembic.config")
_DAY_MS = 86_400_000


def measure(url: str, directory: str, symbols: list[str], start: int, days: int) -> dict[str, Any]:
    """Collects `days` of each symbol from `start` (ms) into a new database in `directory`."""
    for module in _LOADED_ON_USE:
        importlib.import_module(module)
    imports = peak_megabytes()
    database = prepare(url, directory, symbols)
    with closing(exchange_at(url, Settings.model_fields["pages_in_flight"].default)) as exchange:
        window = Span(start, start + days * _DAY_MS)
        run = collect_table(exchange, database, KDATA_TABLES[TABLE], symbols, window, only_missing=False)
    if run.failures:
        raise RuntimeError(f"not all was stored: {run.failures}")
    database.dispose()
    return {"rows": run.row_count, "megabytes": peak_megabytes(), "above_imports": peak_megabytes() - imports}
