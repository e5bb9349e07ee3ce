"""Running the `crypto-assets` command in a test, with settings of its own and no others."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner, Result

from crypto_assets.cli import main


def run_command(*arguments: str, url: str, **variables: str) -> Result:
    """What the command does on the database `url` of environment sandbox."""
    cleared = {name: None for name in os.environ if name.startswith("CRYPTO_ASSETS_")}
    chosen = {"CRYPTO_ASSETS_ENVIRONMENT": "sandbox", "CRYPTO_ASSETS_DATABASE": url}
    return CliRunner().invoke(main, arguments, env=cleared | chosen | variables)


def type_line(line: str, *arguments: str, url: str) -> tuple[int, str]:
    """The exit code of the command at a terminal where somebody types a line, and what it said."""
    ours, its = pty.openpty()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CRYPTO_ASSETS_")}
    chosen = {"CRYPTO_ASSETS_ENVIRONMENT": "sandbox", "CRYPTO_ASSETS_DATABASE": url, "COLUMNS": "200"}
    os.write(ours, f"{line}\n".encode())
    command = str(Path(sys.executable).with_name("crypto-assets"))
    done = subprocess.run(
        [command, *arguments], stdin=its, capture_output=True, text=True, env=clean | chosen, check=False
    )
    os.close(its)
    os.close(ours)
    return done.returncode, done.stdout + done.stderr


def sentence(result: Result, code: int = 1) -> str:
    """The one sentence that a command ended with: 1 is red or failed, 2 is misused."""
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("Error: ")
    return lines[0].removeprefix("Error: ")
