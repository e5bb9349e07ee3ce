"""What is wrong with the proxy that the environment names, where a request failed because of it.

Else the words would blame what was asked: its host is named in the settings, the proxy is not. Called by
`bounded_session` and by `alerts.webhook`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from requests import RequestException
from requests.exceptions import InvalidProxyURL, InvalidSchema, ProxyError
from requests.utils import get_environ_proxies, select_proxy

from crypto_assets.domain.urls import without_password


def proxy_fault(error: RequestException, url: str) -> str | None:
    """A clause that names the proxy's variable and what to do; None where no proxy is to blame."""
    proxy = select_proxy(url, get_environ_proxies(url))
    if proxy is None:
        return None
    name = _variable(url, proxy, os.environ)
    where = f"the proxy {without_password(proxy)!r} of {name}"
    if isinstance(error, InvalidSchema) and "SOCKS" in str(error):
        return f"{where} speaks SOCKS, which needs the package PySocks; install it, or unset {name}"
    if isinstance(error, (ProxyError, InvalidProxyURL)):
        return f"{where} does not let it through; start or mend that, or unset {name}"
    return None


def _variable(url: str, proxy: str, environment: Mapping[str, str]) -> str:
    scheme = url.partition(":")[0].lower()
    names = [each for name in (f"{scheme}_proxy", "all_proxy") for each in (name, name.upper())]
    return next((name for name in names if environment.get(name) == proxy), names[1])
