"""A record of every schema change, and the manifest of archived candles. A frozen snapshot, as 0001 is."""
# ruff: noqa: INP001 - alembic loads its scripts by path

from __future__ import annotations

import sqlalchemy as sa

from crypto_assets.database.migrations.operations import TIME, column, create_table, drop_table, string, unit

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

RECORD, ARCHIVE = "crypto_schema_migration", "crypto_kdata_archive"


def upgrade() -> None:
    """Adds the two tables to the databases they belong to."""
    if unit() == "crypto_meta":
        create_table(
            unit(),
            RECORD,
            column("id", string(128)),
            column("database", string(64)),
            sa.Column("revision_before", string(16)),
            sa.Column("revision_after", string(16)),
            column("version", string(32)),
            column("started_at", TIME),
            column("seconds", sa.Double()),
            sa.PrimaryKeyConstraint("id", name=f"pk_{RECORD}"),
        )
    if unit() == "crypto_quality":
        create_table(
            unit(),
            ARCHIVE,
            column("entity_id", string(128)),
            column("provider", string(32)),
            column("level", string(32)),
            column("month", string(16)),
            column("path", string(255)),
            column("rows", sa.Integer()),
            column("bytes", sa.BigInteger()),
            column("first_timestamp", TIME),
            column("last_timestamp", TIME),
            column("digest", string(64)),
            column("archived_at", TIME),
            sa.PrimaryKeyConstraint("entity_id", "provider", "level", "month", name=f"pk_{ARCHIVE}"),
            sqlite_with_rowid=False,
        )


def downgrade() -> None:
    """Drops them. The archived files stay where they are, and are no longer read: restore them first."""
    if unit() == "crypto_meta":
        drop_table(unit(), RECORD)
    if unit() == "crypto_quality":
        drop_table(unit(), ARCHIVE)
