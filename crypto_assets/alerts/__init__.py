"""What broke, said once: incidents, and the webhook they are told to. Values and one POST; no Dagster, no database.

When a run or a check counts as broken belongs to `orchestration.alerts.sensor`, which calls this.
"""
