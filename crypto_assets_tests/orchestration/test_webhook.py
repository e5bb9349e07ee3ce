"""One message over real HTTP: when it counts as delivered, and that its URL stays a secret."""

from __future__ import annotations

import logging
import traceback

import pytest

from crypto_assets.alerts.webhook import NotDelivered, Webhook
from crypto_assets_tests.webhook_receiver import HANG, SECRET, closed_url, running_receiver


@pytest.fixture
def receiver():
    with running_receiver() as running:
        yield running


def refusal(url: str, timeout: float = 5.0) -> str:
    with pytest.raises(NotDelivered) as refused:
        Webhook(url, timeout).post("hello")
    # Where a traceback is shown, so are the errors that led to it.
    assert "secret" not in "".join(traceback.format_exception(refused.value))
    return str(refused.value)


def test_a_message_is_posted_in_slacks_shape(receiver):
    Webhook(receiver.url).post("a <b> & ünïcode")
    assert receiver.requests == [(SECRET, {"text": "a <b> & ünïcode"})]


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_receiver_in_trouble_has_not_taken_the_message(receiver, status):
    receiver.script = [status]
    assert refusal(receiver.url) == f"The webhook at 127.0.0.1 answered {status}."


@pytest.mark.parametrize("status", [302, 307, 400, 403, 404, 410])
def test_an_answer_that_the_url_causes_names_the_setting(receiver, status):
    receiver.script = [status]
    assert f"answered {status}: is CRYPTO_ASSETS_ALERT_WEBHOOK the URL" in refusal(receiver.url)
    assert len(receiver.requests) == 1  # no redirect was followed


def test_a_receiver_that_hangs_is_left_after_the_timeout(receiver):
    receiver.script = [HANG]
    assert refusal(receiver.url, timeout=0.1) == "The webhook at 127.0.0.1 did not answer (ReadTimeout)."


def test_a_closed_port_is_said_without_the_url():
    assert refusal(closed_url()) == "The webhook at 127.0.0.1 did not answer (ConnectionError)."


def test_a_proxy_of_the_environment_is_not_asked_for_the_own_machine(receiver, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", closed_url())
    monkeypatch.setenv("http_proxy", closed_url())
    Webhook(receiver.url).post("direct")
    assert receiver.taken == ["direct"]


def test_a_dead_proxy_is_blamed_by_its_variable(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", closed_url().removesuffix(SECRET))
    said = refusal("https://receiver.invalid/secret")
    assert said.startswith("The webhook at receiver.invalid could not be reached: the proxy 'http://127.0.0.1:")
    assert "unset HTTPS_PROXY" in said


def test_the_url_is_in_no_log_and_no_repr(receiver, caplog):
    caplog.set_level(logging.DEBUG)
    Webhook(receiver.url).post("hello")
    refusal(closed_url())
    assert "secret" not in caplog.text
    assert "secret" not in repr(Webhook(receiver.url))
