"""What an exchange sent becomes typed columns here: parsing, contracts, derived columns. No I/O, no SQL, no HTTP.

Called by `collect`. Candles are numpy arrays and carry their open times in milliseconds UTC until `candle_records`
gives them the columns of a table; entities are pandas frames.
"""
