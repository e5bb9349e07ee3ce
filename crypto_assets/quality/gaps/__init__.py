"""What is owed, what is missing of it, and what is known about that: coverage, holes, decisions, the gap ledger.

Called by `quality.verification.partitions`, `collect`, `orchestration` and `cli`.
"""
