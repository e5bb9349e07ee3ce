"""Taking data back: backups before, rows or schemas away, older revisions, and the way back from each.

Called by `orchestration` and `cli`.
"""
