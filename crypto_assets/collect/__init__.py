"""The collection engine: from a window of a table to stored, judged and accounted candles. Plain Python, no Dagster.

    run          all symbols of a table, one after another or several at once
    candles      one symbol: plan -> fetch -> judge -> derive -> store -> account
    plan         what to ask for; `estimate` says beforehand what that costs
    span_reader  fetches it from REST and bulk files; `fetch` has what came, `publications` where two sources disagree
    judge        what of it keeps the contract, with derived columns
    store        what is committed together; `provenance` notes where it came from
    outcome      what came of it; `progress` tells meanwhile how far it is
    listings, symbols, tracked_listings    what the exchange lists, and since when

Called by `orchestration`, `cli` and the benchmarks.
"""
