"""`crypto-assets dev`: the Dagster UI and daemon, in the sandbox's environment with the sandbox beside them.

Here belong the processes and what they are told; what the UI shows belongs to `definitions`. Called by the command, and
by `make dev`.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from crypto_assets.cli.history_home import prepare_home
from crypto_assets.cli.misuse import Misuse
from crypto_assets.domain.environments import Environment
from crypto_assets.sandbox.process import SandboxProcess
from crypto_assets.settings import load_settings

GENESIS = "2023-01-01"
"""The first day of the sandbox's generated candles."""

_SUPERSEDED = "ignore:Function `dev_command` is superseded"
"""`dg dev`, which Dagster recommends instead, is a package of its own that brings Dagster's cloud commands along."""


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--port", type=click.IntRange(0, 65535), default=3000, show_default=True, help="Of the UI.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where the UI listens.")
@click.option("--sandbox-port", type=click.IntRange(0, 65535), default=8730, show_default=True, help="0: a free one.")
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="What the sandbox serves instead of generated candles.",
)
@click.argument("more", nargs=-1, type=click.UNPROCESSED)
def dev(port: int, host: str, sandbox_port: int, data: Path | None, more: tuple[str, ...]) -> None:
    """Open the Dagster UI with its daemon until Ctrl-C.

    MORE options go to `dagster dev`. With CRYPTO_ASSETS_ENVIRONMENT=sandbox the sandbox runs beside it, unless
    CRYPTO_ASSETS_SPOT_URL or CRYPTO_ASSETS_FUTURES_URL name one that is running.
    """
    settings = load_settings()
    _refuse_taken(host, port)
    environment = dict(os.environ)
    environment["DAGSTER_HOME"] = str(prepare_home())
    environment["PYTHONWARNINGS"] = ",".join(filter(None, [os.environ.get("PYTHONWARNINGS"), _SUPERSEDED]))
    # In a checkout workspace.yaml says what to load, and under which name its schedules are switched on and off.
    module = [] if Path("workspace.yaml").exists() else ["-m", "crypto_assets.definitions"]
    command = [sys.executable, "-m", "dagster", "dev", *module, "--host", host, "--port", str(port), *more]
    if settings.environment is not Environment.SANDBOX or settings.spot_url or settings.futures_url:
        sys.exit(_run(command, environment))
    with _sandbox(sandbox_port, data) as url:
        click.echo(f"The sandbox listens on {url}")
        environment |= {"CRYPTO_ASSETS_SPOT_URL": url, "CRYPTO_ASSETS_FUTURES_URL": url}
        if data is None and "start" not in settings.model_fields_set:
            environment["CRYPTO_ASSETS_START"] = GENESIS  # before there is nothing to offer a partition of
        sys.exit(_run(command, environment))


def _refuse_taken(host: str, port: int) -> None:
    """Raises Misuse where nothing can listen: Dagster would say it serves there, with a daemon beside the first."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]
        raise Misuse(
            f"Port {port} of {host} cannot be listened on: {reason}; if that is this project's"
            " UI, its daemon runs, too, else --port takes another."
        ) from error


@contextmanager
def _sandbox(port: int, data: Path | None) -> Iterator[str]:
    """The URL of a sandbox in a process of its own; what keeps it from starting becomes one sentence."""
    arguments = ["--port", str(port), *([] if data is None else ["--data", str(data)])]
    with ExitStack() as stack:
        try:
            sandbox = stack.enter_context(SandboxProcess(arguments))
        except RuntimeError as error:
            raise Misuse(
                f"{error} (port {port}); --sandbox-port takes another, 0 a free one, and CRYPTO_ASSETS_SPOT_URL names"
                " one that is running."
            ) from error
        yield sandbox.url


def _run(command: Sequence[str], environment: dict[str, str]) -> int:
    """Runs `dagster dev` to its end; Ctrl-C and a SIGTERM end it as it wants to be ended. Its exit code."""
    process = subprocess.Popen(command, env=environment)  # noqa: S603 - our own interpreter and Dagster
    previous = signal.signal(signal.SIGTERM, lambda *_: process.send_signal(signal.SIGINT))
    try:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue  # a terminal's Ctrl-C reaches Dagster by itself
    finally:
        signal.signal(signal.SIGTERM, previous)


def dev_command(variables: dict[str, str], data: Path | None) -> str:
    """The command that opens the UI from this directory with these variables, to copy and paste."""
    if Path("Makefile").exists() and Path("workspace.yaml").exists():
        words = ["make", "dev", *([] if data is None else [f"DATA={data}"])]
    else:
        found = shutil.which("crypto-assets")
        words = ["crypto-assets" if found else str(Path(sys.executable).with_name("crypto-assets")), "dev"]
        words += [] if data is None else ["--data", str(data)]
    return " ".join([*(f"{name}={shlex.quote(value)}" for name, value in variables.items()), *map(shlex.quote, words)])
