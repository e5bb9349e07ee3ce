"""What can go wrong when an exchange is asked: one tree, each message one sentence with what, where and what to do.

Here belong the error classes only. How an HTTP answer becomes one of them belongs to `faults`. Raised by this package;
caught by `orchestration` and `cli`, which need no knowledge of ccxt.
"""

from __future__ import annotations

from collections.abc import Sequence


class ExchangeError(Exception):
    """Any failure of a request to an exchange. Catch this one to go on with the next symbol."""


class TransientError(ExchangeError):
    """The exchange or the way to it failed for now; the request was retried and may be asked again later.

    `unreachable` says that no connection was made at all (DNS failure, refused, connect timeout).
    """

    def __init__(self, message: str, *, unreachable: bool = False) -> None:
        super().__init__(message)
        self.unreachable = unreachable


class RateLimited(ExchangeError):  # noqa: N818 - the name users of the package read
    """The exchange asks to wait `retry_after_s` seconds; `banned` when it refuses every request until then (418)."""

    def __init__(self, message: str, *, retry_after_s: float, banned: bool) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.banned = banned


class UnknownSymbol(ExchangeError):  # noqa: N818 - the name users of the package read
    """The exchange lists no such symbol; `nearest` are listed symbols that look like it, best first."""

    def __init__(self, symbol: str, nearest: Sequence[str] = (), *, where: str = "the exchange") -> None:
        hint = f"; did you mean {', '.join(nearest)}?" if nearest else "; check the spelling and the market"
        super().__init__(f"{where} lists no symbol {symbol!r}{hint}")
        self.symbol = symbol
        self.nearest = list(nearest)


class ContractViolation(ExchangeError):  # noqa: N818 - the name users of the package read
    """An answer, or the exchange's refusal of a request, contradicts the documented API; asking again will not help."""


class ConfigurationError(ExchangeError):
    """A setting must change before this can work; the message names it."""
