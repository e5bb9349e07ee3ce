"""The error of a command line that cannot be meant: one sentence and exit code 2.

Exit codes: 0 is well, 1 is red or failed, 2 is misused; click's own usage errors are 2, too. Raised by the commands.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click


class Misuse(click.ClickException):
    """What was asked for cannot be meant; nothing was done."""

    exit_code = 2


@contextmanager
def stating_misuse() -> Iterator[None]:
    """Makes a Misuse of a ValueError: the sentence that domain and database have for what a user wrote."""
    try:
        yield
    except ValueError as error:
        raise Misuse(str(error)) from error


def named(option: str, text: str | None) -> list[str] | None:
    """The comma-separated names of an option, each once; None where it was not given. Raises Misuse for no name."""
    if text is None:
        return None
    names = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not names:
        raise Misuse(f"{option} {text!r} names nothing; leave it out, or name some, separated by commas.")
    return names
