"""The Dagster project: what is an asset, when it runs, what the UI shows. Every module here imports Dagster.

The work itself is done by `collect`, `quality` and `database`; an asset's body only calls them. `definitions`
and `cli`, which put it together and start it, know Dagster as well. Called by them.
"""
