"""How a column becomes the values SQLite stores: exact, vectorised where it is hot.

Called by `sqlite`, and by `text_rows` for columns that hold Python objects. The same rules for single values are the
types in `tables.columns`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import orjson
import pandas as pd
from sqlalchemy import JSON, Boolean, Column, Double, Integer

from crypto_assets.database.tables.columns import ExactDecimal, UtcTimestamp, decimal_text

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Values: TypeAlias = pd.Series[Any] | npt.NDArray[Any]

_JSON_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
_DATE_LENGTH = len("2024-08-01")


def column_values(series: Values, column: Column[Any]) -> list[Any]:
    """The values of `series`, or of an array, as SQLite stores them in `column`: only None, str, int and float.

    Raises ValueError where a value does not fit the column's type.
    """
    try:
        return _converted(series, column.type)
    except (TypeError, ValueError) as error:
        raise ValueError(f"column {column.name!r} of {column.table.name}: {error}") from error


def _converted(series: Values, kind: Any) -> list[Any]:  # noqa: PLR0911 - one return for each kind of column
    if isinstance(kind, UtcTimestamp):
        return timestamp_texts(series)
    if isinstance(kind, Double):
        values: list[Any] = doubles(series).tolist()  # NaN needs no care: SQLite stores it as NULL
        return values
    if isinstance(kind, Boolean):
        return _booleans(series)
    if isinstance(kind, Integer):
        return _integers(series)
    if isinstance(kind, JSON):
        return _each(series, _json_text)
    if isinstance(kind, ExactDecimal):
        return _each(series, decimal_text)
    return _texts(pd.Series(series))


def timestamp_texts(series: Values) -> list[Any]:
    """`2024-08-01 00:05:00.000000` for each time (naive is UTC, aware is converted), None for NaT."""
    times = utc_times(series)
    texts = np.datetime_as_string(times)
    width = texts.dtype.itemsize // np.dtype("U1").itemsize
    if width > _DATE_LENGTH:
        texts.view("U1").reshape(len(texts), width)[:, _DATE_LENGTH] = " "
    values: list[Any] = texts.tolist()
    for position in np.flatnonzero(np.isnat(times)):
        values[position] = None
    return values


def utc_times(series: Values) -> npt.NDArray[np.datetime64]:
    """Naive UTC times to the microsecond, whatever holds them; NaT where one is missing."""
    if not pd.api.types.is_datetime64_dtype(series.dtype):
        # Of an object column each value says by itself whether it has an offset.
        series = pd.to_datetime(pd.Series(series), utc=True).dt.tz_localize(None)
    return np.asarray(series).astype("datetime64[us]")


def doubles(series: Values) -> npt.NDArray[np.float64]:
    """64-bit floats, NaN where one is missing."""
    if series.dtype == np.float64:
        return np.asarray(series)
    return pd.Series(series).to_numpy(dtype=np.float64, na_value=np.nan)


def _booleans(series: Values) -> list[Any]:
    # As integers: the driver looks up an adapter for every Python bool.
    if series.dtype == np.bool_:
        flags: list[Any] = np.asarray(series).astype(np.int8).tolist()
        return flags
    return _each(series, lambda value: int(bool(value)))


def _integers(series: Values) -> list[Any]:
    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "iu":
        numbers: list[Any] = np.asarray(series).tolist()
        return numbers
    return _each(series, _integer)


def _integer(value: Any) -> int:
    whole = int(value)
    if whole != value:
        raise ValueError(f"{value!r} is not a whole number")
    return whole


def _texts(series: pd.Series[Any]) -> list[Any]:
    if isinstance(series.dtype, pd.CategoricalDtype):
        categories, codes = series.dtype.categories, series.array.codes
        if len(categories) == 1 and not codes.any():
            return [str(categories[0])] * len(series)
        texts = [*_texts(categories.to_series()), None]
        return [texts[code] for code in codes.tolist()]
    if series.dtype == object or series.hasnans:
        return _each(series, str)
    return series.to_numpy(dtype=object).tolist()


def _json_text(value: Any) -> str:
    return orjson.dumps(value, default=str, option=_JSON_OPTIONS).decode()


def _each(series: Values, convert: Callable[[Any], Any]) -> list[Any]:
    values = pd.Series(series).to_numpy(dtype=object).tolist()
    return [None if _is_missing(value) else convert(value) for value in values]


def _is_missing(value: Any) -> bool:
    # pd.isna of a list or dict would look inside it.
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value)  # noqa: PLR0124
