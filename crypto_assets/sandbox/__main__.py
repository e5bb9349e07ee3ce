"""`python -m crypto_assets.sandbox`: the sandbox exchange from the command line, until Ctrl-C.

Here belongs the reading of options; what they do belongs to `server` and the datasets.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from crypto_assets.domain.intervals import parse_time
from crypto_assets.sandbox.dataset import Dataset
from crypto_assets.sandbox.faults import KINDS, parse_fault
from crypto_assets.sandbox.generated import GENESIS_MS, GeneratedDataset
from crypto_assets.sandbox.limits import SPOT_BUDGET, SWAP_BUDGET
from crypto_assets.sandbox.recorded import RecordedDataset
from crypto_assets.sandbox.server import LOOPBACK, serve


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m crypto_assets.sandbox", description="An exchange on loopback that speaks Binance's wire format."
    )
    parser.add_argument("--host", default=LOOPBACK)
    parser.add_argument("--port", type=int, default=8899, help="0 takes a free port (default: %(default)s)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="serve recordings instead of generated candles")
    parser.add_argument("--seed", type=int, default=0, help="of the generated candles (default: %(default)s)")
    parser.add_argument("--genesis", default=None, metavar="DATE", help="first listing, ISO, UTC (default: 2023-01-01)")
    parser.add_argument("--symbols", type=int, metavar="N", help="this many generated symbols per market")
    parser.add_argument("--latency-ms", type=float, default=0, help="every answer waits this long")
    parser.add_argument("--no-budget", action="store_true", help="no weight limit")
    parser.add_argument("--gzip", action="store_true", help="compress answers for clients that accept it")
    parser.add_argument(
        "--fault", action="append", default=[], metavar="KIND:FIELD=VALUE,…", help=f"repeatable; {', '.join(KINDS)}"
    )
    return parser


def _dataset(options: argparse.Namespace) -> Dataset:
    if options.data is None:
        genesis = GENESIS_MS if options.genesis is None else parse_time(options.genesis)
        return GeneratedDataset(options.seed, genesis, options.symbols)
    recorded = RecordedDataset(options.data)
    for file, reason in recorded.skipped:
        print(f"skipped {file}: {reason}", file=sys.stderr)  # noqa: T201
    return recorded


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the sandbox until it is stopped; returns 0, or 2 after one sentence about what was wrong."""
    options = _parser().parse_args(arguments)
    try:
        serve(
            _dataset(options),
            host=options.host,
            port=options.port,
            spot_budget=None if options.no_budget else SPOT_BUDGET,
            futures_budget=None if options.no_budget else SWAP_BUDGET,
            latency_ms=options.latency_ms,
            faults=[parse_fault(text) for text in options.fault],
            compress=options.gzip,
        )
    except OSError as error:
        print(f"error: {error.strerror or error}", file=sys.stderr)  # noqa: T201
        return 2
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
