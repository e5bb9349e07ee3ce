"""Removing whole databases: only those that were once migrated, and nothing that others put there.

What else a rollback of the schema does belongs to `rollback`, which calls this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crypto_assets.database.errors import DatabaseError
from crypto_assets.database.migrations import migrate
from crypto_assets.database.revisions import BASE

if TYPE_CHECKING:
    from crypto_assets.database.engines import Database


def refuse_strangers(database: Database) -> None:
    """Raises DatabaseError where a schema or file that would be removed also holds what others made."""
    for unit in database.units:
        if strangers := database.strangers(unit):
            raise DatabaseError(
                f"{unit} in {database.location} also holds {', '.join(strangers)}, which crypto-assets did not make;"
                " move or drop them first."
            )


def remove_databases(database: Database) -> None:
    """Removes what was once migrated; a schema of that name that never was is somebody else's."""
    ours = [unit for unit in database.units if database.strangers(unit) is not None]
    migrate(database, ours, revision=BASE)
    with database.migration_lock():
        # `crypto_meta` last: while it is there, the rest is known to be ours.
        for unit in reversed(ours):
            database.remove(unit)
