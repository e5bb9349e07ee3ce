r"""A frame's rows as the text that PostgreSQL's COPY and MySQL's LOAD DATA read by default, both the same.

Fields are separated by tabs, rows ended by `\n`, NULL is `\N`, and a backslash escapes itself, tabs and line ends. All
of it is made column by column in Arrow: a row costs a microsecond or two, however many columns it has. Doubles are
written in the shortest form that reads back as the same bits. Called by `server`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import JSON, Boolean, Column, Double, Integer, String

from crypto_assets.database.tables.columns import UtcTimestamp
from crypto_assets.database.writes.stored_values import column_values, doubles, utc_times

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Table

_TEXT = pa.large_string()  # 64-bit offsets: no batch is too large
_ESCAPES = {"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"}


def as_frame(rows: pd.DataFrame | Mapping[str, Any]) -> pd.DataFrame:
    """What `writes.upsert` takes as a frame, in which a text that is the same in every row is held once."""
    if isinstance(rows, pd.DataFrame):
        return rows
    count = next(len(values) for values in rows.values() if not isinstance(values, str))
    codes = np.zeros(count, np.int8)
    columns = {
        name: pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype([values]))
        if isinstance(values, str)
        else values
        for name, values in rows.items()
    }
    return pd.DataFrame(columns, copy=False)


def text_columns(frame: pd.DataFrame, table: Table, keys: list[str]) -> dict[str, pa.Array]:
    """Each column as the text of its values, not escaped yet, missing ones null; each key once, its last row.

    Raises ValueError where a value does not fit its column's type.
    """
    texts = {str(name): _text_column(frame[name], table.c[str(name)]) for name in frame.columns}
    last = _last_of_each([texts[name] for name in keys])
    return texts if last is None else {name: text.take(last) for name, text in texts.items()}


def text_rows(texts: dict[str, pa.Array], table: Table) -> pa.Buffer:
    """The file, in UTF-8: `texts` as `text_columns` made them, in their order."""
    fields = [
        pc.fill_null(
            _escaped(text) if isinstance(table.c[name].type, (String, JSON)) else text, pa.scalar(r"\N", _TEXT)
        )
        for name, text in texts.items()
    ]
    nothing, tab, end = (pa.scalar(text, _TEXT) for text in ("", "\t", "\n"))
    fields[-1] = pc.binary_join_element_wise(fields[-1], nothing, end)
    rows = pc.binary_join_element_wise(*fields, tab)
    # The strings of an Arrow array lie one behind the other: they are the file already.
    _, offsets, data = rows.buffers()
    ends = np.frombuffer(offsets, np.int64)
    return data.slice(ends[rows.offset], ends[rows.offset + len(rows)] - ends[rows.offset])


def _text_column(series: pd.Series[Any], column: Column[Any]) -> pa.Array:
    try:
        text = _vectorised(series, column.type)
    except (TypeError, ValueError) as error:
        raise ValueError(f"column {column.name!r} of {column.table.name}: {error}") from error
    if text is None:
        values = column_values(series, column)
        text = pa.array([None if value is None else str(value) for value in values], _TEXT)
    return text


def _vectorised(series: pd.Series[Any], kind: Any) -> pa.Array | None:
    """None where each value has to be looked at: decimals, JSON, and columns of mixed Python objects."""
    dtype = series.dtype
    if isinstance(kind, UtcTimestamp):
        return pa.array(utc_times(series)).cast(_TEXT)
    if isinstance(kind, Double):
        return pa.array(doubles(series), from_pandas=True).cast(_TEXT)
    if isinstance(kind, Boolean) and dtype == np.bool_:
        return pc.if_else(pa.array(series.to_numpy()), pa.scalar("1", _TEXT), pa.scalar("0", _TEXT))
    if isinstance(kind, Integer) and isinstance(dtype, np.dtype) and dtype.kind in "iu":
        return pa.array(series.to_numpy()).cast(_TEXT)
    if isinstance(kind, String):
        return _strings(series)
    return None


def _strings(series: pd.Series[Any]) -> pa.Array | None:
    try:
        array = pa.array(series, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return None
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if isinstance(array, pa.DictionaryArray) and _is_text(array.dictionary):
        return array.dictionary.cast(_TEXT).take(array.indices)
    return array.cast(_TEXT) if _is_text(array) else None


def _is_text(array: pa.Array) -> bool:
    return bool(pa.types.is_string(array.type) or pa.types.is_large_string(array.type))


def _escaped(text: pa.Array) -> pa.Array:
    """`text` as a field of the file; what repeats is escaped once."""
    encoded = text.dictionary_encode()
    distinct = encoded.dictionary
    for character, escape in _ESCAPES.items():
        distinct = pc.replace_substring(distinct, character, escape)
    return distinct.take(encoded.indices)


def _last_of_each(keys: list[pa.Array]) -> Any:
    """The positions of the last row of each key; None if every row has a key of its own."""
    if len(keys[-1].unique()) == len(keys[-1]):
        return None
    codes = [key.dictionary_encode(null_encoding="encode").indices.to_numpy() for key in keys]
    repeated = pd.DataFrame(dict(enumerate(codes))).duplicated(keep="last").to_numpy()
    return np.flatnonzero(~repeated) if repeated.any() else None
