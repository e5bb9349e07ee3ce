"""A session of requests that speaks to its host directly, where no proxy is in between: a third of the CPU.

Here belongs what ccxt asks of a session, carried out by http.client: one connection, kept open, for one thread. What of
an answer is believed is said by `bounded_session`, which also sends the request where a proxy has to be asked. Errors
are those of requests, so that whoever reads them sees no difference. Called by `exchange.<venue>`.
"""

from __future__ import annotations

import http.client
import os
import ssl
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import requests
from requests.exceptions import ChunkedEncodingError, ConnectTimeout, ContentDecodingError, InvalidURL, ReadTimeout
from requests.structures import CaseInsensitiveDict
from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies
from urllib3 import HTTPHeaderDict
from urllib3.exceptions import NewConnectionError
from urllib3.util import wait_for_read

from crypto_assets.exchange.bounded_session import BoundedSession

_SCHEMES: dict[str, Callable[..., http.client.HTTPConnection]] = {
    "http": http.client.HTTPConnection,
    "https": http.client.HTTPSConnection,
}
_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")  # as requests has them
_GZIP = 16 + zlib.MAX_WBITS


class DirectSession(BoundedSession):
    """See `BoundedSession`. Asks for gzip alone."""

    def __init__(self, setting: str, **options: Any) -> None:
        super().__init__(setting, **options)
        self.headers["Accept-Encoding"] = "gzip"
        self._connection: http.client.HTTPConnection | None = None
        self._host: tuple[str, str] | None = None
        self._proxied: dict[tuple[str, str], bool] = {}

    def request(  # type: ignore[override]  # of the many arguments those that ccxt gives
        self,
        method: str,
        url: str,
        *,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **others: Any,
    ) -> requests.Response:
        """The answer, read to its end."""
        parts = urlsplit(url)
        given = {name for name, value in others.items() if value} - {"allow_redirects", "verify"}
        if given or parts.scheme not in _SCHEMES or self._is_proxied(parts, url):
            return super().request(method, url, data=data, headers=headers, timeout=timeout, **others)
        place = f"{parts.path} at {parts.scheme}://{parts.netloc}"
        try:
            connection = self._connected(parts, timeout)
            answer = self._asked(connection, method, parts, data, headers)
            response = _response(answer, url)
            self._refuse_redirect(response, place)
            response._content = self._unpacked(answer, response, place)  # noqa: SLF001 - where requests keeps a body
        except BaseException:
            self._disconnect()
            raise
        if answer.will_close:
            self._disconnect()
        return response

    def close(self) -> None:
        """Gives the connection back."""
        self._disconnect()
        super().close()

    def _is_proxied(self, parts: SplitResult, url: str) -> bool:
        host = parts.scheme, parts.netloc
        if host not in self._proxied:
            self._proxied[host] = self.trust_env and bool(get_environ_proxies(url))
        return self._proxied[host]

    def _connected(self, parts: SplitResult, timeout: float | None) -> http.client.HTTPConnection:
        host = parts.scheme, parts.netloc
        # What is to be read before anything was asked is the end of the connection.
        if self._connection is not None and (self._host != host or wait_for_read(self._connection.sock, timeout=0)):
            self._disconnect()
        if self._connection is None:
            secured = {"context": self._tls()} if parts.scheme == "https" else {}
            try:
                connection = _SCHEMES[parts.scheme](parts.netloc, timeout=timeout, **secured)
            except http.client.InvalidURL as error:
                raise InvalidURL(str(error)) from error
            try:
                connection.connect()
            except ssl.SSLError as error:
                raise requests.exceptions.SSLError(str(error)) from error
            except TimeoutError as error:
                raise ConnectTimeout(str(error)) from error
            except OSError as error:
                raise requests.ConnectionError(NewConnectionError(connection, str(error))) from error  # type: ignore[arg-type]
            self._connection, self._host = connection, host
        return self._connection

    def _tls(self) -> ssl.SSLContext:
        named = next((os.environ[name] for name in _BUNDLES if os.environ.get(name)), None) if self.trust_env else None
        bundle = named or DEFAULT_CA_BUNDLE_PATH
        if Path(bundle).is_dir():
            return ssl.create_default_context(capath=bundle)
        return ssl.create_default_context(cafile=bundle)

    def _asked(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        parts: SplitResult,
        data: bytes | None,
        headers: Mapping[str, str] | None,
    ) -> http.client.HTTPResponse:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request(method, target, data, {**self.headers, **(headers or {})})
            return connection.getresponse()
        except http.client.InvalidURL as error:
            raise InvalidURL(str(error)) from error
        except (http.client.HTTPException, OSError) as error:
            raise _broken(error) from error

    def _unpacked(self, answer: http.client.HTTPResponse, response: requests.Response, place: str) -> bytes:
        packing = self._packing(response, place, {"", "identity", "gzip"})
        most = self.max_body_bytes
        try:
            body = answer.read(most + 1)
            missing = answer.length
        except (http.client.HTTPException, OSError) as error:
            raise _broken(error) from error
        if len(body) > most:
            raise self._too_large(place)
        if missing:
            raise ChunkedEncodingError(f"{missing} bytes of the answer are missing")
        if packing != "gzip":
            return body
        unpacked = b""
        while body:
            member = zlib.decompressobj(_GZIP)
            try:
                unpacked += member.decompress(body, most + 1 - len(unpacked))
            except zlib.error as error:
                raise ContentDecodingError(str(error)) from error
            if len(unpacked) > most:
                raise self._too_large(place)
            if not member.eof:
                raise ContentDecodingError("the packed answer has no end")
            body = member.unused_data
        return unpacked

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = self._host = None


def _response(answer: http.client.HTTPResponse, url: str) -> requests.Response:
    response = requests.Response()
    response.status_code, response.reason, response.url = answer.status, answer.reason, url
    # A header that comes twice is one with a comma, as requests has it.
    response.headers = CaseInsensitiveDict(HTTPHeaderDict(answer.headers.items()))
    return response


def _broken(error: Exception) -> requests.RequestException:
    """What requests raises for a connection that breaks, or says nothing, once the request is under way."""
    if isinstance(error, TimeoutError):
        return ReadTimeout(f"Read timed out ({error})")
    if isinstance(error, ssl.SSLError):
        return requests.exceptions.SSLError(str(error))
    if isinstance(error, http.client.IncompleteRead):
        return ChunkedEncodingError(str(error))
    return requests.ConnectionError(str(error) or type(error).__name__)
