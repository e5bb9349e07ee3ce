"""Column types that keep values exact on every engine, and short ways to declare a described column.

Here belongs how a kind of value is stored; which columns exist is said by the table modules beside this one. Called by
them, by `writes` and by `queries`.
"""

from __future__ import annotations

import math
from datetime import datetime
from decimal import Decimal, InvalidOperation, localcontext
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, Column, DateTime, MetaData, Numeric, String, Text
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.exc import CompileError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import ColumnElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from crypto_assets.domain.intervals import naive_utc

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect
    from sqlalchemy.sql.compiler import SQLCompiler

META, KDATA, TICK = "crypto_meta", "crypto_kdata", "crypto_tick"
QUALITY, OPERATIONS, SECURITY = "crypto_quality", "crypto_operations", "crypto_security"

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)

_DECIMAL_PRECISION, _DECIMAL_SCALE = 36, 8


JSON_DOCUMENT = JSON().with_variant(postgresql.JSONB(), "postgresql")
"""A JSON value. PostgreSQL: binary, as plain JSON cannot be compared there, and a write asks what differs."""


def string(length: int) -> String:
    """VARCHAR(length), compared and ordered byte by byte on every engine, as SQLite does.

    PostgreSQL needs the collation on each column, and only with it can a prefix be looked up in an index. MySQL takes
    the one its databases are created with.
    """
    return String(length).with_variant(postgresql.VARCHAR(length, collation="C"), "postgresql")


def timestamp_text(moment: datetime) -> str:
    """`moment` as SQLite stores it: `2024-08-01 00:05:00.000000`. Aware times become UTC, naive ones are UTC."""
    return naive_utc(moment).isoformat(sep=" ", timespec="microseconds")


def decimal_text(value: Decimal | float | str) -> str:
    """`value` as SQLite stores a DECIMAL(36, 8): plain notation, always eight places.

    A double is taken at its shortest decimal form. Raises ValueError for what a server would refuse: more than 28
    digits before the point, infinities.
    """
    exact = value if isinstance(value, Decimal) else Decimal(str(value))
    with localcontext() as context:
        context.prec = _DECIMAL_PRECISION
        try:
            return format(exact.quantize(Decimal(1).scaleb(-_DECIMAL_SCALE)), "f")
        except InvalidOperation:
            raise ValueError(f"{value} does not fit DECIMAL({_DECIMAL_PRECISION}, {_DECIMAL_SCALE})") from None


class UtcTimestamp(TypeDecorator[datetime]):
    """A naive UTC time to the microsecond. SQLite: text of fixed width, so that comparing text compares time."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """How this engine stores it."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(Text())
        if dialect.name in ("mysql", "mariadb"):
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(DateTime())

    def process_bind_param(self, value: datetime | str | None, dialect: Dialect) -> Any:
        """From Python to the engine."""
        if value is None:
            return None
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return timestamp_text(moment) if dialect.name == "sqlite" else naive_utc(moment)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """From the engine to Python."""
        return datetime.fromisoformat(value) if isinstance(value, str) else value


class ExactDecimal(TypeDecorator[Decimal]):
    """DECIMAL(36, 8). SQLite has none (it would make a double of it), so there it is text."""

    impl = Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """How this engine stores it."""
        stored: TypeEngine[Any] = Text() if dialect.name == "sqlite" else Numeric(_DECIMAL_PRECISION, _DECIMAL_SCALE)
        return dialect.type_descriptor(stored)

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """From Python to the engine."""
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return None
        text = decimal_text(value)
        return text if dialect.name == "sqlite" else Decimal(text)

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:  # noqa: ARG002
        """From the engine to Python."""
        return None if value is None else Decimal(value)


class PerDialect(ColumnElement[Any]):
    """The SQL of a generated column where engines disagree: one text per dialect name."""

    inherit_cache = False

    def __init__(self, **texts: str) -> None:
        self.texts = texts


@compiles(PerDialect)
def _compile_per_dialect(element: PerDialect, compiler: SQLCompiler, **_: Any) -> str:
    try:
        return element.texts[compiler.dialect.name]
    except KeyError:
        raise CompileError(f"a generated column has no text for {compiler.dialect.name}") from None


def required(name: str, kind: Any, comment: str, *constraints: Any, **options: Any) -> Column[Any]:
    """A described NOT NULL column."""
    return Column(name, kind, *constraints, nullable=False, comment=comment, **options)


def optional(name: str, kind: Any, comment: str, *constraints: Any, **options: Any) -> Column[Any]:
    """A described column that may be null."""
    return Column(name, kind, *constraints, nullable=True, comment=comment, **options)
