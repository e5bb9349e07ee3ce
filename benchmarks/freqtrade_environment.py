"""A virtual environment with freqtrade, for the benchmark alone: made on first use, from a pinned and hashed list.

freqtrade's licence and its dependencies stay out of the project's own environment. What is run in there belongs to
`freqtrade_download`. Called by `rivals_section`.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_DIRECTORY = _ROOT / ".venv-freqtrade"
_PINNED = Path(__file__).with_name("freqtrade-requirements.txt")
_INSTALL_SECONDS = 900
_MAX_REASON = 100


class NotInstalledError(Exception):
    """freqtrade cannot be installed here; the message is the installer's."""


def freqtrade_command() -> str:
    """The path of the command `freqtrade`. Installs what is pinned where that, or the pins, are new here.

    Raises NotInstalledError.
    """
    wanted = hashlib.sha256(_PINNED.read_bytes() + sys.version.encode()).hexdigest()
    ready = _DIRECTORY / ".ready"  # written last: an interrupted installation is made anew
    if not (ready.exists() and ready.read_text() == wanted):
        shutil.rmtree(_DIRECTORY, ignore_errors=True)
        _call([sys.executable, "-m", "venv", str(_DIRECTORY)])
        pip = [str(_DIRECTORY / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        _call([*pip, "--no-deps", "--require-hashes", "-r", str(_PINNED)])
        ready.write_text(wanted)
    return str(_DIRECTORY / "bin" / "freqtrade")


def freqtrade_version() -> str:
    """The pinned version."""
    line = next(line for line in _PINNED.read_text().splitlines() if line.startswith("freqtrade=="))
    return line.removeprefix("freqtrade==").split()[0]


def _call(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalledError(str(error)[:_MAX_REASON]) from error
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")]  # warnings may follow
        raise NotInstalledError((errors or lines or ["no reason was given"])[-1][:_MAX_REASON])
