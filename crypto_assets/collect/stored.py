"""Stored candles as the frame that the exchange's candles come in, so that they can stand in for them.

Called by `collect.candles`. Reading for users belongs to `database.queries`.
"""

from __future__ import annotations

import pandas as pd
from sqlalchemy import Connection, Table, select

from crypto_assets.database.expressions import as_written, epoch_milliseconds
from crypto_assets.domain.intervals import Interval
from crypto_assets.domain.spans import Span
from crypto_assets.frames.candles import CANDLE_COLUMNS
from crypto_assets.quality.gaps.missing import within
from crypto_assets.quality.rules.candles import lacks_price


def stored_candles(
    connection: Connection, table: Table, entity_id: str, interval: Interval, span: Span
) -> pd.DataFrame:
    """An entity's candles of `span` that are on the grid and have their prices: `CANDLE_COLUMNS`, in order of time."""
    instant = epoch_milliseconds(table.c.timestamp)
    columns = [instant.label("open_time"), *(table.c[name] for name in CANDLE_COLUMNS[1:])]
    sound = (instant % interval.milliseconds == 0, as_written(table.c.timestamp), ~lacks_price(table))
    statement = select(*columns).where(*within(table, entity_id, span), *sound).order_by(table.c.timestamp)
    frame = pd.DataFrame([tuple(row) for row in connection.execute(statement).all()], columns=list(CANDLE_COLUMNS))
    return frame.astype({name: "int64" if name == "open_time" else "float64" for name in CANDLE_COLUMNS})
