"""What the workers of all machines have asked of the exchange. A frozen snapshot, as 0001 is."""
# ruff: noqa: INP001 - alembic loads its scripts by path

from __future__ import annotations

import sqlalchemy as sa

from crypto_assets.database.migrations.operations import TIME, column, create_table, drop_table, string, unit

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

OPERATIONS = "crypto_operations"
LEDGER = "crypto_weight_ledger"


def upgrade() -> None:
    """Adds the table."""
    if unit() == OPERATIONS:
        create_table(
            OPERATIONS,
            LEDGER,
            column("host", string(255)),
            column("state", sa.Text()),
            column("updated_timestamp", TIME),
            sa.PrimaryKeyConstraint("host", name=f"pk_{LEDGER}"),
        )


def downgrade() -> None:
    """Drops it. Each machine goes on with a budget of its own; a wait the exchange asked for is not told to others."""
    if unit() == OPERATIONS:
        drop_table(OPERATIONS, LEDGER)
