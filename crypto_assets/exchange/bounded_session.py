"""An HTTP session that believes only the host it asked, and reads no more than it can hold.

Here belongs what is refused of any answer, whatever was asked for: a redirect, and a body without end. What an answer
means belongs to `faults` and `archive`. Used by `connection`, which hands it to ccxt, and by `archive`. Importing this
loads requests, so both import it with their first request.
"""

from __future__ import annotations

from collections.abc import Collection
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import requests

from crypto_assets.exchange.errors import ConfigurationError, ContractViolation, TransientError
from crypto_assets.exchange.proxies import proxy_fault

MAX_BODY_BYTES = 64 * 1024 * 1024
"""Several times the largest answer there is: exchangeInfo of spot has 20 MB, a monthly file of minutes 3 MB."""

_CHUNK_BYTES = 64 * 1024
_REDIRECTS = range(HTTPStatus.MULTIPLE_CHOICES, HTTPStatus.BAD_REQUEST)
# What requests asks for, and unpacks a chunk at a time; other packings can make a gigabyte of one chunk.
_ENCODINGS = {"", "identity", "gzip", "deflate"}


class BoundedSession(requests.Session):
    """Follows no redirect, and reads at most `max_body_bytes` of a body, as they are after unpacking.

    `setting` is the environment variable that chooses the host; messages name it. Beside what requests raises, a
    request raises TransientError or ConfigurationError for what ails a proxy, ConfigurationError for a redirect, and
    ContractViolation for a body that is too large or packed in a way that was not asked for. The last two leave the
    connection closed, so that the rest is not read.
    """

    def __init__(self, setting: str, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        super().__init__()
        self.headers["Accept-Encoding"] = "gzip, deflate"
        self._setting = setting
        self.max_body_bytes = max_body_bytes

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Nowhere: requests would read the body of a redirect before it looks where that leads."""

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """The answer, read to its end."""
        parts = urlsplit(str(request.url))
        place = f"{parts.path} at {parts.scheme}://{parts.netloc}"
        try:
            response = super().send(request, **{**kwargs, "stream": True})
        except requests.RequestException as error:
            self._blame_the_proxy(error, place)
            raise
        try:
            self._refuse_redirect(response, place)
            response._content = self._body(response, place)  # noqa: SLF001 - where requests keeps a body it has read
        except BaseException:
            response.close()
            raise
        return response

    def _blame_the_proxy(self, error: requests.RequestException, place: str) -> None:
        fault = proxy_fault(error, place.partition(" at ")[2]) if self.trust_env else None
        if fault is None:
            return
        # A proxy may come back; a package that is not there does not.
        kind = ConfigurationError if isinstance(error, requests.exceptions.InvalidSchema) else TransientError
        raise kind(f"{place} cannot be reached: {fault}") from error

    def _refuse_redirect(self, response: requests.Response, place: str) -> None:
        if response.status_code in _REDIRECTS:
            target = response.headers.get("Location", "nowhere")[:200]
            raise ConfigurationError(
                f"{place} sends its callers to {target!r} (HTTP {response.status_code}), and only the host that was "
                f"asked is believed; set {self._setting} to a host that answers itself"
            )

    def _body(self, response: requests.Response, place: str) -> bytes:
        self._packing(response, place, _ENCODINGS)
        body = bytearray()
        for chunk in response.iter_content(_CHUNK_BYTES):
            body += chunk
            if len(body) > self.max_body_bytes:
                raise self._too_large(place)
        return bytes(body)

    def _packing(self, response: requests.Response, place: str, known: Collection[str]) -> str:
        packing = response.headers.get("Content-Encoding", "").strip().lower()
        if packing not in known:
            raise ContractViolation(f"{place} packed its answer as {packing[:40]!r}, which nobody asked for")
        return packing

    def _too_large(self, place: str) -> ContractViolation:
        return ContractViolation(
            f"{place} gave an answer of more than {self.max_body_bytes / 1e6:.0f} MB, of which no more was read; is "
            f"{self._setting} the right host?"
        )
