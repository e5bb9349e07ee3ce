"""Which months of candles are archived: the rows of `crypto_kdata_archive` as values, found, written and removed.

What is in a file belongs to `database.archive.files`, when rows move to `database.archive.move`. Called by that module,
by `database.archive.reads` and `database.queries`, and by `quality`, for which an archived candle is a present one.
Times are naive UTC, as everywhere in the database.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, delete, insert, literal, select

from crypto_assets.database.expressions import of_series
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.intervals import PartitionScheme, naive_utc, partition_span, to_milliseconds
from crypto_assets.domain.series import CandleTable
from crypto_assets.domain.spans import Span

_MANIFEST = TABLES["crypto_kdata_archive"]
_ANYTHING = select(literal(1)).select_from(_MANIFEST).limit(1)
"""Most databases have archived nothing: asking that costs a fifth of asking for months."""


@dataclass(frozen=True)
class ArchivedMonth:
    """One entity's archived month of one candle table, in the words of the manifest."""

    entity_id: str
    month: str  # 2023-03-01
    path: str  # relative to the archive's directory, with / between its parts
    rows: int
    bytes: int
    first_timestamp: datetime
    last_timestamp: datetime
    digest: str

    def continuous_span(self, step: int) -> Span | None:
        """From the first candle to the end of the last, in milliseconds; None if one in between is not in the file.

        `step` is the interval's length in milliseconds. Every archived candle is on the grid, none of them twice.
        """
        span = Span(to_milliseconds(self.first_timestamp), to_milliseconds(self.last_timestamp) + step)
        return span if self.rows == (span.end - span.start) // step else None


def month_span(month: str) -> Span:
    """The milliseconds of a month named by its first day. Raises ValueError for another day or no date."""
    span = partition_span(PartitionScheme.MONTHLY, month)
    if not month.endswith("-01"):
        raise ValueError(f"{month!r} is not the first day of a month")
    return span


def archived_months(
    connection: Connection,
    candle_table: CandleTable,
    provider: str,
    *,
    entity_ids: Sequence[str] | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> list[ArchivedMonth]:
    """The archived months of a candle table with a candle between `start` and `end` (both included), oldest first.

    One lookup by key where entities are named, else one reading of the manifest. Needs the database crypto_quality.
    """
    if connection.scalar(_ANYTHING) is None:
        return []
    c = _MANIFEST.c
    if entity_ids is None:
        conditions = of_series(c, provider, candle_table)
    else:
        conditions = [c.provider == provider, c.level == candle_table.level, c.entity_id.in_(entity_ids)]
    if start is not None:
        conditions.append(c.last_timestamp >= start)
    if end is not None:
        conditions.append(c.first_timestamp <= end)
    columns = [c[name] for name in ArchivedMonth.__dataclass_fields__]
    found = connection.execute(select(*columns).where(*conditions).order_by(c.month, c.entity_id))
    return [ArchivedMonth(*row) for row in found.all()]


def archived_month(
    connection: Connection, candle_table: CandleTable, provider: str, entity_id: str, month: str
) -> ArchivedMonth | None:
    """One entity's archived month; None if it is not archived."""
    found = archived_months(connection, candle_table, provider, entity_ids=[entity_id])
    return next((each for each in found if each.month == month), None)


def record_month(connection: Connection, candle_table: CandleTable, provider: str, archived: ArchivedMonth) -> None:
    """Writes a month into the manifest, in place of what was there."""
    forget_month(connection, candle_table, provider, archived)
    values = {name: getattr(archived, name) for name in ArchivedMonth.__dataclass_fields__}
    now = naive_utc(datetime.now(UTC))
    key = {"provider": provider, "level": candle_table.level}
    connection.execute(insert(_MANIFEST), values | key | {"archived_at": now})


def forget_month(connection: Connection, candle_table: CandleTable, provider: str, archived: ArchivedMonth) -> None:
    """Removes a month from the manifest."""
    c = _MANIFEST.c
    own = of_series(c, provider, candle_table, archived.entity_id)
    connection.execute(delete(_MANIFEST).where(*own, c.month == archived.month))
