"""The generated half of `docs/data-dictionary.md`: every table and column, from the definitions in `tables`.

    python -m crypto_assets.database.dictionary docs/data-dictionary.md

rewrites the file below its marker and keeps the hand-written notes above it. A test proves that the file is current.
Called by people who change a table; `cli` prints the same words.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sqlalchemy import JSON, BigInteger, Boolean, Column, Double, Integer, String, Table, Text

from crypto_assets.database.tables import TABLES, key_columns
from crypto_assets.database.tables.columns import ExactDecimal, UtcTimestamp
from crypto_assets.domain.entities import class_name
from crypto_assets.domain.series import KDATA_TABLES

MARKER = "<!-- Generated below this line by python -m crypto_assets.database.dictionary; edit the tables instead. -->"

_KINDS: tuple[tuple[type, str], ...] = (
    (UtcTimestamp, "timestamp"),
    (ExactDecimal, "decimal(36, 8)"),
    (JSON, "JSON"),
    (Boolean, "boolean"),
    (BigInteger, "bigint"),
    (Integer, "integer"),
    (Double, "double"),
    (Text, "text"),
)


def current_text(text: str) -> str:
    """`text`, a data dictionary, with everything below the marker made anew from the tables."""
    return f"{text.partition(MARKER)[0].rstrip()}\n\n{MARKER}\n\n{tables_text()}"


def tables_text() -> str:
    """Every table as Markdown; the fourteen candle tables, which differ in name and level only, as one."""
    first_candles = next(iter(KDATA_TABLES))
    shown = [table for name, table in TABLES.items() if name not in KDATA_TABLES or name == first_candles]
    return "\n".join(_table_text(table, candles=table.name == first_candles) for table in shown)


def _table_text(table: Table, *, candles: bool) -> str:
    heading = "Candles" if candles else f"`{table.name}`"
    lines = [f"## {heading}", ""]
    if candles:
        lines += [f"{', '.join(f'`{name}`' for name in KDATA_TABLES)}", ""]
    about = "Candles of one interval" if candles else table.comment
    classes = f"`{class_name(table.name)}`{' and so on' if candles else ''}"
    key = ", ".join(key_columns(table))
    lines += [
        f"{about}. Database `{table.schema}`, class {classes}, key ({key}).",
        "",
        "| column | type | null | meaning |",
        "|---|---|---|---|",
        *(_column_line(column) for column in table.columns),
        "",
    ]
    indexes = sorted(f"({', '.join(column.name for column in index.columns)})" for index in table.indexes)
    if indexes:
        lines += [f"Indexes: {', '.join(indexes)}.", ""]
    return "\n".join(lines)


def _column_line(column: Column[object]) -> str:
    comment = str(column.comment).replace("|", "\\|")
    return f"| `{column.name}` | {column_kind(column)} | {'yes' if column.nullable else ''} | {comment} |"


def column_kind(column: Column[object]) -> str:
    """A column's type as people are told it, the same on every engine."""
    for kind, name in _KINDS:
        if isinstance(column.type, kind):
            return name
    return f"varchar({column.type.length})" if isinstance(column.type, String) else str(column.type)


def main(path: str) -> None:
    """Rewrites the generated half of the file at `path`."""
    file = Path(path)
    file.write_text(current_text(file.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "docs/data-dictionary.md")
