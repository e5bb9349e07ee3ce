"""The asset checks of candle and entity tables, and what they say of what `quality` found.

Called by `definitions`.
"""
