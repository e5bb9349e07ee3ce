"""What alembic runs for one database: the scripts, on the connection and in the transaction that `migrate` opened.

Configures no logging and prints nothing. Called by alembic only.
"""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    transactional_ddl=True,
    database=context.config.attributes["database"],
)
context.run_migrations()
