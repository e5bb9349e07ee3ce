"""How the exchange spells a symbol, and its word for the symbol's state. A frozen snapshot, as 0001 is."""
# ruff: noqa: INP001 - alembic loads its scripts by path

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from crypto_assets.database.migrations.operations import add_column, column, drop_column, schema, string, unit

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

META = "crypto_meta"
MARKETS = ("crypto_pair", "crypto_perp")


def upgrade() -> None:
    """Adds both columns. Until now a symbol was asked for by its code in upper case, so its candles are of that one."""
    if unit() != META:
        return
    for name in MARKETS:
        add_column(META, name, column("exchange_id", string(64), server_default=sa.text("''")))
        add_column(META, name, sa.Column("status", string(64), nullable=True))
        table = sa.table(name, sa.column("exchange_id"), sa.column("code"), schema=schema(META))
        op.execute(
            table.update()
            .where(table.c.exchange_id == sa.literal_column("''"))
            .values(exchange_id=sa.func.upper(table.c.code))
        )


def downgrade() -> None:
    """Drops them: a symbol whose id is not its code in upper case cannot be asked for then."""
    if unit() == META:
        for name in MARKETS:
            drop_column(META, name, "status")
            drop_column(META, name, "exchange_id")
