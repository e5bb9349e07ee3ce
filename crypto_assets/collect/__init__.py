"""The collection engine: from a window of a table to stored, judged and accounted candles. Plain Python, no Dagster.

    plan      what to ask for          estimate   what it will cost         run       all symbols of a table
    fetch     REST and bulk files      judge      what keeps the contract   candles   window -> fetch -> judge -> store
    listings, symbols                  what the exchange lists, and since when
    outcome, progress, sources         what came of it, how far it is, where it came from

Called by `orchestration`, `cli` and the benchmarks.
"""
