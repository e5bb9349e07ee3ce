"""Where Dagster keeps its history: DAGSTER_HOME, else the current directory by a dagster.yaml that is put there.

Called by `demo` and `dev`, which have one made; other commands use what is there (`runs.project_instance`).
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

import click

from crypto_assets.cli.misuse import Misuse

SHIPPED = Path(__file__).resolve().parents[1] / "dagster.yaml"
"""The dagster.yaml of this package, which a checkout has in its root as well."""


def prepare_home() -> Path:
    """The directory that DAGSTER_HOME is to name for what is kept here. Raises ClickException where it names none.

    Without DAGSTER_HOME it is `.dagster`, which holds the history anyway, with a link to the settings beside it: so
    Dagster neither takes the history for a temporary one nor leaves its logs among the user's files.
    """
    named = os.environ.get("DAGSTER_HOME")
    if named:
        if not Path(named).is_absolute() or not Path(named).is_dir():
            raise Misuse(f"DAGSTER_HOME is {named!r}; it must be the absolute path of a directory.")
        return Path(named)
    settings, home = Path("dagster.yaml"), Path(".dagster").absolute()
    try:
        if not settings.exists():
            shutil.copyfile(SHIPPED, settings)
        home.mkdir(exist_ok=True)
        with suppress(FileExistsError):
            (home / settings.name).symlink_to(Path("..") / settings)
    except OSError as error:
        raise click.ClickException(
            f"{error.filename2 or error.filename} cannot be written: {error.strerror}; run this elsewhere,"
            " or set DAGSTER_HOME to a directory of yours."
        ) from error
    return home
