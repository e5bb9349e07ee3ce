"""What `crypto-assets health` looks at: whose database it is, then its vitals. Called by the command.

How each is found out belongs to `quality.health`.
"""

from __future__ import annotations

from crypto_assets.database.engines import open_database
from crypto_assets.database.errors import DatabaseError
from crypto_assets.quality.health import Vital, vitals
from crypto_assets.settings import Settings


def examine(settings: Settings) -> list[Vital]:
    """The vitals of the environment's database; one that cannot be read fails instead of raising."""
    database = open_database(settings.database_url, settings.environment)
    try:
        database.check_identity()
        whose = Vital("database", passed=True, figure=f"{settings.environment.value} at {database.location}")
        return [whose, *vitals(database)]
    except DatabaseError as error:
        return [Vital("database", passed=False, figure=str(error))]
    finally:
        database.dispose()
