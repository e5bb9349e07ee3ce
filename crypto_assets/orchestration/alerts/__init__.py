"""The sensor that tells people what broke, and what it reads from Dagster's history.

What an incident is belongs to the package `alerts`. Called by `definitions`.
"""
