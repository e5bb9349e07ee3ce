"""Waits that can be ended: for the request budget, for a fence, before another attempt.

Here belongs how a thread waits and how all of them are told to stop. How long is said by `budget` and `connection`.
Made by `exchange.<venue>`.
"""

from __future__ import annotations

import threading

from crypto_assets.exchange.errors import ExchangeError


class Pauses:
    """The waits of one client's threads. `stop` ends all of them at once, and no other begins afterwards."""

    def __init__(self) -> None:
        self._stopped = threading.Event()

    def wait(self, seconds: float) -> None:
        """Returns after `seconds`. Raises ExchangeError as soon as `stop` is called, or at once if it was."""
        if self._stopped.wait(seconds):
            raise ExchangeError("not waited for and not asked again: the run was stopped")

    def stop(self) -> None:
        """Lets nobody wait any longer."""
        self._stopped.set()
