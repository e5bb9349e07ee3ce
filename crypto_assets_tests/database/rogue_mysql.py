"""A server on loopback that speaks MySQL's protocol and asks for files of whoever connects."""

from __future__ import annotations

import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pymysql.constants import CLIENT

_OK = b"\x00\x00\x00\x02\x00\x00\x00"
_ASKING = b"\xfb"


@dataclass
class RogueMysql:
    """What `asks` gives for a statement (its text) is the name of a file to ask for; None answers OK."""

    asks: Callable[[str], str | None]
    tls: ssl.SSLContext | None = None
    port: int = 0
    statements: list[str] = field(default_factory=list)
    flags: list[int] = field(default_factory=list)
    """What each client said that it can do."""
    sent: list[bytes] = field(default_factory=list)
    """What came in answer to a question for a file."""
    secured: list[bool] = field(default_factory=list)
    """Of each client, whether it spoke TLS before it said who it is."""

    def serve(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            capabilities = (CLIENT.CAPABILITIES | CLIENT.LOCAL_FILES) & ~CLIENT.PLUGIN_AUTH
            capabilities |= CLIENT.SSL if self.tls else 0
            low, high = struct.pack("<H", capabilities & 0xFFFF), struct.pack("<H", capabilities >> 16)
            greeting = b"\x0a5.7.1\x00" + bytes(4) + b"saltsalt\x00" + low + b"\x2d\x02\x00" + high
            greeting += b"\x15" + bytes(10) + b"saltsaltsalt\x00"
            stream = client
            _send(stream, 0, greeting)
            number, answer = _receive(stream)
            if self.tls and len(answer) == 32:
                stream = self.tls.wrap_socket(client, server_side=True)
                number, answer = _receive(stream)
            self.secured.append(stream is not client)
            self.flags.append(struct.unpack_from("<I", answer)[0])
            _send(stream, number + 1, _OK)
            while True:
                _, command = _receive(stream)
                self.statements.append(command[1:].decode())
                name = self.asks(self.statements[-1]) if command[:1] == b"\x03" else None
                if name is None:
                    _send(stream, 1, _OK)
                    continue
                _send(stream, 1, _ASKING + name.encode())
                while True:
                    number, came = _receive(stream)
                    if not came:
                        break
                    self.sent.append(came)
                _send(stream, number + 1, _OK)


def _send(stream: socket.socket, number: int, payload: bytes) -> None:
    stream.sendall(struct.pack("<I", len(payload))[:3] + bytes([number % 256]) + payload)


def _receive(stream: socket.socket) -> tuple[int, bytes]:
    header = _exactly(stream, 4)
    return header[3], _exactly(stream, int.from_bytes(header[:3], "little"))


def _exactly(stream: socket.socket, size: int) -> bytes:
    came = b""
    while len(came) < size:
        part = stream.recv(size - len(came))
        if not part:
            raise OSError("closed")
        came += part
    return came


@contextmanager
def running(rogue: RogueMysql) -> Iterator[RogueMysql]:
    """Serves clients until the end of the block, then waits for what they sent."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        rogue.port = listening.getsockname()[1]

        threads: list[threading.Thread] = []

        def accept() -> None:
            with suppress(OSError):
                while True:
                    threads.append(threading.Thread(target=rogue.serve, args=listening.accept()[:1]))
                    threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield rogue
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            for thread in (accepting, *threads):
                thread.join(10)


def own_certificate(directory: Path) -> tuple[Path, Path]:
    """A certificate that nobody vouches for, of 127.0.0.1, and its key."""
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=127.0.0.1"]
    subprocess.run([*command, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    return certificate, key
