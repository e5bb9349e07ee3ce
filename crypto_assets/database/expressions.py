"""SQL expressions whose spelling differs by engine.

Called by `quality`, so that its checks are written once. Statements as a whole belong to their callers.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Text, cast
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction


class epoch_milliseconds(GenericFunction[int]):  # noqa: N801 - an SQL function, named like the others
    """A naive UTC timestamp column as integer milliseconds since 1970; NULL where the stored text is no time."""

    type = BigInteger()
    inherit_cache = True


def as_written(timestamp: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether a timestamp is stored as the project writes it, so that text and time agree. SQLite takes any text."""
    return cast(timestamp, Text).like("____-__-__ __:__:__.______")


@compiles(epoch_milliseconds, "sqlite")
def _sqlite(element: epoch_milliseconds, compiler: SQLCompiler, **kwargs: Any) -> str:
    text = compiler.process(element.clauses, **kwargs)
    return f"(CAST(strftime('%s', {text}) AS INTEGER) * 1000 + CAST(substr({text}, 21, 3) AS INTEGER))"
