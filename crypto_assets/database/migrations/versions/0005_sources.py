"""Where candles came from, and the files of the exchange's archive among it. A frozen snapshot, as 0001 is."""
# ruff: noqa: INP001 - alembic loads its scripts by path

from __future__ import annotations

import sqlalchemy as sa

from crypto_assets.database.migrations.operations import (
    TIME,
    add_column,
    column,
    create_table,
    drop_column,
    drop_table,
    string,
    unit,
)

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

QUALITY = "crypto_quality"
COVERAGE, FILE = "crypto_kdata_coverage", "crypto_source_file"


def upgrade() -> None:
    """Adds the column and the table. Whatever was collected before, or by an older writer, came from REST."""
    if unit() == QUALITY:
        add_column(QUALITY, COVERAGE, column("source", string(32), server_default=sa.text("'rest'")))
        create_table(
            QUALITY,
            FILE,
            column("entity_id", string(128)),
            column("provider", string(32)),
            column("level", string(32)),
            column("period", string(16)),
            column("sha256", string(64)),
            column("rows", sa.Integer()),
            column("last_timestamp", TIME),
            column("loaded_at", TIME),
            column("checked_at", TIME),
            sa.PrimaryKeyConstraint("entity_id", "provider", "level", "period", name=f"pk_{FILE}"),
            sqlite_with_rowid=False,
        )


def downgrade() -> None:
    """Drops them. Which files were loaded is forgotten, so that none of them is noticed when it is replaced."""
    if unit() == QUALITY:
        drop_table(QUALITY, FILE)
        drop_column(QUALITY, COVERAGE, "source")
