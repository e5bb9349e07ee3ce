"""Removing data on purpose: rows, schemas or revisions, each after a backup, and bringing backups back.

Called by `orchestration` and `cli`.
"""
