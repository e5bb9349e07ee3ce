"""One pandera contract per table, and the split of a frame into rows that keep it and rows that break it.

Here belongs what a row must be to be stored. What becomes of the rejected rows belongs to `orchestration`. pandera is
loaded when the first contract is made, not at import: it costs half a second. Called by `orchestration`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from crypto_assets.domain.entities import MarketType
from crypto_assets.domain.intervals import Interval
from crypto_assets.frames.candles import Candles

if TYPE_CHECKING:
    import pandera.pandas as pa


@dataclass(frozen=True)
class Verdict:
    """A judged frame: `kept` keeps the contract; `reasons` says, by index label of the frame, what the others break."""

    kept: pd.DataFrame
    reasons: dict[int, list[str]]


def judge(frame: pd.DataFrame, contract: pa.DataFrameSchema) -> Verdict:
    """Splits `frame` (unique integer index) by `contract`; the kept part keeps its index labels.

    Raises pandera's SchemaErrors where the frame as a whole is wrong (a missing column), which is our own mistake.
    """
    from pandera.errors import SchemaErrors  # noqa: PLC0415 - pandera is slow to import

    try:
        contract.validate(frame, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases
        if cases["index"].isna().any():
            raise
        reasons: dict[int, list[str]] = {}
        for label, column, context, check in zip(
            cases["index"], cases["column"], cases["schema_context"], cases["check"], strict=True
        ):
            reason = f"{column}: {check}" if context == "Column" else str(check)
            broken = reasons.setdefault(int(label), [])
            # A rule over the whole row is listed once for each of the row's columns.
            if reason not in broken:
                broken.append(reason)
        return Verdict(frame.drop(index=list(reasons)), reasons)
    return Verdict(frame, {})


def judge_candles(
    candles: Candles, interval: Interval, unpublished: frozenset[str] = frozenset()
) -> dict[int, list[str]]:
    """What candles break of `candle_contract`, by position; pandera is asked only where one does, for the reasons.

    A call of it takes 3.4 ms whatever the rows, more than all else that is done with a page of a thousand; the rules
    alone take 0.1 ms.
    """
    columns = candles.columns
    rules = _candle_columns(interval, unpublished)
    # What is null keeps no rule on its column, unless that is not published: no comparison with it holds.
    if all(bool(keeps(columns[name]).all()) for name, (_, _, keeps) in rules.items()) and all(
        bool(keeps(columns).all()) for keeps in _CANDLE_ROWS.values()
    ):
        return {}
    return judge(pd.DataFrame(columns), candle_contract(interval, unpublished)).reasons


def _candle_columns(
    interval: Interval, unpublished: frozenset[str]
) -> dict[str, tuple[str, str, Callable[[Any], Any]]]:
    """The type of each column of a candle, and the name and rule that each of its values must keep."""
    return {
        "open_time": ("int64", f"on the {interval.value} grid", lambda times: times % interval.milliseconds == 0),
        **dict.fromkeys(("open", "high", "low", "close"), ("float64", "positive", _is_positive)),
        **dict.fromkeys(("volume", "volume_quote", "trade_count"), ("float64", "not negative", _is_amount)),
        **dict.fromkeys(unpublished, ("float64", "not negative", _is_amount_if_any)),
    }


def _is_positive(values: Any) -> Any:
    return (values > 0) & (values < np.inf)


def _is_amount_if_any(values: Any) -> Any:
    return _is_amount(values) | np.isnan(values)


def _is_amount(values: Any) -> Any:
    return (values >= 0) & (values < np.inf)


_MOST_TRADES = 2.0**31 - 1  # what the column holds on every engine
_LARGEST, _SMALLEST = 1e100, 1e-100


def _is_beyond(values: Any, most: float) -> Any:
    return (values > most) & (values < np.inf)


# The rules on a whole row. Compared one by one: pandas' max over columns costs more than all other rules together.
_CANDLE_ROWS: dict[str, Callable[[Any], Any]] = {
    "high is the highest": lambda row: (
        ~((row["high"] < row["open"]) | (row["high"] < row["low"]) | (row["high"] < row["close"]))
    ),
    "low is the lowest": lambda row: ~((row["low"] > row["open"]) | (row["low"] > row["close"])),
    "trades are a whole number below 2^31": lambda row: (
        ~((row["trade_count"] % 1 > 0) | _is_beyond(row["trade_count"], _MOST_TRADES))
    ),
    # vwap, turnover_rate and change_pct divide them by each other, on engines that refuse what is no double.
    "numbers are between 1e-100 and 1e100": lambda row: (
        ~(_is_beyond(row["high"], _LARGEST) | ((row["low"] > 0) & (row["low"] < _SMALLEST)))
        & ~(_is_beyond(row["volume"], _LARGEST) | ((row["volume"] > 0) & (row["volume"] < _SMALLEST)))
        & ~_is_beyond(row["volume_quote"], _LARGEST)
    ),
}


@cache
def candle_contract(interval: Interval, unpublished: frozenset[str] = frozenset()) -> pa.DataFrameSchema:
    """What a candle must be: on the grid, positive finite prices, high and low at the edges, nothing negative.

    A candle in which nothing traded keeps the rules with volume 0.
    The columns that the venue leaves `unpublished` may be null.
    """
    import pandera.pandas as pa  # noqa: PLC0415 - pandera is slow to import

    return pa.DataFrameSchema(
        {
            name: pa.Column(dtype, pa.Check(keeps, name=rule), nullable=name in unpublished)
            for name, (dtype, rule, keeps) in _candle_columns(interval, unpublished).items()
        },
        checks=[pa.Check(keeps, name=rule) for rule, keeps in _CANDLE_ROWS.items()],
    )


@cache
def asset_contract() -> pa.DataFrameSchema:
    """What a row of `crypto_asset` must be: an id of its own and a symbol."""
    import pandera.pandas as pa  # noqa: PLC0415 - pandera is slow to import

    return pa.DataFrameSchema({"id": _text(128, unique=True), "symbol": _text(32)})


@cache
def market_contract(market_type: MarketType) -> pa.DataFrameSchema:
    """What a row of `crypto_pair` or `crypto_perp` must be: an id of its own, two currencies, positive steps."""
    import pandera.pandas as pa  # noqa: PLC0415 - pandera is slow to import

    step = pa.Check(lambda values: (values > 0) & (values < np.inf), name="positive")
    finite = pa.Check(lambda values: (values >= 0) & (values < np.inf), name="finite")
    limits = ["min_notional", "max_order_size"]
    if market_type is MarketType.SWAP:
        limits += ["contract_size", "maintenance_margin_rate", "initial_margin_rate"]
    columns = {
        "id": _text(128, unique=True),
        "code": _text(64),
        "exchange_id": _text(64),
        "status": _text(64, nullable=True),
        "name": _text(128),
        "price_step": pa.Column("float64", step),
        "qty_step": pa.Column("float64", step),
        **{name: pa.Column(nullable=True, checks=finite) for name in limits},
    }
    if market_type is MarketType.SWAP:
        columns["funding_interval_hours"] = pa.Column("int64", pa.Check.in_range(1, 8760))
    first, second = (
        ("base_symbol", "quote_symbol")
        if market_type is MarketType.SPOT
        else ("underlying_symbol", "settlement_symbol")
    )
    return pa.DataFrameSchema(columns | {first: _text(32), second: _text(32)})


def _text(longest: int, *, unique: bool = False, nullable: bool = False) -> pa.Column:
    """A column of text that every engine can hold, of so many characters."""
    import pandera.pandas as pa  # noqa: PLC0415 - pandera is slow to import

    printable = pa.Check(str.isprintable, element_wise=True, name="printable")
    return pa.Column(checks=[pa.Check.str_length(1, longest), printable], unique=unique, nullable=nullable)
