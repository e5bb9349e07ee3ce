"""SQL expressions that several statements share, most of them because their spelling differs by engine.

Called by `quality`, `collect`, `report`, `archive`, `removal` and `result_frames`, whose statements are thus the same
on every engine. Statements as a whole belong to their callers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Boolean, ColumnElement, Connection, Table, Text, and_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

from crypto_assets.domain.entities import exchange_in
from crypto_assets.domain.intervals import to_naive

if TYPE_CHECKING:
    from sqlalchemy.sql.base import ReadOnlyColumnCollection

    from crypto_assets.domain.series import CandleTable
    from crypto_assets.domain.spans import Span


def of_entity_type(entity_id: ColumnElement[str], entity_type: str) -> ColumnElement[bool]:
    """Whether an id column holds an entity of `entity_type`, as a range that an index on the column serves.

    Ids begin with their type and an underscore, after which comes the backquote.
    """
    return and_(entity_id >= f"{entity_type}_", entity_id < f"{entity_type}`")


def provider_of(connection: Connection) -> str:
    """The provider whose data the connection's database was opened for: on a server others may have rows beside it."""
    return str(connection.get_execution_options()["provider"])


def unpublished_by(connection: Connection) -> frozenset[str]:
    """The columns of candles that the connection's provider does not publish, and that are null therefore."""
    return frozenset(connection.get_execution_options()["unpublished"])


def of_own_exchange(connection: Connection, entities: Table) -> ColumnElement[bool]:
    """The condition for the rows of an entity table that the connection's provider listed."""
    return entities.c.exchange == provider_of(connection)


def is_own(connection: Connection, entity_id: str) -> bool:
    """Whether an entity id names the connection's provider, or none: whoever looks is told of what is no entity id."""
    return exchange_in(entity_id) in ("", provider_of(connection))


def of_series(
    columns: ReadOnlyColumnCollection[str, Any],
    provider: str,
    candle_table: CandleTable,
    entity_id: str | ColumnElement[str] | None = None,
) -> list[ColumnElement[bool]]:
    """The conditions for the rows about one symbol of a candle table, or about all, in a table keyed by entity.

    Its columns are `entity_id`, `provider` and `level`: coverage, gaps, decisions, findings and archived months.
    """
    own = [columns.provider == provider, columns.level == candle_table.level]
    if entity_id is not None:
        return [*own, columns.entity_id == entity_id]
    return [*own, of_entity_type(columns.entity_id, candle_table.entity_type)]


def within(table: Table, entity_id: str, span: Span) -> list[ColumnElement[bool]]:
    """The conditions for an entity's rows of `span`, whatever their times look like."""
    return [table.c.entity_id == entity_id, *opens_in(table.c, span)]


def opens_in(columns: ReadOnlyColumnCollection[str, Any], span: Span) -> list[ColumnElement[bool]]:
    """The conditions for the rows whose `timestamp` lies in `span`."""
    return [columns.timestamp >= to_naive(span.start), columns.timestamp < to_naive(span.end)]


class epoch_milliseconds(GenericFunction[int]):  # noqa: N801 - an SQL function, named like the others
    """A naive UTC timestamp column as integer milliseconds since 1970, rounded down; NULL where it is no time."""

    type = BigInteger()
    inherit_cache = True


class written_text(GenericFunction[str]):  # noqa: N801
    """A timestamp column as the text that SQLite stores: `2024-08-01 00:05:00.000000`."""

    type = Text()
    inherit_cache = True


class as_written(GenericFunction[bool]):  # noqa: N801
    """Whether a timestamp is stored as the project writes it, so that text and time agree.

    SQLite takes any text; the types of the servers hold nothing else, so there it is always true.
    """

    type = Boolean()
    inherit_cache = True


def _argument(element: GenericFunction[Any], compiler: SQLCompiler, **kwargs: Any) -> str:
    return compiler.process(element.clauses, **kwargs)


@compiles(epoch_milliseconds, "sqlite")
def _milliseconds_sqlite(element: epoch_milliseconds, compiler: SQLCompiler, **kwargs: Any) -> str:
    text = _argument(element, compiler, **kwargs)
    return f"(CAST(strftime('%s', {text}) AS INTEGER) * 1000 + CAST(substr({text}, 21, 3) AS INTEGER))"


@compiles(epoch_milliseconds, "postgresql")
def _milliseconds_postgresql(element: epoch_milliseconds, compiler: SQLCompiler, **kwargs: Any) -> str:
    return f"CAST(floor(extract(epoch FROM {_argument(element, compiler, **kwargs)}) * 1000) AS bigint)"


@compiles(epoch_milliseconds, "mysql", "mariadb")
def _milliseconds_mysql(element: epoch_milliseconds, compiler: SQLCompiler, **kwargs: Any) -> str:
    microseconds = f"timestampdiff(MICROSECOND, '1970-01-01', {_argument(element, compiler, **kwargs)})"
    return f"CAST(floor({microseconds} / 1000) AS SIGNED)"


@compiles(written_text, "sqlite")
def _text_sqlite(element: written_text, compiler: SQLCompiler, **kwargs: Any) -> str:
    return f"CAST({_argument(element, compiler, **kwargs)} AS TEXT)"


@compiles(written_text, "postgresql")
def _text_postgresql(element: written_text, compiler: SQLCompiler, **kwargs: Any) -> str:
    return f"to_char({_argument(element, compiler, **kwargs)}, 'YYYY-MM-DD HH24:MI:SS.US')"


@compiles(written_text, "mysql", "mariadb")
def _text_mysql(element: written_text, compiler: SQLCompiler, **kwargs: Any) -> str:
    return f"CAST({_argument(element, compiler, **kwargs)} AS CHAR)"


@compiles(as_written, "sqlite")
def _written_sqlite(element: as_written, compiler: SQLCompiler, **kwargs: Any) -> str:
    return f"(CAST({_argument(element, compiler, **kwargs)} AS TEXT) LIKE '____-__-__ __:__:__.______')"


@compiles(as_written, "postgresql", "mysql", "mariadb")
def _written_server(element: as_written, compiler: SQLCompiler, **kwargs: Any) -> str:  # noqa: ARG001
    return "true"


class whole_part(GenericFunction[int]):  # noqa: N801
    """A double without its fraction, as an integer. Servers refuse what is no integer of 64 bits."""

    type = BigInteger()
    inherit_cache = True


class where_computable(GenericFunction[Any]):  # noqa: N801
    """The second argument where the first holds, else NULL: arithmetic that overflows is an error on servers.

    On SQLite, where it is none, the condition is left out: asking costs more than computing.
    """

    inherit_cache = True


class texts_in_order(GenericFunction[str]):  # noqa: N801
    """A group's texts or numbers with commas between them; the arguments are the text and what orders the rows.

    SQLite has no order within a group, and reads a range of a key in the key's order.
    """

    type = Text()
    inherit_cache = True


@compiles(whole_part, "sqlite")
def _whole_sqlite(element: whole_part, compiler: SQLCompiler, **kwargs: Any) -> str:
    return f"CAST({_argument(element, compiler, **kwargs)} AS INTEGER)"


@compiles(whole_part, "postgresql")
def _whole_postgresql(element: whole_part, compiler: SQLCompiler, **kwargs: Any) -> str:
    return f"CAST(trunc({_argument(element, compiler, **kwargs)}) AS bigint)"


@compiles(whole_part, "mysql", "mariadb")
def _whole_mysql(element: whole_part, compiler: SQLCompiler, **kwargs: Any) -> str:
    return f"CAST(truncate({_argument(element, compiler, **kwargs)}, 0) AS SIGNED)"


@compiles(where_computable, "sqlite")
def _computable_sqlite(element: where_computable, compiler: SQLCompiler, **kwargs: Any) -> str:
    _, value = element.clauses
    return compiler.process(value, **kwargs)


@compiles(where_computable, "postgresql", "mysql", "mariadb")
def _computable_server(element: where_computable, compiler: SQLCompiler, **kwargs: Any) -> str:
    condition, value = (compiler.process(each, **kwargs) for each in element.clauses)
    return f"CASE WHEN {condition} THEN {value} END"


@compiles(texts_in_order, "sqlite")
def _texts_sqlite(element: texts_in_order, compiler: SQLCompiler, **kwargs: Any) -> str:
    text, _ = element.clauses
    return f"group_concat({compiler.process(text, **kwargs)})"


@compiles(texts_in_order, "postgresql")
def _texts_postgresql(element: texts_in_order, compiler: SQLCompiler, **kwargs: Any) -> str:
    text, order = (compiler.process(each, **kwargs) for each in element.clauses)
    return f"string_agg(CAST({text} AS text), ',' ORDER BY {order})"


@compiles(texts_in_order, "mysql", "mariadb")
def _texts_mysql(element: texts_in_order, compiler: SQLCompiler, **kwargs: Any) -> str:
    text, order = (compiler.process(each, **kwargs) for each in element.clauses)
    return f"group_concat({text} ORDER BY {order})"
