"""Maintaining a database: statistics, sizes, health, and which index serves which query.

Called by `quality.vitals`, `orchestration` and `cli`.
"""
