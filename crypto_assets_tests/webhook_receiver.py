"""A receiver of webhook messages over real HTTP, that misbehaves as it is told to."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "/services/T00/B00/secret"  # noqa: S105 - of nobody
HANG = 0


@dataclass
class Receiver:
    """Answers the next requests as `script` says, HTTP statuses or HANG, and then 200; `taken` is what it accepted."""

    url: str = ""
    script: list[int] = field(default_factory=list)
    always: int = 200
    taken: list[str] = field(default_factory=list)
    requests: list[tuple[str, Any]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def answer(self, path: str, body: Any) -> int:
        self.requests.append((path, body))
        status = self.script.pop(0) if self.script else self.always
        if status == HANG:
            self.released.wait()
        elif status == 200:
            self.taken.append(body["text"])
        return status

    def titles(self) -> list[str]:
        """The first lines of what was accepted, without the emoji."""
        return [text.splitlines()[0].split(" ", 1)[1] for text in self.taken]


@contextmanager
def running_receiver() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status = receiver.answer(self.path, body)
            if status != HANG:
                self.send_response(status)
                self.send_header("Location", receiver.url)
                self.send_header("Content-Length", "0")
                self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}{SECRET}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


def closed_url() -> str:
    """A URL at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}{SECRET}"
