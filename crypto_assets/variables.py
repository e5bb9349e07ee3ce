"""The environment variables of ours: where each is set, which set nothing, and what is wrong with a value.

What may be set belongs to `settings`, which calls this, as does `cli`.
"""

from __future__ import annotations

import difflib
import os

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, DotEnvSettingsSource

from crypto_assets.domain.urls import HIDDEN, without_password

PREFIX = "CRYPTO_ASSETS_"
ENV_FILE = ".env"
"""In the working directory; Dagster reads the same one."""

# What the tests and the recordings are found by; no setting of a run.
_OF_THE_TESTS = (f"{PREFIX}TEST_", f"{PREFIX}RECORDED_DATA")


def variable(field: str) -> str:
    """The environment variable of a setting: `CRYPTO_ASSETS_PAIRS` of `pairs`."""
    return PREFIX + field.upper()


def sources(settings: type[BaseSettings]) -> dict[str, str]:
    """Where each variable of ours is set, by its name in capitals: `environment`, or else the name of the file."""
    found = {name.upper(): ENV_FILE for name in DotEnvSettingsSource(settings).env_vars}
    found |= {name.upper(): "environment" for name in os.environ}
    return {name: source for name, source in found.items() if name.startswith(PREFIX)}


def unknown_names(settings: type[BaseSettings]) -> list[str]:
    """A sentence for each variable of ours that sets nothing, with the nearest that do: one of them was meant."""
    known = [field.upper() for field in settings.model_fields]
    refusals = []
    for name in sorted(sources(settings)):
        if name.removeprefix(PREFIX) in known or name.startswith(_OF_THE_TESTS):
            continue
        near = difflib.get_close_matches(name.removeprefix(PREFIX), known)
        hint = f"did you mean {', '.join(map(variable, near))}?" if near else "crypto-assets settings lists all."
        refusals.append(f"{name} is no setting; {hint}")
    return refusals


def mistakes(error: ValidationError) -> dict[str, str]:
    """What is wrong with each setting, by variable: one sentence with its value, without what is secret of it."""
    refusals: dict[str, str] = {}
    for each in error.errors():
        field = str(each["loc"][0])
        name, message = variable(field), each["msg"].removeprefix("Value error, ")
        value = repr(without_secrets(field, each["input"]))
        if value not in message:
            message = f"{value} cannot be used: {message[0].lower()}{message[1:]}"
        refusals.setdefault(name, f"{name}: {message}")
    return refusals


def without_secrets(field: str, value: object) -> object:
    """A setting's value as it may be printed: of a URL all but the password, of the webhook nothing."""
    if field == "alert_webhook":
        return HIDDEN if value else None
    is_url = isinstance(value, str) and (field == "database" or field.endswith("_url"))
    return without_password(str(value)) if is_url else value


def described(settings: type[BaseModel]) -> dict[str, str]:
    """What each setting is, by its field."""
    return {name: field.description or "" for name, field in settings.model_fields.items()}
