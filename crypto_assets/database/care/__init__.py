"""Keeping a database in shape, and proof that it is: statistics, sizes, health, and which index serves which query.

Called by `quality.health`, `orchestration` and `cli`.
"""
