"""`crypto-assets settings`: what each setting is, its value and where that is from; what is secret is not shown.

Which settings there are belongs to `crypto_assets.settings`. Called by the command.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from enum import Enum
from typing import Any

import click
from pydantic import ValidationError
from rich.console import Console

from crypto_assets.settings import Settings
from crypto_assets.variables import described, mistakes, sources, unknown_names, variable, without_secrets


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def settings(*, as_json: bool) -> None:
    """Show every setting, its value and where that is from. Exit code 2 if one cannot be used."""
    from crypto_assets.cli.show import show_rows  # noqa: PLC0415 - loads pandas

    given, wrong = sources(Settings), _mistakes()
    made = _usable({field for field in Settings.model_fields if variable(field) in wrong})
    rows: list[dict[str, Any]] = [
        {
            "setting": variable(field),
            "value": None if variable(field) in wrong else _value(made, field),
            "source": given.get(variable(field), "default"),
            "what it is": about,
        }
        for field, about in described(Settings).items()
    ]
    sentences = [*wrong.values(), *unknown_names(Settings)]
    show_rows(rows, as_json=as_json, console=Console())
    for sentence in sentences:
        click.echo(f"Error: {sentence}", err=True)
    if sentences:
        sys.exit(2)


def _mistakes() -> dict[str, str]:
    try:
        Settings()
    except ValidationError as error:
        return mistakes(error)
    return {}


def _usable(wrong: set[str]) -> Settings:
    """The settings with the defaults of those that cannot be used."""
    return Settings(**{field: Settings.model_fields[field].default for field in wrong})


def _value(made: Settings, field: str) -> object:
    value = made.database_url if field == "database" else getattr(made, field)
    if isinstance(value, tuple):
        return ",".join(str(_plain(each)) for each in value)
    return without_secrets(field, _plain(value))


def _plain(value: object) -> object:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Enum):
        return value.value
    return value if isinstance(value, (int, float, type(None))) else str(value)
