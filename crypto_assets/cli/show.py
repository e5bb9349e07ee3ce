"""Printing: rows as a table or JSON, frames in the formats of `query`. Called by the commands."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import orjson
import pandas as pd
from rich.console import Console
from rich.table import Table


def show_rows(rows: Sequence[dict[str, Any]], *, as_json: bool, console: Console) -> None:
    """Prints rows with equal keys as JSON, or as a table with the keys as its head."""
    if as_json:
        click.echo(orjson.dumps(list(rows), option=orjson.OPT_INDENT_2, default=str).decode())
        return
    table = Table()
    for name in rows[0] if rows else ():
        table.add_column(name, justify="right" if isinstance(rows[0][name], (int, float)) else "left", overflow="fold")
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    console.print(table)


def show_frame(frame: pd.DataFrame, form: str, output: Path | None) -> None:
    """Prints a frame as `table`, `csv`, `json` (records, ISO times) or `parquet`, to stdout or into `output`."""
    if form == "parquet":
        if output is None and sys.stdout.isatty():
            raise click.ClickException("parquet is binary: name a file with --output, or redirect stdout to one")
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
        for name in frame.select_dtypes("object").columns
    }
    return frame.assign(**texts)


def _json(frame: pd.DataFrame) -> bytes:
    """Records with every double as the shortest text that reads back equal; pandas' own writer keeps 15 digits only."""
    times = frame.select_dtypes("datetime").columns
    texts = {name: frame[name].dt.strftime("%Y-%m-%dT%H:%M:%S.%f") for name in times}
    records = frame.assign(**texts).astype(object).to_dict("records")
    return orjson.dumps(records, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
