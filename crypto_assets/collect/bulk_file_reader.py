"""The exchange's bulk files as one run reads them, for all its symbols. No Dagster here.

Here belongs what a run does with files that are not there, cannot be trusted or do not come. Where the files are and
what is inside them belongs to `exchange.<venue>`, which of them is asked for to `collect.span_reader`. Called by that
and by `collect.run`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from crypto_assets.domain.intervals import PartitionScheme, partition_key
from crypto_assets.domain.series import Series
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.bulk_files import BulkCandles, BulkFile, BulkFiles
from crypto_assets.exchange.errors import ContractViolation, ExchangeError
from crypto_assets.quality.conflicts import Conflict

_log = logging.getLogger(__name__)


class BulkFileReader:
    """Reads bulk files for one run, for any number of threads: what came, what is lacking, when to ask no more.

    Without an `archive` there are no files.
    """

    def __init__(self, archive: BulkFiles | None = None) -> None:
        self._archive = archive
        self._lock = threading.Lock()
        self.used: list[str] = []
        self.lacking = 0
        self.refused: list[tuple[str, str]] = []
        self.disputed: list[Conflict] = []
        self.given_up = ""

    @property
    def requests(self) -> int:
        """How many HTTP requests were made, retries included."""
        return self._archive.requests if self._archive is not None else 0

    @property
    def is_asked(self) -> bool:
        """Whether there is an archive that answers, as far as is known."""
        return self._archive is not None and not self.given_up

    def stop(self) -> None:
        """Lets no thread wait for the archive any longer."""
        if self._archive is not None:
            self._archive.stop()

    def expected(self, series: Series, span: Span, clock: int) -> Sequence[BulkFile]:
        """The files to ask for the candles of `span`, oldest first; none once the archive is asked no more."""
        if self._archive is None or self.given_up:
            return []
        return self._archive.expected(*series.at_exchange, span, clock)

    def day(self, series: Series, start: int, clock: int) -> BulkCandles | None:
        """The daily file of the day that begins at `start`, None where there is none to trust, or none yet."""
        if self._archive is None:
            return None
        file = self._archive.file(*series.at_exchange, partition_key(PartitionScheme.DAILY, start))
        return self.fetch(file) if file.expected_ms <= clock else None

    def fetch(self, file: BulkFile) -> BulkCandles | None:
        """A file that can be trusted, or None; after an archive that does not answer None for all that follow."""
        if self._archive is None or self.given_up:
            return None
        try:
            candles = self._archive.fetch(file)
        except ContractViolation as error:
            self.refused.append((file.name, str(error)))
            return None
        except ExchangeError as error:
            with self._lock:
                if not self.given_up:
                    self.given_up = str(error)
                    _log.warning("the archive is left alone for this run, REST is asked instead: %s", error)
            return None
        if candles is None:
            with self._lock:
                self.lacking += 1
            return None
        self.used.append(file.name)
        return candles
