"""Backfills as users start them: `crypto-assets backfill` in a process of its own, with a place of its own.

Called by the sections that load the exchange or kill what runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.collecting import ENVIRONMENT, TABLE, prepare
from crypto_assets.domain.intervals import DAY_MS, format_time

_ROOT = Path(__file__).resolve().parent.parent
_COMMAND = Path(sys.executable).with_name("crypto-assets")
_QUIET = "telemetry:\n  enabled: false\nnux:\n  enabled: false\n"


@dataclass(frozen=True)
class Backfill:
    """`days` of one-minute candles of `symbols` from `start` (ms), into `place`, from the exchange at `url`.

    Those with the same `state_directory` spend one request budget.
    """

    url: str
    place: Path
    symbols: Sequence[str]
    start: int
    days: int
    in_flight: int
    state_directory: Path

    @property
    def data(self) -> Path:
        """The database's directory."""
        return self.place / "data"

    def prepare(self) -> None:
        """Makes the place: a migrated database that lists the symbols, and an empty Dagster history."""
        history = self.place / "dagster"
        history.mkdir(parents=True)
        (history / "dagster.yaml").write_text(_QUIET)
        prepare(self.url, str(self.data), list(self.symbols), state_directory=self.state_directory).dispose()

    def begin(self) -> subprocess.Popen[str]:
        """The process; its output is to be read by `end`, or by nobody once it was killed."""
        first, last = (format_time(self.start + days * DAY_MS)[:10] for days in (0, self.days - 1))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CRYPTO_ASSETS_")}
        environment |= {
            "CRYPTO_ASSETS_ENVIRONMENT": ENVIRONMENT,
            "CRYPTO_ASSETS_DATABASE": f"sqlite:///{self.data}",
            "CRYPTO_ASSETS_SPOT_URL": self.url,
            "CRYPTO_ASSETS_FUTURES_URL": self.url,
            "CRYPTO_ASSETS_PAIRS": ",".join(self.symbols),
            "CRYPTO_ASSETS_PERPS": "",
            "CRYPTO_ASSETS_START": first,
            "CRYPTO_ASSETS_STATE_DIRECTORY": str(self.state_directory),
            "CRYPTO_ASSETS_PAGES_IN_FLIGHT": str(self.in_flight),
            "DAGSTER_HOME": str(self.place / "dagster"),
        }
        command = [str(_COMMAND), "backfill", "--select", TABLE, "--start", first, "--end", last, "--yes", "--json"]
        return subprocess.Popen(
            command, env=environment, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def end(self, process: subprocess.Popen[str]) -> None:
        """Waits for the process. Raises RuntimeError with what it said where it failed."""
        _, said = process.communicate()
        if process.returncode:
            raise RuntimeError(f"a backfill ended with exit code {process.returncode}: {said}")
