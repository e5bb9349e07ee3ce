"""What alembic runs for one unit: the scripts, on the connection that `migrate` opened, or as text without one.

Configures no logging and prints nothing of its own. Called by alembic only.
"""

from __future__ import annotations

from alembic import context

context.configure(**context.config.attributes["options"])
context.run_migrations()
