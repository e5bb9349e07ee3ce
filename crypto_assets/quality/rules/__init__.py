"""What a stored row must be, one module a rule or family of rules: findings of set-based SQL.

Called by `quality.verification`, `quality.vitals` and `orchestration.checks.definitions`.
"""
