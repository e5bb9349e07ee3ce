"""`freqtrade download-data`, by REST or as it comes, once, from its start to its end, in a process that only waits.

As it comes it reads the daily files of the public archive, and no checksums. Its CPU time is that of the command,
start-up and all: who wants the cost of a row compares two numbers of days. By REST it asks in steps of whole pages and
drops the newest candle of each symbol, as still unfinished; both are accounted for. Where freqtrade comes from belongs
to `freqtrade_environment`.
"""

from __future__ import annotations

import json
import resource
import subprocess
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pyarrow import feather

from benchmarks.ccxt_clients import client_options

_DAY_MS = 86_400_000
_MINUTE_MS = 60_000
_PAGE = 1000
_KLINES = "/api/v3/klines"
_DROPPED = 1  # of each symbol, by REST
_ELSEWHERE = Path(__file__).with_name("freqtrade_elsewhere.py")


def measure(
    url: str, directory: str, command: str, symbols: list[str], start: int, days: int, files: bool = False
) -> dict[str, Any]:
    """Downloads `days` of each symbol from `start` (ms) into `directory`, with `files` from the archive at `url`.

    By REST, `days` make up whole pages. Raises RuntimeError unless every candle was asked for there, and is in what
    freqtrade wrote.
    """
    arguments = _arguments(url, Path(directory), symbols, start, start + days * _DAY_MS, files)
    whole = [str(Path(command).with_name("python")), str(_ELSEWHERE), url] if files else [command]
    _forget_requests(url)
    before, wall = _children_seconds(), time.perf_counter()
    done = subprocess.run([*whole, *arguments], capture_output=True, text=True, check=False)
    total, wall = _children_seconds() - before, time.perf_counter() - wall
    if done.returncode:
        raise RuntimeError(f"freqtrade ended with exit code {done.returncode}: {done.stderr[-1000:]}")
    requests = _check_files_asked(url, len(symbols), days) if files else _check_requests(url, len(symbols), days)
    for symbol in symbols:
        written = Path(directory) / "candles" / f"{symbol.replace('/', '_')}-1m.feather"
        _check_file(written, start, days * _DAY_MS // _MINUTE_MS - (0 if files else _DROPPED))
    rows = len(symbols) * days * _DAY_MS // _MINUTE_MS
    return {"rows": rows, "seconds": total, "wall": wall, "requests": requests}


def _arguments(url: str, directory: Path, symbols: list[str], start: int, end: int, files: bool) -> list[str]:
    """The command's arguments; writes the configuration that they name."""
    configuration = {
        "dry_run": True,
        "trading_mode": "spot",
        "exchange": {
            "name": "binance",
            "only_from_ccxt": not files,  # else candles come from the public archive, not from REST
            "ccxt_config": client_options(url),
            "pair_whitelist": symbols,
        },
    }
    (directory / "config.json").write_text(json.dumps(configuration))
    (directory / "user").mkdir()
    (directory / "candles").mkdir()
    return [
        *("download-data", "--config", str(directory / "config.json"), "--userdir", str(directory / "user")),
        *("--datadir", str(directory / "candles"), "--timeframes", "1m", "--timerange", f"{_date(start)}-{_date(end)}"),
        *("--pairs", *symbols),
    ]


def _date(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y%m%d}"


def _forget_requests(url: str) -> None:
    request = urllib.request.Request(f"{url}/sandbox/requests", method="DELETE")  # noqa: S310 - loopback
    urllib.request.urlopen(request).close()  # noqa: S310 - loopback


def _check_requests(url: str, symbols: int, days: int) -> int:
    """How many pages were asked for: all of them, and one more of each symbol for its listing date."""
    log = _requests(url)
    asked, refused = log["by_path"].get(_KLINES, 0), set(log["by_status"]) - {"200"}
    pages = symbols * (days * _DAY_MS // _MINUTE_MS // _PAGE + 1)
    if asked != pages or refused:
        raise RuntimeError(f"freqtrade asked for {asked} pages instead of {pages}; by status: {log['by_status']}")
    return int(asked)


def _check_files_asked(url: str, symbols: int, days: int) -> int:
    """How many files were asked for: those of all days, and of the one after; a page more of each symbol."""
    log = _requests(url)
    files = sum(asked for path, asked in log["by_path"].items() if path.endswith(".zip"))
    pages, refused = log["by_path"].get(_KLINES, 0), set(log["by_status"]) - {"200"}
    if (files, pages) != (symbols * (days + 1), symbols) or refused:
        raise RuntimeError(f"freqtrade asked for {files} files and {pages} pages; by status: {log['by_status']}")
    return files


def _requests(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}/sandbox/requests") as answer:  # noqa: S310 - loopback
        log: dict[str, Any] = json.load(answer)
    return log


def _check_file(file: Path, start: int, expected: int) -> None:
    dates = feather.read_table(file, columns=["date"])["date"].to_pandas()
    times = dates.astype("datetime64[ms, UTC]").astype("int64")
    if len(times) != expected or times.nunique() != expected or times.min() != start:
        raise RuntimeError(f"{file.name} has {len(times)} rows from {times.min()}, not {expected} from {start}")


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
