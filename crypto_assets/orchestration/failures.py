"""How an expected error ends a Dagster run: as one sentence, not as a traceback of ours.

Here belongs the translation only; the sentences are written where the errors are raised. Called by the assets, checks
and jobs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from sqlalchemy.exc import DBAPIError

from crypto_assets.collect.run import TableRun
from crypto_assets.database.errors import DatabaseError, one_sentence
from crypto_assets.exchange.errors import ExchangeError
from crypto_assets.orchestration.metadata import run_metadata


@contextmanager
def stating_user_errors() -> Iterator[None]:
    """Ends the step with the sentence of an exchange's or database's error; Dagster is not to retry what we retried."""
    try:
        yield
    except (ExchangeError, DatabaseError, DBAPIError) as error:
        raise dg.Failure(description=one_sentence(error), allow_retries=False) from None


def fail_if_incomplete(run: TableRun) -> None:
    """Raises dagster's Failure that names every symbol that failed and why; the others of the run are stored."""
    if run.failures:
        reasons = "; ".join(f"{symbol}: {reason}" for symbol, reason in run.failures.items())
        stored = f", the other {len(run.counts)} stored" if run.counts else ""
        failed = f"{len(run.failures)} of {len(run.failures) + len(run.counts)} symbols failed"
        raise dg.Failure(
            description=f"{run.candle_table.name}: {failed}{stored}. {reasons}",
            metadata=run_metadata(run),
            allow_retries=False,
        )
