"""Verifying partitions of candles: marks of what changed, checksums of what is stored, the examination of a table.

Called by `quality.gaps`, `collect` and `orchestration`.
"""
