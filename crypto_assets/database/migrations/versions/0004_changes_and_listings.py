"""Triggers that note which candles changed, and listings of more than one span. A frozen snapshot, as 0001 is."""
# ruff: noqa: INP001 - alembic loads its scripts by path

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from crypto_assets.database.migrations.operations import (
    TIME,
    column,
    create_table,
    dialect,
    drop_table,
    schema,
    string,
    unit,
)

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

META, KDATA, QUALITY = "crypto_meta", "crypto_kdata", "crypto_quality"
CHANGE, LISTING = "crypto_kdata_change", "crypto_listing"
DAILY, MONTHLY = ("1m", "5m"), ("15m", "30m", "1h", "4h", "1d")
CANDLES = [f"{kind}_{level}_kdata" for kind in ("cryptopair", "cryptoperp") for level in (*DAILY, *MONTHLY)]
EVENTS = ("update", "delete")  # not insert: it would double the cost of a row (docs/decisions/0014)


def upgrade() -> None:
    """Adds the tables and the triggers; what was verified before was so by another checksum, and is verified anew."""
    if unit() == META:
        create_table(
            META,
            LISTING,
            column("entity_id", string(128)),
            column("start", TIME),
            sa.Column("end", TIME),
            sa.PrimaryKeyConstraint("entity_id", "start", name=f"pk_{LISTING}"),
            sqlite_with_rowid=False,
        )
    if unit() == QUALITY:
        op.execute(f"UPDATE {_name(QUALITY, 'crypto_kdata_coverage')} SET digest = ''")
    if _candles():
        create_table(
            KDATA,
            CHANGE,
            column("candles", string(32)),
            column("entity_id", string(128)),
            column("partition", string(32)),
            sa.Column("found", string(64)),
            sa.PrimaryKeyConstraint("candles", "entity_id", "partition", name=f"pk_{CHANGE}"),
            sqlite_with_rowid=False,
        )
        if dialect() == "postgresql":
            op.execute(_function())
        for table in _candles():
            for event in EVENTS:
                _drop_trigger(table, event)
                op.execute(TRIGGERS[dialect()](table, event))


def downgrade() -> None:
    """Drops them."""
    for table in _candles():
        for event in EVENTS:
            _drop_trigger(table, event)
    if _candles():
        if dialect() == "postgresql":
            op.execute(f"DROP FUNCTION IF EXISTS {_name(KDATA, 'crypto_note_change')}")
        drop_table(KDATA, CHANGE)
    if unit() == META:
        drop_table(META, LISTING)


def _candles() -> list[str]:
    return CANDLES if unit() == KDATA else [table for table in CANDLES if table == unit()]


def _name(database: str, name: str) -> str:
    within, quote = schema(database), "`" if dialect() == "mysql" else '"'
    return f"{quote}{name}{quote}" if within is None else f"{quote}{within}{quote}.{quote}{name}{quote}"


def _drop_trigger(table: str, event: str) -> None:
    if dialect() == "postgresql":
        op.execute(f"DROP TRIGGER IF EXISTS {table}_{event} ON {_name(KDATA, table)}")
    else:
        op.execute(f"DROP TRIGGER IF EXISTS {_name(KDATA, f'{table}_{event}')}")


def _is_daily(table: str) -> bool:
    return table.split("_")[1] in DAILY


def _rows(event: str) -> tuple[str, ...]:
    """The row of an event whose partition changed: both where one became the other."""
    return {"update": ("OLD", "NEW"), "delete": ("OLD",)}[event]


def _sqlite(table: str, event: str) -> str:
    def key(row: str) -> str:
        return f"substr({row}.timestamp, 1, 10)" if _is_daily(table) else f"substr({row}.timestamp, 1, 7) || '-01'"

    # Asked first: the conflict clause of the statement that fires a trigger takes the place of the trigger's own.
    notes = " ".join(
        f"INSERT INTO {CHANGE} (candles, entity_id, partition) SELECT '{table}', {row}.entity_id, {key(row)}"
        f" WHERE NOT EXISTS (SELECT 1 FROM {CHANGE} WHERE candles = '{table}' AND entity_id = {row}.entity_id"
        f" AND partition = {key(row)});"
        for row in _rows(event)
    )
    return f"CREATE TRIGGER {table}_{event} AFTER {event.upper()} ON {table} BEGIN {notes} END"


def _mysql(table: str, event: str) -> str:
    written = "%Y-%m-%d" if _is_daily(table) else "%Y-%m-01"
    notes = " ".join(
        f"INSERT IGNORE INTO {_name(KDATA, CHANGE)} (candles, entity_id, `partition`)"
        f" VALUES ('{table}', {row}.entity_id, date_format({row}.timestamp, '{written}'));"
        for row in _rows(event)
    )
    trigger = f"CREATE TRIGGER {_name(KDATA, f'{table}_{event}')} AFTER {event.upper()} ON {_name(KDATA, table)}"
    return f"{trigger} FOR EACH ROW BEGIN {notes} END"


def _function() -> str:
    """One for all tables: which it is and how its partitions are written are arguments of the triggers."""
    # A mark that is there already is locked, not written: it must not be cleared before this change can be seen.
    note = (
        f"INSERT INTO {_name(KDATA, CHANGE)} AS mark (candles, entity_id, partition)"
        " SELECT DISTINCT TG_TABLE_NAME, entity_id, to_char(timestamp, TG_ARGV[0]) FROM {rows} ORDER BY 2, 3"
        " ON CONFLICT (candles, entity_id, partition) DO UPDATE SET found = mark.found WHERE false;"
    )
    old, new = note.format(rows="old_rows"), note.format(rows="new_rows")
    return (
        f"CREATE OR REPLACE FUNCTION {_name(KDATA, 'crypto_note_change')}() RETURNS trigger LANGUAGE plpgsql AS $$"
        f" BEGIN {old} IF TG_OP = 'UPDATE' THEN {new} END IF; RETURN NULL; END $$"
    )


def _postgresql(table: str, event: str) -> str:
    """For the statement as a whole: a trigger for each row would cost as much as storing it."""
    rows = " ".join(f"{row} TABLE AS {row.lower()}_rows" for row in _rows(event))
    written = "YYYY-MM-DD" if _is_daily(table) else "YYYY-MM-01"
    return (
        f"CREATE TRIGGER {table}_{event} AFTER {event.upper()} ON {_name(KDATA, table)} REFERENCING {rows}"
        f" FOR EACH STATEMENT EXECUTE FUNCTION {_name(KDATA, 'crypto_note_change')}('{written}')"
    )


TRIGGERS = {"sqlite": _sqlite, "mysql": _mysql, "postgresql": _postgresql}
