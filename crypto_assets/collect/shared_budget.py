"""The request budget that the workers of several machines share, in their common database.

Here belongs joining the exchange's ledgers with the database's shared state, and going on without it where the database
cannot be used. What a ledger says belongs to `exchange.budget.account`, the rows to `database.shared_state`. Made by
`resources`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from crypto_assets.database.errors import DatabaseError
from crypto_assets.database.shared_state import SharedState
from crypto_assets.exchange.budget.account import FORMAT, Ledger

_T = TypeVar("_T")

# A database that was started again is shared again; one that hangs costs a run a few seconds in so many.
ASK_AGAIN_S = 60.0

_log = logging.getLogger(__name__)


class DatabaseStore:
    """Ledgers in a server's database; while it cannot be used, a warning, and nothing that holds anybody back.

    To be asked beside the machine's own store, which then is the only one that does. For any number of threads.
    `seconds` is a clock that only grows.
    """

    def __init__(self, state: SharedState, *, seconds: Callable[[], float] = time.monotonic) -> None:
        self._state = state
        self._seconds = seconds
        self._lock = threading.Lock()
        self._unusable_until = 0.0

    def change(self, host: str, apply: Callable[[Ledger], _T]) -> _T:
        """See `LedgerStore`. Never fails because of the database."""
        with self._lock:  # whoever waited for it must know that the one before found the database gone
            if self._seconds() >= self._unusable_until:
                try:
                    return self._state.change(f"{FORMAT} {host}", lambda text: _changed(text, apply))
                except (DatabaseError, SQLAlchemyError, ValueError) as error:
                    self._unusable_until = self._seconds() + ASK_AGAIN_S
                    _warn(
                        f"the request budget is not shared with other machines for now, because {self._state.location} "
                        f"cannot be used for it ({error}); this machine's processes go on with their own"
                    )
        return apply(Ledger())

    def close(self) -> None:
        """See `LedgerStore`."""
        with self._lock, suppress(DatabaseError, SQLAlchemyError):
            self._state.close()


def _changed(text: str, apply: Callable[[Ledger], _T]) -> tuple[_T, str]:
    ledger = Ledger.from_json(text) if text else Ledger()
    result = apply(ledger)
    return result, ledger.to_json().decode()


@cache
def _warn(message: str) -> None:
    """Once a process: every run opens a store of its own."""
    _log.warning(message)
