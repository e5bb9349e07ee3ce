"""A sandbox in a process of its own, so that client and server do not share an interpreter.

Here belongs starting, awaiting and ending that process; what it runs belongs to `__main__`. Called by benchmarks.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Self

_STOP_SECONDS = 10
_GREETING = "listening on "


class SandboxProcess:
    """`python -m crypto_assets.sandbox --port 0 <arguments>` as a context manager; `url` is known once entered.

    Raises RuntimeError with what the process printed when it ends before it listens.
    """

    def __init__(self, arguments: Sequence[str] = ()) -> None:
        self._arguments = list(arguments)
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    @property
    def pid(self) -> int:
        """The id of the process, 0 before it is started."""
        return self._process.pid if self._process is not None else 0

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "crypto_assets.sandbox", "--port", "0", *self._arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: S603
        assert self._process.stdout is not None  # noqa: S101 - asked for above
        line = self._process.stdout.readline().strip()
        if not line.startswith(_GREETING):
            _, complaint = self._process.communicate()
            self._process = None
            raise RuntimeError(f"the sandbox did not start: {complaint.strip() or line}")
        self.url = line.removeprefix(_GREETING)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.communicate(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
