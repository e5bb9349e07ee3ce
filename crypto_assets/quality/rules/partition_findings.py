"""Findings by partition that are kept: a costly rule examines a partition once, and again when its candles changed.

The coverage has a column for each such rule: the checksum of the candles that the rule examined. What it found is in
`crypto_kdata_finding`, with the same checksum. A partition whose checksum is another one now is examined again.
Findings in candles that are gone, as after a rollback, are dropped when their coverage is gone. Called by
`quality.rules.plausibility` and `quality.rules.agreement`. Moments are naive UTC.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Connection,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal_column,
    select,
    update,
)

from crypto_assets.database.expressions import of_series, provider_of
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.series import CandleTable

PLAUSIBLE, AGREES = "plausible", "agrees_with_minutes"

PARTITIONS_PER_TRANSACTION = 500

_COVERAGE, _FINDING = TABLES["crypto_kdata_coverage"], TABLES["crypto_kdata_finding"]
_CHECKED = {PLAUSIBLE: _COVERAGE.c.plausibility_checked, AGREES: _COVERAGE.c.agreement_checked}
_LENGTH = 16  # letters of a checksum that are kept: enough to tell it from the checksum before it


@dataclass(frozen=True)
class SymbolFindings:
    """The findings of one symbol that hold, by partition key."""

    entity_id: str
    found: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Examined:
    """An examined partition: the start of its candles' checksum, and what was found there, if anything."""

    entity_id: str
    partition: str
    checked: str
    found: dict[str, Any] | None = None


def start_of(digest: str) -> str:
    """The start of a checksum, as it is stored with a finding."""
    return digest[:_LENGTH]


def fresh_partitions(
    connection: Connection, check: str, candle_table: CandleTable, collected_too: CandleTable | None = None
) -> list[tuple[str, str, str]]:
    """(entity id, partition, checksum) of verified partitions that changed since the check examined them; in order.

    With `collected_too` only those of symbols that were collected in that table as well.
    """
    c = _COVERAGE.c
    first: Any = literal_column("1")
    last: Any = literal_column(str(_LENGTH))
    checked: Any = _CHECKED[check] if check == PLAUSIBLE else func.substr(_CHECKED[check], first, last)
    changed = func.substr(c.digest, first, last) != checked
    fresh = select(c.entity_id, c.partition, c.digest).where(
        *of_series(c, provider_of(connection), candle_table), c.digest != "", changed
    )
    if collected_too is not None:
        # One look-up for each listed symbol. Asking which symbols have such rows would read all rows.
        other, listed = _COVERAGE.alias("other").c, TABLES[candle_table.entity_table].c.id
        of_other = of_series(other, provider_of(connection), collected_too, listed)
        fresh = fresh.where(c.entity_id.in_(select(listed).where(exists().where(*of_other))))
    return [(*row,) for row in connection.execute(fresh.order_by(c.entity_id, c.partition)).all()]


def checked_partitions(
    connection: Connection, check: str, candle_table: CandleTable, entity_id: str, partitions: Collection[str]
) -> dict[str, tuple[str, str]]:
    """Of these partitions, if verified: their checksum now, and the one that the check examined; in order."""
    c = _COVERAGE.c
    columns = (c.partition, c.digest, _CHECKED[check].label("checked"))
    chosen = (
        *of_series(c, provider_of(connection), candle_table, entity_id),
        c.partition.in_(partitions),
        c.digest != "",
    )
    rows = connection.execute(select(*columns).where(*chosen).order_by(c.partition))
    return {row.partition: (row.digest, row.checked) for row in rows.all()}


def record_examined(
    connection: Connection, check: str, candle_table: CandleTable, looked: Sequence[Examined], now: datetime
) -> None:
    """Notes that partitions were examined, and replaces earlier findings there by what was found now."""
    if not looked:
        return
    c = _COVERAGE.c
    key = (
        *of_series(c, provider_of(connection), candle_table, bindparam("of_entity_id")),
        c.partition == bindparam("of_partition"),
    )
    connection.execute(
        update(_COVERAGE).where(*key).values({_CHECKED[check]: bindparam("checked")}),
        [{"of_entity_id": each.entity_id, "of_partition": each.partition, "checked": each.checked} for each in looked],
    )
    before = _rows(connection, check, candle_table, {each.entity_id for each in looked})
    forget(connection, check, candle_table, before.intersection((each.entity_id, each.partition) for each in looked))
    rows = [
        {
            "check_name": check,
            "entity_id": each.entity_id,
            "provider": provider_of(connection),
            "level": candle_table.level,
            "partition": each.partition,
            "checked": each.checked,
            "found": each.found,
            "found_at": now,
        }
        for each in looked
        if each.found is not None
    ]
    if rows:
        connection.execute(insert(_FINDING), rows)


def load_findings(
    connection: Connection, check: str, candle_table: CandleTable
) -> tuple[list[SymbolFindings], set[tuple[str, str]]]:
    """The findings of a candle table that hold, by entity id; and the (entity id, partition) of outdated findings."""
    f, c = _FINDING.c, _COVERAGE.c
    of_partition = and_(*(f[name] == c[name] for name in ("entity_id", "provider", "level", "partition")))
    statement = (
        select(f.entity_id, f.partition, f.found, (_CHECKED[check] == f.checked).label("stands"))
        .join_from(_FINDING, _COVERAGE, of_partition, isouter=True)
        .where(f.check_name == check, *of_series(f, provider_of(connection), candle_table))
    )
    found: dict[str, dict[str, dict[str, Any]]] = {}
    outlived = set()
    for row in connection.execute(statement.order_by(f.entity_id, f.partition)).all():
        if row.stands:
            found.setdefault(row.entity_id, {})[row.partition] = row.found
        else:
            outlived.add((row.entity_id, row.partition))
    return [SymbolFindings(*each) for each in found.items()], outlived


def forget(
    connection: Connection, check: str, candle_table: CandleTable, partitions: Collection[tuple[str, str]]
) -> None:
    """Deletes the findings of these (entity id, partition)."""
    if partitions:
        f = _FINDING.c
        own = of_series(f, provider_of(connection), candle_table, bindparam("of_entity_id"))
        key = (f.check_name == check, *own, f.partition == bindparam("of_partition"))
        rows = [{"of_entity_id": entity_id, "of_partition": partition} for entity_id, partition in sorted(partitions)]
        connection.execute(delete(_FINDING).where(*key), rows)


def _rows(connection: Connection, check: str, candle_table: CandleTable, entity_ids: set[str]) -> set[tuple[str, str]]:
    f = _FINDING.c
    where = (f.check_name == check, f.provider == provider_of(connection), f.level == candle_table.level)
    rows = connection.execute(select(f.entity_id, f.partition).where(*where, f.entity_id.in_(sorted(entity_ids))))
    return {(row.entity_id, row.partition) for row in rows.all()}
