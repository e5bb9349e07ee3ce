"""Printing: rows as a table or JSON, frames in the formats of `query`. Called by the commands."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import orjson
import pandas as pd
from rich.cells import cell_len, set_cell_size
from rich.console import Console

from crypto_assets.cli.misuse import Misuse

_BETWEEN = "  "


FORMATS = ("table", "csv", "json", "parquet")
_ENDINGS = {".txt": "table", ".csv": "csv", ".json": "json", ".parquet": "parquet"}


def show_rows(rows: Sequence[dict[str, Any]], *, as_json: bool, console: Console) -> None:
    """Prints rows with equal keys as JSON, or as lines for reading: nothing of them is ever cut.

    In a pipe, and where the terminal is wide enough, a line is a row below the keys. In a narrower terminal a row is
    what it is of, and below that its other values, each with its key.
    """
    if as_json:
        click.echo(orjson.dumps(list(rows), option=orjson.OPT_INDENT_2, default=str).decode())
        return
    for line in row_lines(rows, console.width if console.is_terminal else None):
        click.echo(line)


def row_lines(rows: Sequence[dict[str, Any]], width: int | None) -> list[str]:
    """The lines that show rows with equal keys within `width` cells; None is as wide as they are."""
    if not rows:
        return []
    names = list(rows[0])
    cells = [["" if value is None else str(value) for value in row.values()] for row in rows]
    widths = [max(cell_len(each) for each in column) for column in zip(names, *cells, strict=True)]
    if width is not None and sum(widths) + len(_BETWEEN) * (len(names) - 1) > width:
        return [line for row in cells for line in _block(names, row, width)]
    is_number = [all(isinstance(row[name], (int, float, type(None))) for row in rows) for name in names]
    return [
        _BETWEEN.join(
            set_cell_size(" " * (size - cell_len(cell)) + cell if right else cell, size)
            for cell, size, right in zip(line, widths, is_number, strict=True)
        ).rstrip()
        for line in (names, *cells)
    ]


def _block(names: Sequence[str], cells: Sequence[str], width: int) -> list[str]:
    """One row as a line with what comes first, and indented ones with the rest."""
    rest = [f"{name} {cell}" for name, cell in zip(names[1:], cells[1:], strict=True) if cell]
    lines, line = [cells[0]], ""
    for each in rest:
        if line and cell_len(line) + len(", ") + cell_len(each) + len(_BETWEEN) + 1 > width:
            lines.append(f"{_BETWEEN}{line},")
            line = each
        else:
            line = f"{line}, {each}" if line else each
    return [*lines, f"{_BETWEEN}{line}"] if line else lines


def chosen_format(form: str | None, output: Path | None) -> str:
    """The format that is asked for, by its name or by the ending of the file to write; a table where neither says.

    Raises Misuse where the two contradict each other, and for an ending that says nothing where no name does.
    """
    if output is None:
        return form or "table"
    of_file = _ENDINGS.get(output.suffix.lower())
    if form is None and of_file is None:
        raise Misuse(f"The ending of {output} names no format; say which with --format ({', '.join(FORMATS)}).")
    if form is not None and of_file is not None and of_file != form:
        raise Misuse(f"--format {form} contradicts the ending of {output}, which says {of_file}; change one of them.")
    return form or of_file or "table"


def show_frame(frame: pd.DataFrame, form: str, output: Path | None) -> None:
    """Prints a frame as `table`, `csv`, `json` (records, ISO times) or `parquet`, to stdout or into `output`."""
    if form == "parquet":
        if output is None and sys.stdout.isatty():
            raise Misuse("parquet is binary: name a file with --output, or redirect stdout to one")
        content = frame.to_parquet(index=False)
    elif form == "csv":
        content = _with_json_texts(frame).to_csv(index=False).encode()
    elif form == "json":
        content = _json(frame)
    else:
        content = (str(frame.to_string(index=False)) if len(frame) else "no rows").encode() + b"\n"
    if output is None:
        click.echo(content, nl=False)
        return
    try:
        output.write_bytes(content)
    except OSError as error:
        raise click.ClickException(f"{output} cannot be written: {error.strerror}") from error


def _with_json_texts(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its JSON values as JSON, not as Python would write them."""
    texts = {
        name: [orjson.dumps(each).decode() if isinstance(each, (dict, list)) else each for each in frame[name]]
        for name in frame.columns[frame.dtypes.map(pd.api.types.is_object_dtype)]
    }
    return frame.assign(**texts)


def _json(frame: pd.DataFrame) -> bytes:
    """Records with every double as the shortest text that reads back equal; pandas' own writer keeps 15 digits only."""
    times = frame.select_dtypes("datetime").columns
    texts = {name: frame[name].dt.strftime("%Y-%m-%dT%H:%M:%S.%f") for name in times}
    records = frame.assign(**texts).astype(object).to_dict("records")
    return orjson.dumps(records, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
