"""Where a run's candles came from, written down beside them: the sources of partitions, and the archive's files.

Which source is asked for what belongs to `collect.fetch`, how this is stored to `quality.provenance`. Called by
`collect.candles`, within its transactions.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime

import numpy as np
from sqlalchemy import Connection

from crypto_assets.collect.judge import Batch
from crypto_assets.collect.outcome import Symbol
from crypto_assets.collect.plan import Asking
from crypto_assets.domain.intervals import DAY_MS, Interval, partition_key
from crypto_assets.domain.spans import SpanIndex
from crypto_assets.exchange.bulk_files import period_span
from crypto_assets.quality import provenance


def note_delivered(
    connection: Connection, interval: Interval, symbol: Symbol, batch: Batch, asking: Asking, now: datetime
) -> Counter[str]:
    """Writes down where the candles of a batch came from, and which files were used; how many came from each source.

    `now` is our clock, naive UTC.
    """
    total, sources = Counter[str](), dict[str, set[str]]()
    for source, of_it in ((provenance.ARCHIVE, batch.archived), (provenance.REST, ~batch.archived)):
        days, counts = np.unique(batch.delivered[of_it] // DAY_MS, return_counts=True)
        for day, count in zip(days.tolist(), counts.tolist(), strict=True):
            key = partition_key(interval.partition_scheme, day * DAY_MS)
            so_far = asking.delivered.setdefault(key, Counter())
            if not so_far[source]:
                sources.setdefault(key, set()).add(source)
            so_far[source] += count
            total[source] += count
    if sources:
        provenance.add_sources(connection, symbol.entity_id, interval, sources)
    asking.files.update(file.file.period for file in batch.files)
    provenance.remember_files(
        connection, symbol.entity_id, interval, [file.as_remembered() for file in batch.files], now
    )
    return total


def settle_sources(connection: Connection, interval: Interval, symbol: Symbol, asking: Asking) -> None:
    """What was asked for as a whole has the sources that delivered it, and no others any more.

    A file whose candles were asked for as a whole, and came from elsewhere, need not be watched any more.
    """
    delivered = {key: asking.delivered.get(key, Counter[str]()) for key in asking.asked_whole(interval)}
    provenance.replace_sources(connection, symbol.entity_id, interval, delivered)
    known = set(provenance.remembered_periods(connection, symbol.entity_id, interval)) - asking.files
    asked = SpanIndex(asking.asked)
    past = [period for period in sorted(known) if asked.holds(period_span(period))]
    provenance.forget_files(connection, symbol.entity_id, interval, past)
