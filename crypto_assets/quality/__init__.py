"""What is wrong with the stored data: a connection goes in, findings come out, by set-based SQL.

Nothing here asks an exchange or knows Dagster. Called by `collect`, `report`, `orchestration` and `cli`.
"""
