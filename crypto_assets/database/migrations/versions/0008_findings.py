"""What checks found in partitions, and which candles they looked at. A frozen snapshot, as 0001 is."""
# ruff: noqa: INP001 - alembic loads its scripts by path

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from crypto_assets.database.migrations.operations import (
    JSON,
    TIME,
    add_column,
    column,
    create_table,
    drop_column,
    drop_table,
    schema,
    string,
    unit,
)

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

QUALITY = "crypto_quality"
COVERAGE, FINDING, LOG = "crypto_kdata_coverage", "crypto_kdata_finding", "crypto_data_quality_log"
CHECKED = ("plausibility_checked", "agreement_checked")


def upgrade() -> None:
    """Adds the table and the columns. What was found before is looked for once more: nobody knows in which candles."""
    if unit() == QUALITY:
        for name in CHECKED:
            add_column(QUALITY, COVERAGE, column(name, string(32), server_default=sa.text("''")))
        create_table(
            QUALITY,
            FINDING,
            column("check_name", string(32)),
            column("entity_id", string(128)),
            column("provider", string(32)),
            column("level", string(32)),
            column("partition", string(16)),
            column("checked", string(32)),
            column("found", JSON),
            column("found_at", TIME),
            sa.PrimaryKeyConstraint("check_name", "entity_id", "provider", "level", "partition", name=f"pk_{FINDING}"),
            sqlite_with_rowid=False,
        )
        within = schema(QUALITY)
        log = sa.table(LOG, sa.column("validation_type"), schema=within)
        # As they are written in SQL: values apart from it could not be printed.
        kinds: list[sa.ColumnElement[str]] = [
            sa.literal_column(f"'{kind}'") for kind in ("plausible", "agrees_with_minutes")
        ]
        op.execute(sa.delete(log).where(log.c.validation_type.in_(kinds)))


def downgrade() -> None:
    """Drops them. The checks look at every partition once more."""
    if unit() == QUALITY:
        drop_table(QUALITY, FINDING)
        for name in CHECKED:
            drop_column(QUALITY, COVERAGE, name)
