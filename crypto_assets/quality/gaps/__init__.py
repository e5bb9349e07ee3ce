"""What is owed and what is missing of it: coverage, holes, decisions, the ledger of gaps, repairs that are due.

Called by `quality.verification`, `quality.rules`, `quality.retention`, `collect`, `orchestration` and `cli`.
"""
