"""A finding: what a rule returns. The other modules here make findings; `orchestration.checks.verdicts` shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, case, func, select

SAMPLE_SIZE = 20


@dataclass(frozen=True)
class Finding:
    """The exact number of offending rows among `rows`, and at most `SAMPLE_SIZE` of them."""

    count: int
    rows: int
    sample: list[dict[str, Any]] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether nothing offends."""
        return self.count == 0

    def __add__(self, other: Finding) -> Finding:
        """Both findings as one, with as many samples as one may have."""
        return Finding(self.count + other.count, self.rows + other.rows, (self.sample + other.sample)[:SAMPLE_SIZE])


def find_rows(
    connection: Connection,
    source: FromClause,
    offends: ColumnElement[bool],
    shown: Sequence[ColumnElement[Any]],
    scope: Sequence[ColumnElement[bool]] = (),
) -> Finding:
    """The rows of `source` within `scope` for which `offends` is true, counted, sampled in the order of `shown`."""
    # A NULL offends against no other rule: the check `no_null_ohlc` looks for it, and only that check may turn red.
    rows, count = connection.execute(
        select(func.count(), func.count(case((offends, 1)))).select_from(source).where(*scope)
    ).one()
    if not count:
        return Finding(0, rows)
    sample = connection.execute(select(*shown).where(offends, *scope).order_by(*shown).limit(SAMPLE_SIZE))
    return Finding(count, rows, [dict(row) for row in sample.mappings()])
