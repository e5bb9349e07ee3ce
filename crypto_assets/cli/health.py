"""What `crypto-assets health` looks at: whose database it is, then its vitals. Called by the command.

How each is found out belongs to `quality.vitals`.
"""

from __future__ import annotations

import os
from pathlib import Path

from crypto_assets.composition import database_of
from crypto_assets.database.errors import DatabaseError
from crypto_assets.quality.vitals import Vital, vitals
from crypto_assets.settings import Settings
from crypto_assets.variables import variable


def examine(settings: Settings) -> list[Vital]:
    """The vitals of the environment's database; one that cannot be read fails instead of raising."""
    database = database_of(settings)
    try:
        database.check_identity()
        whose = Vital("database", passed=True, figure=f"{settings.environment.value} at {database.location}")
        return [whose, *vitals(database), _directories(settings)]
    except DatabaseError as error:
        return [Vital("database", passed=False, figure=str(error)), _directories(settings)]
    finally:
        database.dispose()


def _directories(settings: Settings) -> Vital:
    """Whether what the settings name can be written where it is, or made where it is not. Makes none of them."""
    named = {
        variable("state_directory"): settings.state_directory,
        variable("archive_directory"): settings.archive_directory,
        # The page lies beside the files of SQLite.
        variable("database"): settings.report_file.parent,
    }
    wrong = [f"{name}: {path} {why}" for name, path in named.items() if (why := _unwritable(path.absolute()))]
    figure = f"{'; '.join(wrong)}; name another, or change its rights" if wrong else f"{len(named)} can be written"
    return Vital("directories", not wrong, figure, len(wrong))


def _unwritable(path: Path) -> str | None:
    there = next(each for each in (path, *path.parents) if each.exists())
    if not there.is_dir():
        return f"cannot be a directory, {there} is a file" if there != path else "is a file"
    return None if os.access(there, os.W_OK | os.X_OK) else "cannot be written"
