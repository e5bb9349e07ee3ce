"""freqtrade's command with its public archive at another address: `python freqtrade_elsewhere.py URL COMMAND ...`.

freqtrade has a setting for the exchange's host, none for the archive's. Here belongs that one replacement; all else is
freqtrade's own. Run by the Python of freqtrade's environment, for `freqtrade_download`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module

_HOST = "https://data.binance.vision"


def _elsewhere(address: Callable[..., str], url: str) -> Callable[..., str]:
    """`address`, which says where a file is, with that file at `url`. Raises ValueError where it named another host."""

    def replaced(*arguments: object, **named: object) -> str:
        whole = address(*arguments, **named)
        if not whole.startswith(_HOST):
            raise ValueError(f"{whole} is not at {_HOST}")
        return url + whole.removeprefix(_HOST)

    return replaced


def main(url: str, arguments: list[str]) -> None:
    """Runs `arguments` as freqtrade's command line, which ends the process."""
    archive = import_module("freqtrade.exchange.binance_public_data")
    archive.binance_vision_ohlcv_zip_url = _elsewhere(archive.binance_vision_ohlcv_zip_url, url)
    import_module("freqtrade.main").main(arguments)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
