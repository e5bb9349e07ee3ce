"""Raw exchange rows become typed frames here: parsing, contracts, derived columns. No I/O, no SQL, no HTTP.

Called by `orchestration`. Frames carry `open_time` as int64 milliseconds UTC until `candle_records` gives them the
columns of a table.
"""
