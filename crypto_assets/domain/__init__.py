"""The vocabulary of the project: intervals, entity ids, spans of time. Standard library only, no I/O.

Every other package may import from here; nothing here imports another package of ours.
"""
