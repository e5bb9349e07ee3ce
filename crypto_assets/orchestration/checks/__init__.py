"""The asset checks of candle and entity tables, and how they show what `quality` found.

Called by `definitions`.
"""
