"""The Dagster project: what is an asset, when it runs, what is shown. The only package that knows Dagster.

The work itself is in two modules without Dagster, `population` and `collection`, which `cli` could call as well; the
rest turns them into assets, checks, jobs and schedules. Called by `definitions` and `cli`.
"""
