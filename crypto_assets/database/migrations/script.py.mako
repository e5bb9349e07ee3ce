"""${message}"""

# ruff: noqa: INP001 - alembic loads its scripts by path

from __future__ import annotations

from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Applies this revision to the database that is being migrated: `op.get_context().opts["database"]`."""


def downgrade() -> None:
    """Takes it back."""
