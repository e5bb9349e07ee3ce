"""What was decided about long holes between collected partitions. A frozen snapshot, as 0001 is."""
# ruff: noqa: INP001 - alembic loads its scripts by path

from __future__ import annotations

import sqlalchemy as sa

from crypto_assets.database.migrations.operations import TIME, column, create_table, drop_table, string, unit

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

QUALITY = "crypto_quality"
DECISION = "crypto_kdata_decision"


def upgrade() -> None:
    """Adds the table."""
    if unit() == QUALITY:
        create_table(
            QUALITY,
            DECISION,
            column("entity_id", string(128)),
            column("provider", string(32)),
            column("level", string(32)),
            column("start", TIME),
            column("end", TIME),
            column("decision", string(16)),
            column("decided_at", TIME),
            column("decided_by", string(255)),
            sa.PrimaryKeyConstraint("entity_id", "provider", "level", "start", name=f"pk_{DECISION}"),
            sqlite_with_rowid=False,
        )


def downgrade() -> None:
    """Drops it. An older version owes every hole, whatever was decided."""
    if unit() == QUALITY:
        drop_table(QUALITY, DECISION)
