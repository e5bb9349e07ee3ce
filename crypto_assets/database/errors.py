"""What can go wrong with a database, as sentences a user can act on.

Errors of SQL itself stay SQLAlchemy's. Raised by `engines` and `migrations`; caught by `cli` and `orchestration`.
"""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError


def one_sentence(error: Exception) -> str:
    """What a database said against a statement, without the statement and its values; any other error's own text."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    if not isinstance(error, DBAPIError):
        return str(error)
    text = str(cause.args[-1] if cause.args else cause).strip() or type(cause).__name__
    return f"the database refused it: {text.splitlines()[0].rstrip('.')}"


class DatabaseError(Exception):
    """A database cannot be used as asked; the message is one sentence."""


class MeansNothing(DatabaseError):  # noqa: N818 - named after the state, as users read it
    """What somebody named means nothing that there is, such as a table or a time; nothing was done."""


class UnsupportedDatabase(DatabaseError):  # noqa: N818 - named after the state, as users read it
    """The URL names a kind of database, or a form of URL, that this version does not serve."""


class DatabaseNotReady(DatabaseError):  # noqa: N818
    """The database was never migrated, or stands at another revision than this version of the project needs."""


class EnvironmentMismatch(DatabaseError):  # noqa: N818
    """The database holds another environment's data."""
