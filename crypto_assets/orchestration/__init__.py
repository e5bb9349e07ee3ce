"""The Dagster project: what is an asset, when it runs, what is shown. Every module here needs Dagster.

The work itself is done by `collect`, `quality` and `database`; an asset's body is a sentence about them. `definitions`
and `cli`, which put it together and start it, know Dagster as well. Called by them.
"""
