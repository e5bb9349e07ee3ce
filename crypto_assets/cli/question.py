"""The question before rows are removed. Called by `migrate` and `rollback`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from crypto_assets.cli.misuse import Misuse

if TYPE_CHECKING:
    from crypto_assets.database.engines import Database


def ask(database: Database, question: str) -> None:
    """Raises ClickException unless a person types the environment's name."""
    if not sys.stdin.isatty():
        raise Misuse("There is no terminal to ask at; say --yes to remove rows without being asked.")
    question += f" in {database.location} (environment {database.environment})? Type the environment's name to go on"
    if click.prompt(question, default="", show_default=False, err=True) != database.environment:
        raise click.ClickException(f"That is not {database.environment}; nothing was removed.")
