"""Running the `crypto-assets` command in a test, with settings of its own and no others."""

from __future__ import annotations

import os

from click.testing import CliRunner, Result

from crypto_assets.cli import main


def run_command(*arguments: str, url: str, **variables: str) -> Result:
    """What the command does on the database `url` of environment sandbox."""
    cleared = {name: None for name in os.environ if name.startswith("CRYPTO_ASSETS_")}
    chosen = {"CRYPTO_ASSETS_ENVIRONMENT": "sandbox", "CRYPTO_ASSETS_DATABASE": url}
    return CliRunner().invoke(main, arguments, env=cleared | chosen | variables)


def sentence(result: Result) -> str:
    """The one sentence that a command ended with."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("Error: ")
    return lines[0].removeprefix("Error: ")
