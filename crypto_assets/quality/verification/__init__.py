"""Looking at partitions: marks of what changed, checksums of what is there, and a table's examination.

Called by `collect` and `orchestration`.
"""
