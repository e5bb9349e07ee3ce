"""Posting one message to a webhook in Slack's shape, and what the receiver's answer means. No Dagster here.

What a message says belongs to `incidents`, when it is sent to `alerts`. The URL is a secret: it is in no sentence, no
`repr` and no log of this module. Called by `alerts`; made by `definitions`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urlsplit

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class NotDelivered(Exception):  # noqa: N818 - said of a message, which is tried again; not an error of the program
    """The receiver did not take the message; one sentence says why, without the URL."""


@dataclass(frozen=True)
class Webhook:
    """Where messages go, and how many seconds it may take to connect, and again to answer."""

    url: str = field(repr=False)
    timeout: float = 5.0

    def post(self, text: str) -> None:
        """Delivers one message, or raises NotDelivered. One that timed out may have arrived all the same."""
        import requests  # noqa: PLC0415 - loaded where something is to be told only

        from crypto_assets.exchange.proxies import proxy_fault  # noqa: PLC0415 - likewise

        # At level DEBUG urllib3 writes down the path of every request; the path of a webhook is its password.
        logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)
        host = urlsplit(self.url).hostname
        with requests.Session() as session:
            # A proxy of the environment is for the world outside.
            session.trust_env = host not in _LOOPBACK
            try:
                # The body is left unread: one that trickles in for ever would outlast any timeout.
                with session.post(
                    self.url, json={"text": text}, timeout=self.timeout, allow_redirects=False, stream=True
                ) as answer:
                    status = answer.status_code
            except requests.RequestException as error:
                # Its own text holds the URL.
                fault = proxy_fault(error, self.url) if session.trust_env else None
                why = f"could not be reached: {fault}" if fault else f"did not answer ({type(error).__name__})"
                raise NotDelivered(f"The webhook at {host} {why}.") from None
        if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise NotDelivered(f"The webhook at {host} answered {status}.")
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            raise NotDelivered(
                f"The webhook at {host} answered {status}: is CRYPTO_ASSETS_ALERT_WEBHOOK the URL it gave you?"
            )
