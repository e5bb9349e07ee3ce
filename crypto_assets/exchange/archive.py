"""Binance's public archive over HTTP: closed months and days of candles as files, each checked against its checksum.

Here belong hosts, requests and checksums. Which files there should be belongs to `archive_files`, what is inside them
to `archive_csv`. Made by `orchestration`, which asks REST for what the archive lacks or gets wrong.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit

import requests

from crypto_assets.exchange.archive_csv import ArchiveCandles, read_archive
from crypto_assets.exchange.archive_files import ArchiveFile
from crypto_assets.exchange.binance import HOSTS, EnvironmentName
from crypto_assets.exchange.budget import LOOPBACK
from crypto_assets.exchange.connection import RetryPolicy, make_retrying
from crypto_assets.exchange.errors import (
    ConfigurationError,
    ContractViolation,
    ExchangeError,
    RateLimited,
    TransientError,
)

ARCHIVE_SETTING = "CRYPTO_ASSETS_ARCHIVE_URL"
_LIVE_HOST = "https://data.binance.vision"
_TOO_OFTEN = (HTTPStatus.TOO_MANY_REQUESTS, 418)
_WAIT_WITHOUT_HEADER_S = 60.0
_UNSPEAKABLE = (requests.exceptions.SSLError, requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema)
_CHECKSUM = re.compile(r"([0-9a-fA-F]{64})\s+\*?(\S+)\s*")


def archive_host(
    environment: EnvironmentName, *, archive_url: str | None = None, spot_url: str | None = None
) -> str | None:
    """The scheme and host of an environment's archive, None where it has none (testnet and demo trading).

    `archive_url` replaces it. The sandbox serves its archive where it serves its spot market, `spot_url` or its usual
    host.
    """
    if archive_url is not None:
        return archive_url
    if environment == "sandbox":
        return spot_url or next(iter(HOSTS[environment].values()))
    return _LIVE_HOST if environment == "live" else None


class BinanceArchive:
    """The files of one archive. For one thread at a time, like the `requests` session in it.

    `url` is scheme://host[:port]; `timeout_s` is the longest silence of the host; `sleep` is for tests.
    """

    def __init__(
        self,
        url: str,
        *,
        retry: RetryPolicy | None = None,
        sleep: Callable[[float], None] = time.sleep,
        timeout_s: float = 30.0,
    ) -> None:
        self.url = url.rstrip("/")
        self.requests = 0
        self._timeout_s = timeout_s
        self._retrying: Any = make_retrying(retry or RetryPolicy(), sleep)
        self._session = requests.Session()
        # Proxies of the environment count for the network, not for loopback.
        self._session.trust_env = urlsplit(url).hostname not in LOOPBACK

    def fetch(self, file: ArchiveFile) -> ArchiveCandles | None:
        """The candles of a file, None if the archive has no such file: two requests, or one.

        Raises ContractViolation when the file has no checksum, another one than it should, or cannot be its candles;
        TransientError or RateLimited after all attempts; ConfigurationError when the archive refuses this address.
        """
        zipped = self._get(file.path)
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

    def checksum(self, file: ArchiveFile) -> str | None:
        """The SHA-256 that the archive states for a file, in lower-case hexadecimal; None if it states none.

        One small request: another checksum than the one remembered tells that the file was replaced. Raises as `fetch`.
        """
        stated = self._get(file.path + ".CHECKSUM")
        if stated is None:
            return None
        text = stated.decode(errors="replace")
        match = _CHECKSUM.fullmatch(text)
        if match is None or match[2] != file.name:
            raise ContractViolation(f"{file.name}.CHECKSUM at {self.url} states no SHA-256 of it but {text[:100]!r}")
        return match[1].lower()

    def close(self) -> None:
        """Give the sockets back."""
        self._session.close()

    def _get(self, path: str) -> bytes | None:
        content: bytes | None = self._retrying(self._once, path)
        return content

    def _once(self, path: str) -> bytes | None:
        place = f"{path} at {self.url}"
        self.requests += 1
        try:
            response = self._session.get(self.url + quote(path), timeout=self._timeout_s)
        except _UNSPEAKABLE as error:
            raise ConfigurationError(f"{place} cannot be spoken to ({error}); check {ARCHIVE_SETTING}") from error
        except requests.RequestException as error:
            raise TransientError(
                f"{place} gave no complete answer ({error}); check the network or {ARCHIVE_SETTING}"
            ) from error
        if response.ok:
            return response.content
        if response.status_code == HTTPStatus.NOT_FOUND:
            return None
        raise _refusal(response, place)


def _refusal(response: requests.Response, place: str) -> ExchangeError:
    """What a status other than 404 means."""
    status = response.status_code
    if status in _TOO_OFTEN:
        wait = response.headers.get("Retry-After", "")
        wait_s = float(wait) if wait.isdigit() else _WAIT_WITHOUT_HEADER_S
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
