"""The session that speaks to its host directly: one connection kept open, TLS verified, proxies left to requests."""

from __future__ import annotations

import gzip
import shutil
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from crypto_assets.exchange.direct_session import DirectSession
from crypto_assets_tests.database.rogue_mysql import own_certificate
from crypto_assets_tests.webhook_receiver import closed_url


class Counting(ThreadingHTTPServer):
    """Says hello; counts connections, and closes each after `answers` of them without a word."""

    daemon_threads = True

    def __init__(self, answers: int = 1000) -> None:
        self.connections, self.answers, self.closed = 0, answers, threading.Event()
        super().__init__(("127.0.0.1", 0), Hello)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def process_request(self, request, client_address):
        self.connections += 1
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        super().shutdown_request(request)
        self.closed.set()


class Hello(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.answers -= 1
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")
        self.close_connection = self.server.answers == 0

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def session():
    with DirectSession("THE_SETTING") as made:
        made.trust_env = False
        yield made


@pytest.fixture
def counting():
    made: list[Counting] = []

    def make(answers: int = 1000) -> Counting:
        made.append(Counting(answers))
        return made[-1]

    yield make
    for server in made:
        server.shutdown()
        server.server_close()


def url_of(server: Counting, scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{server.server_address[1]}/api"


def test_one_connection_is_kept_for_all_requests(session, counting):
    server = counting()
    assert [session.request("GET", url_of(server), timeout=5).content for _ in range(3)] == [b"hello"] * 3
    assert server.connections == 1


def test_a_connection_that_the_host_closed_meanwhile_is_not_used_again(session, counting):
    server = counting(answers=1)
    assert session.request("GET", url_of(server), timeout=5).content == b"hello"
    assert server.closed.wait(30)
    assert session.request("GET", url_of(server), timeout=5).content == b"hello"
    assert server.connections == 2


def test_another_host_is_asked_over_a_connection_of_its_own(session, counting):
    first, second = counting(), counting()
    for server in (first, second):
        assert session.request("GET", url_of(server), timeout=5).content == b"hello"
    assert (first.connections, second.connections) == (1, 1)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate with")
@pytest.mark.parametrize("is_trusted", [True, False])
def test_a_certificate_is_believed_only_if_somebody_vouches_for_it(tmp_path, counting, monkeypatch, is_trusted):
    server = counting()
    certificate, key = own_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    if is_trusted:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with DirectSession("THE_SETTING") as session:
        if is_trusted:
            assert session.request("GET", url_of(server, "https"), timeout=5).content == b"hello"
            return
        with pytest.raises(requests.exceptions.SSLError, match="self-signed certificate"):
            session.request("GET", url_of(server, "https"), timeout=5)


def test_a_packed_answer_in_several_parts_is_read_whole_and_one_without_its_end_is_not(session, server, answer):
    packed = {"Content-Encoding": "gzip"}
    server.answers += [
        answer(gzip.compress(b"[1,") + gzip.compress(b"2]"), headers=packed),
        answer(gzip.compress(b"[1,2]")[:-9], headers=packed),
        answer(b"no gzip", headers=packed),
    ]
    assert session.request("GET", server.url, timeout=5).json() == [1, 2]
    for _ in range(2):
        with pytest.raises(requests.exceptions.ContentDecodingError):
            session.request("GET", server.url, timeout=5)


def test_where_a_proxy_has_to_be_asked_it_is(counting, monkeypatch):
    server = counting()
    monkeypatch.setenv("http_proxy", closed_url())
    with DirectSession("THE_SETTING") as session, pytest.raises(Exception, match="http_proxy"):
        session.request("GET", url_of(server), timeout=5)
    assert server.connections == 0
