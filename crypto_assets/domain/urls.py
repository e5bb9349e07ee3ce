"""URLs as users write them: which name a host and nothing else, and how one is printed without its password.

Here belongs the reading of the text alone; whether a host answers is found out by who asks it. Called by `settings`,
`database` and `exchange`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import urlsplit

HIDDEN = "***"
"""Stands for a password wherever a URL is printed."""

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_SECRET_OPTION = re.compile(r"(?i)([?&;][^=&;]*(?:pass|pwd|secret|token|key)[^=&;]*=)[^&;]*")
_SCHEME = re.compile(r"^[A-Za-z][\w.+-]*:/+")


def without_password(url: str) -> str:
    """`url` with every part that may be a password as `***`, however mistyped it is; SQLite's are paths and kept.

    What stands between the user and the last `@` is one, whichever signs it holds; so is what follows a colon where
    there is no `@`, unless it is a port, and an option named after a password, secret, token or key.
    """
    scheme = match.group() if (match := _SCHEME.match(url)) else ""
    rest = url[len(scheme) :]
    if scheme.startswith("sqlite"):
        return url
    credentials, at, place = rest.rpartition("@")
    if at:
        user, colon, _ = credentials.partition(":")
        rest = f"{user}{colon}{HIDDEN if colon else ''}@{place}"
    else:
        rest = rest if rest.startswith("[") else re.sub(r":(?!\d{1,5}(?:[/?]|$)|//)[^/?]+", f":{HIDDEN}", rest, count=1)
    return scheme + _SECRET_OPTION.sub(rf"\g<1>{HIDDEN}", rest)


def is_loopback(url: str) -> bool:
    """Whether a URL names this machine itself."""
    return urlsplit(url).hostname in _LOOPBACK


def host_url(text: str, schemes: Collection[str]) -> str:
    """`scheme://host[:port]` as `text` says it, without a slash at its end.

    Raises ValueError, which shows the text without its password, for anything else and for a port that cannot be one.
    """
    try:
        parts = urlsplit(text)
        is_one = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of the port, and of brackets
        is_one = False
    if not is_one or re.search(r"\s|@", text) or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(
            f"{without_password(text)!r} is not scheme://host[:port] with the scheme {' or '.join(schemes)} and a port"
            " from 1 to 65535"
        )
    return text.rstrip("/")
