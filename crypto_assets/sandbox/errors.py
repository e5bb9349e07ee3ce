"""Refusals in Binance's words: the code, the sentence and the HTTP status of everything the sandbox declines.

Here belong the texts; when to refuse belongs to `endpoints`, `limits` and `faults`, the callers.
"""

from __future__ import annotations

import orjson

GEO_BLOCKED = (
    "Service unavailable from a restricted location according to 'b. Eligibility' in "
    "https://www.binance.com/en/terms. Please contact customer service if you believe you received this message "
    "in error."
)


class ApiError(Exception):
    """A refusal: Binance's code and message, the HTTP status, and the seconds of `Retry-After`, if any."""

    def __init__(self, code: int, message: str, status: int = 400, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.retry_after = retry_after

    def body(self) -> bytes:
        """The JSON body Binance sends."""
        return orjson.dumps({"code": self.code, "msg": self.message})


def invalid_symbol() -> ApiError:
    """-1121: no such symbol in this market."""
    return ApiError(-1121, "Invalid symbol.")


def invalid_interval() -> ApiError:
    """-1120: an interval the endpoint does not have."""
    return ApiError(-1120, "Invalid interval.")


def missing(parameter: str) -> ApiError:
    """-1102: a mandatory parameter was not sent or is empty."""
    return ApiError(-1102, f"Mandatory parameter '{parameter}' was not sent, was empty/null, or malformed.")


def illegal_characters(parameter: str, legal: str) -> ApiError:
    """-1100: a parameter does not match its legal range, a regular expression."""
    return ApiError(-1100, f"Illegal characters found in parameter '{parameter}'; legal range is '{legal}'.")


def invalid_data(parameter: str) -> ApiError:
    """-1130: a well-formed value that is out of range."""
    return ApiError(-1130, f"Data sent for parameter '{parameter}' is not valid.")


def too_many_requests(limit: int, retry_after: int) -> ApiError:
    """429: the minute's weight is used up."""
    text = f"Too much request weight used; current limit is {limit} request weight per 1 MINUTE. Please use WebSocket"
    return ApiError(-1003, f"{text} Streams for live updates to avoid polling the API.", 429, retry_after)


def banned(until_ms: int, retry_after: int) -> ApiError:
    """418: the address is banned until a time in ms UTC, which clients parse out of the sentence."""
    text = f"Way too much request weight used; IP banned until {until_ms}."
    return ApiError(-1003, f"{text} Please use WebSocket Streams for live updates to avoid bans.", 418, retry_after)


def geo_blocked() -> ApiError:
    """451: the address is in a country Binance does not serve; its code is 0."""
    return ApiError(0, GEO_BLOCKED, 451)


def not_found(path: str) -> ApiError:
    """404: no such path."""
    return ApiError(-5000, f"Path {path}, Method GET is invalid", 404)
