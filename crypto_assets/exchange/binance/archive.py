"""Binance's public archive over HTTP: closed months and days of candles as files, each checked against its checksum.

Here belong requests and checksums. Where an archive is belongs to `hosts`, which files there should be to
`archive_files`, what is inside them to `archive_csv`. Made by `venue`.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import Interval
from crypto_assets.domain.spans import Span
from crypto_assets.domain.urls import is_loopback
from crypto_assets.exchange.binance.archive_csv import ArchiveCandles, read_archive
from crypto_assets.exchange.binance.archive_files import ArchiveFile, files_for
from crypto_assets.exchange.binance.faults import stated_wait_s
from crypto_assets.exchange.bulk_files import BulkFile
from crypto_assets.exchange.errors import (
    ConfigurationError,
    ContractViolation,
    ExchangeError,
    RateLimited,
    TransientError,
)
from crypto_assets.exchange.pauses import Pauses
from crypto_assets.exchange.retrying import RetryPolicy, make_retrying

if TYPE_CHECKING:
    import requests

ARCHIVE_SETTING = "CRYPTO_ASSETS_ARCHIVE_URL"
_TOO_OFTEN = (HTTPStatus.TOO_MANY_REQUESTS, 418)
_CHECKSUM = re.compile(r"([0-9a-fA-F]{64})\s+\*?(\S+)\s*")
_MOST_BYTES_OF_CHECKSUM = 4096


class BinanceArchive:
    """The files of one archive. For any number of threads, each with a session of its own.

    `url` is scheme://host[:port]; `timeout_s` is the longest silence of the host; `sleep` is for
    tests; without it `stop` ends what is waited for.
    """

    def __init__(
        self,
        url: str,
        *,
        retry: RetryPolicy | None = None,
        sleep: Callable[[float], None] | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        self.url = url.rstrip("/")
        self.requests = 0
        self._timeout_s = timeout_s
        self._pauses = Pauses()
        self._retrying: Any = make_retrying(retry or RetryPolicy(), sleep or self._pauses.wait)
        self._counting = threading.Lock()
        self._of_thread = threading.local()
        self._sessions: list[requests.Session] = []

    def stop(self) -> None:
        """Lets no thread wait any longer: who does, or would, gets an ExchangeError. From any thread."""
        self._pauses.stop()

    def file(self, market_type: MarketType, exchange_id: str, interval: Interval, period: str) -> ArchiveFile:
        """The file of a symbol's month or day, whether it is there or not."""
        return ArchiveFile(market_type, exchange_id, interval, period)

    def expected(
        self, market_type: MarketType, exchange_id: str, interval: Interval, span: Span, clock_ms: int
    ) -> list[ArchiveFile]:
        """The files to ask for the candles of `span` at `clock_ms`, oldest first: those that spare requests."""
        return files_for(market_type, exchange_id, interval, span, clock_ms)

    def fetch(self, file: BulkFile) -> ArchiveCandles | None:
        """The candles of a file, None if the archive has no such file: two requests, or one.

        Raises ContractViolation when the file has no checksum, another one than it should, cannot be its candles, or
        is longer than these can be; TransientError or RateLimited after all attempts; ConfigurationError when the
        archive refuses this address or sends it elsewhere.
        """
        zipped = self._get(file.path, file.most_bytes)
        if zipped is None:
            return None
        published = self.checksum(file)
        if published is None:
            raise ContractViolation(f"{file.name} at {self.url} has no .CHECKSUM, so nothing shows that it is whole")
        actual = hashlib.sha256(zipped).hexdigest()
        if actual != published:
            raise ContractViolation(
                f"{file.name} at {self.url} has the SHA-256 {actual}, its .CHECKSUM says {published}: it is damaged or "
                "is being replaced"
            )
        return read_archive(file, zipped, actual)

    def checksum(self, file: BulkFile) -> str | None:
        """The SHA-256 that the archive states for a file, in lower-case hexadecimal; None if it states none.

        One small request: another checksum than the one remembered tells that the file was replaced. Raises as `fetch`.
        """
        stated = self._get(file.path + ".CHECKSUM", _MOST_BYTES_OF_CHECKSUM)
        if stated is None:
            return None
        text = stated.decode(errors="replace")
        match = _CHECKSUM.fullmatch(text)
        if match is None or match[2] != file.name:
            raise ContractViolation(f"{file.name}.CHECKSUM at {self.url} states no SHA-256 of it but {text[:100]!r}")
        return match[1].lower()

    def close(self) -> None:
        """Give the sockets back."""
        for session in self._sessions:
            session.close()

    def _session(self) -> requests.Session:
        """This thread's session."""
        # requests opens a socket to see whether it could; only a process that asks should.
        from crypto_assets.exchange.bounded_session import BoundedSession  # noqa: PLC0415

        session: requests.Session | None = getattr(self._of_thread, "session", None)
        if session is None:
            session = self._of_thread.session = BoundedSession(ARCHIVE_SETTING)
            # Proxies of the environment count for the network, not for loopback.
            session.trust_env = not is_loopback(self.url)
            self._sessions.append(session)
        return session

    def _get(self, path: str, most_bytes: int) -> bytes | None:
        content: bytes | None = self._retrying(self._once, path, most_bytes)
        return content

    def _once(self, path: str, most_bytes: int) -> bytes | None:
        from requests import RequestException  # noqa: PLC0415 - see _session
        from requests.exceptions import InvalidSchema, InvalidURL, SSLError  # noqa: PLC0415

        place = f"{path} at {self.url}"
        with self._counting:
            self.requests += 1
        try:
            response = self._session().get(self.url + quote(path), timeout=self._timeout_s)
        except (SSLError, InvalidURL, InvalidSchema) as error:
            raise ConfigurationError(f"{place} cannot be spoken to ({error}); check {ARCHIVE_SETTING}") from error
        except RequestException as error:
            raise TransientError(
                f"{place} gave no complete answer ({error}); check the network or {ARCHIVE_SETTING}"
            ) from error
        if response.status_code == HTTPStatus.NOT_FOUND:
            return None
        if response.status_code != HTTPStatus.OK:
            raise _refusal(response, place)
        if len(response.content) > most_bytes:
            raise ContractViolation(f"{place} is longer than the {most_bytes:,} bytes it can have")
        return response.content


def _refusal(response: requests.Response, place: str) -> ExchangeError:
    """What a status other than 200 and 404 means."""
    status = response.status_code
    if status in _TOO_OFTEN:
        wait_s = stated_wait_s(status, response.headers, "", time.time())
        return RateLimited(
            f"{place} is asked too often (HTTP {status}); ask nothing of it for {wait_s:.0f} s",
            retry_after_s=wait_s,
            banned=status != HTTPStatus.TOO_MANY_REQUESTS,
        )
    if status in (HTTPStatus.FORBIDDEN, HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS):
        return ConfigurationError(
            f"{place} refuses this address or its location (HTTP {status}); set {ARCHIVE_SETTING} to a mirror of "
            "the archive that you may use"
        )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
        return TransientError(f"{place} failed with HTTP {status}; try again later")
    return ContractViolation(f"{place} refused the request (HTTP {status}); is {ARCHIVE_SETTING} an archive?")
