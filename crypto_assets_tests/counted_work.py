"""What is asked of a SQLite database meanwhile: statements, and rows that were brought from there into Python."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Engine, event


@dataclass
class Work:
    """The statements in their order, and how many rows came of all of them."""

    statements: list[str] = field(default_factory=list)
    rows: int = 0


@contextmanager
def counted() -> Iterator[Work]:
    """Counts what every SQLAlchemy engine of this process is asked."""
    work = Work()

    def brought(_, row):
        work.rows += 1
        return row

    def note(conn, cursor, statement, *_):
        work.statements.append(statement)
        cursor.row_factory = brought

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield work
    finally:
        event.remove(Engine, "before_cursor_execute", note)
