"""A headless Chromium that opens one page and tells what happened, over its DevTools protocol.

For `test_report_in_chromium`. Not a driver: it asks what that test asks.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

# Without these it looks for updates and Google's hosts as it starts.
QUIET = "--disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync"
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_SECONDS = 60


def chromium() -> str:
    """The browser's path; skips the test where there is none."""
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"none of {', '.join(_NAMES)} is on the PATH")
    return found


@dataclass
class Visit:
    """What a page answered to each question, in order, what it asked the network for, and what the console said."""

    answers: list[Any] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


def visit(page: Path, questions: Sequence[tuple[str, dict[str, Any] | str]]) -> Visit:
    """Opens a page. A question is a JavaScript expression, or a DevTools method with its parameters to call before."""
    return asyncio.run(asyncio.wait_for(_visit(chromium(), page, questions), _SECONDS))


async def _visit(browser: str, page: Path, questions: Sequence[Any]) -> Visit:
    seen = Visit()
    async with _connection(browser) as socket:
        loaded = False

        async def call(method: str, **parameters: Any) -> dict[str, Any]:
            number = call.number = getattr(call, "number", 0) + 1  # type: ignore[attr-defined]
            await socket.send_json({"id": number, "method": method, "params": parameters})
            while (message := await receive()).get("id") != number:
                pass
            assert "error" not in message, message
            return dict(message["result"])

        async def receive() -> dict[str, Any]:
            nonlocal loaded
            message = json.loads((await socket.receive()).data)
            event, parameters = message.get("method"), message.get("params", {})
            if event == "Network.requestWillBeSent":
                seen.requests.append(parameters["request"]["url"])
            elif event in ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
                seen.complaints.append(json.dumps(parameters))
            loaded = loaded or event == "Page.loadEventFired"
            return dict(message)

        for domain in ("Page", "Network", "Log", "Runtime"):
            await call(f"{domain}.enable")
        await call("Page.navigate", url=page.as_uri())
        while not loaded:
            await receive()
        for method, argument in questions:
            if method != "ask":
                await call(method, **argument)
                continue
            answer = await call("Runtime.evaluate", expression=argument, returnByValue=True)
            seen.answers.append(answer["result"].get("value", answer))
    return seen


@asynccontextmanager
async def _connection(browser: str) -> Any:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        arguments = [browser, "--headless", "--no-sandbox", "--disable-gpu", *QUIET.split()]
        arguments += [f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank"]
        process = await asyncio.create_subprocess_exec(*arguments, stderr=asyncio.subprocess.PIPE)
        try:
            host = await _listening(process)
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://{host}/json") as answer:
                    target = next(each for each in await answer.json() if each["type"] == "page")
                async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    yield socket
        finally:
            process.terminate()
            await process.communicate()


async def _listening(process: asyncio.subprocess.Process) -> str:
    """Where the browser says it listens: host and port."""
    assert process.stderr is not None
    said = b""
    while line := await process.stderr.readline():
        said += line
        if line.startswith(b"DevTools listening on ws://"):
            return line.decode().split("ws://")[1].split("/")[0]
    raise AssertionError(f"the browser did not start: {said.decode()}")
