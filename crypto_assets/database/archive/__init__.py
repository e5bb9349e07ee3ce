"""Old candles in Parquet files: moved there and back, found there, read as if they were stored.

"The archive" here is this project's own; the files that an exchange publishes belong to `exchange`. Called by
`database.queries`, `quality`, `orchestration` and `cli`.
"""
