"""Old candles in Parquet files: moved there and back, found there, read as if they were stored.

Called by `database.queries`, `quality`, `orchestration` and `cli`.
"""
