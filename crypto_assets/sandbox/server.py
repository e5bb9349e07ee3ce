"""Starting and stopping the sandbox: in the foreground for the command line, in a thread for tests and the demo.

What is answered belongs to `application`; a sandbox in a process of its own to `process`.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from crypto_assets.sandbox.application import Sandbox
from crypto_assets.sandbox.dataset import Dataset
from crypto_assets.sandbox.faults import Fault, Faults
from crypto_assets.sandbox.journal import RequestLog
from crypto_assets.sandbox.limits import SPOT_BUDGET, SWAP_BUDGET

LOOPBACK = "127.0.0.1"
_SHUTDOWN_SECONDS = 0.05


async def _start(sandbox: Sandbox, host: str, port: int) -> tuple[web.AppRunner, str]:
    """A running server and its URL. Raises OSError with one sentence when the port cannot be had."""
    # Requests that are made to wait by a fault must not keep the server from stopping.
    runner = web.AppRunner(
        sandbox.application(), access_log=None, handle_signals=False, shutdown_timeout=_SHUTDOWN_SECONDS
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        reason = error.strerror or str(error)
        raise OSError(error.errno, f"the sandbox cannot listen on {host}:{port}: {reason}") from error
    bound = runner.addresses[0][1]
    return runner, f"http://{host}:{bound}"


def serve(
    dataset: Dataset,
    *,
    host: str = LOOPBACK,
    port: int,
    spot_budget: int | None = SPOT_BUDGET,
    futures_budget: int | None = SWAP_BUDGET,
    latency_ms: float = 0,
    faults: Iterable[Fault | str] = (),
    compress: bool = False,
) -> None:
    """Serves until Ctrl-C or SIGTERM; prints `listening on http://HOST:PORT` as soon as requests are answered.

    Port 0 takes a free one. Raises OSError with one sentence when the port is in use.
    """
    sandbox = Sandbox(
        dataset,
        spot_budget=spot_budget,
        futures_budget=futures_budget,
        latency_ms=latency_ms,
        faults=faults,
        compress=compress,
    )
    asyncio.run(_serve(sandbox, host, port))


async def _serve(sandbox: Sandbox, host: str, port: int) -> None:
    runner, url = await _start(sandbox, host, port)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    print(f"listening on {url}", flush=True)  # noqa: T201 - what SandboxProcess waits for
    try:
        await stopped.wait()
    finally:
        await runner.cleanup()


class RunningSandbox:
    """A sandbox in a background thread with an event loop of its own, on a free port. A context manager.

    Takes the arguments of `application.Sandbox`. `faults` and `requests` may be used while it runs.

        with RunningSandbox(GeneratedDataset(), spot_budget=None) as sandbox:
            client = connect(sandbox.url)
            sandbox.faults.add("status_5xx:times=3,path=klines")
    """

    def __init__(self, dataset: Dataset, *, host: str = LOOPBACK, port: int = 0, **options: Any) -> None:
        self._sandbox = Sandbox(dataset, **options)
        self._host, self._port = host, port
        self._ready = threading.Event()
        self._failure: OSError | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="sandbox-exchange", daemon=True)
        self.url = ""

    @property
    def faults(self) -> Faults:
        """The active faults."""
        return self._sandbox.faults

    @property
    def requests(self) -> RequestLog:
        """What was asked so far."""
        return self._sandbox.requests

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None and self._stopped is not None:
            self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except OSError as error:
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._stopped = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        runner, self.url = await _start(self._sandbox, self._host, self._port)
        self._ready.set()
        try:
            await self._stopped.wait()
        finally:
            await runner.cleanup()
