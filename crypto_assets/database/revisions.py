"""The revisions of the schema by id, oldest first: what `engines` compares a file with, without loading alembic.

The scripts themselves are in `migrations/versions`; a test proves that they are these.
"""

from __future__ import annotations

BASE = "base"
REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009")
HEAD = REVISIONS[-1]
