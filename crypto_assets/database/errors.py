"""What can go wrong with a database, as sentences a user can act on.

Errors of SQL itself stay SQLAlchemy's. Raised by `engines` and `migrations`; caught by `cli` and `orchestration`.
"""

from __future__ import annotations


class DatabaseError(Exception):
    """A database cannot be used as asked; the message is one sentence."""


class UnsupportedDatabase(DatabaseError):  # noqa: N818 - named after the state, as users read it
    """The URL names a kind of database, or a form of URL, that this version does not serve."""


class DatabaseNotReady(DatabaseError):  # noqa: N818
    """The database was never migrated, or stands at another revision than this version of the project needs."""


class EnvironmentMismatch(DatabaseError):  # noqa: N818
    """The database holds another environment's data."""
