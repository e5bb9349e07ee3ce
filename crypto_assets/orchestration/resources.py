"""What every asset needs: an exchange to ask, a database to write, the ledger's rules. Thin: they open plain code.

Called by the assets, checks and ops; tests and the benchmarks pass subclasses to `build_definitions`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
from pydantic import Field

from crypto_assets.collect.progress import Tell, now_and_then
from crypto_assets.collect.shared_budget import DatabaseStore
from crypto_assets.database.engines import Database, open_database
from crypto_assets.database.shared_state import SharedState
from crypto_assets.domain.entities import PROVIDER
from crypto_assets.domain.environments import Environment
from crypto_assets.domain.urls import without_password
from crypto_assets.exchange.bulk_files import BulkFiles
from crypto_assets.exchange.client import Exchange
from crypto_assets.exchange.venue import Venue
from crypto_assets.exchange.venues import venue_of
from crypto_assets.quality.gaps.ledger import Policy, our_clock

_URLS: dict[str, str] = {}
"""Database URLs by what is shown of them."""


def shown_url(url: str) -> str:
    """A database's URL without its password, which this process keeps: what a resource may be made with.

    Dagster prints the fields of resources in its UI, and stores them with its history.
    """
    shown = without_password(url)
    _URLS[shown] = url
    return shown


def whole_url(shown: str) -> str:
    """The URL of which `shown` is what is shown; itself where it was never hidden."""
    return _URLS.get(shown, shown)


class ExchangeResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The exchange, public endpoints only: no key is needed or read."""

    provider: str = Field(default=PROVIDER, description="The exchange whose data it is.")
    environment: str = Field(description="testnet, live, demo or sandbox: which hosts are asked.")
    spot_url: str | None = Field(
        default=None, description="scheme://host[:port] instead of the environment's spot host."
    )
    futures_url: str | None = Field(
        default=None, description="scheme://host[:port] instead of the environment's USDT-M futures host."
    )
    state_directory: str = Field(
        default="", description="All processes that name the same one spend one request budget; empty for one's own."
    )
    shared_database: str = Field(
        default="", description="URL of a server's database whose users on all machines spend one budget; or empty."
    )
    outgoing_address: str = Field(
        default="", description="A name for the address requests leave by; only those of one name share a budget."
    )
    weight_reserve: float = Field(default=0.0, description="The share of the exchange's limits left for others.")
    pages_in_flight: int = Field(default=16, description="Pages of candles asked for and not yet stored.")
    close_margin_seconds: float = Field(default=15.0, description="How long a candle that closed may still change.")

    @contextmanager
    def open(self) -> Iterator[Exchange]:
        """A connected exchange, closed at the end of the block."""
        made = venue_of(self.provider).connect(
            Environment(self.environment),
            spot_url=self.spot_url,
            futures_url=self.futures_url,
            state_directory=Path(self.state_directory) if self.state_directory else None,
            wider_store=self._wider_store(),
            outgoing_address=self.outgoing_address,
            weight_reserve=self.weight_reserve,
            in_flight=self.pages_in_flight,
            close_margin_s=self.close_margin_seconds,
        )
        with closing(made) as exchange:
            yield exchange

    def _wider_store(self) -> DatabaseStore | None:
        return (
            DatabaseStore(SharedState(whole_url(self.shared_database), self.environment))
            if self.shared_database
            else None
        )


class ArchiveResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The exchange's public archive of closed months and days, where its environment has one."""

    provider: str = Field(default=PROVIDER, description="The exchange whose data it is.")
    environment: str = Field(description="testnet, live, demo or sandbox: only live has an archive of its own.")
    url: str | None = Field(default=None, description="scheme://host[:port] of an archive instead; none to ask none.")

    @property
    def venue(self) -> Venue:
        """Whose archive it is."""
        return venue_of(self.provider)

    @property
    def is_there(self) -> bool:
        """Whether there is one to ask."""
        return self._host() is not None

    @contextmanager
    def open(self) -> Iterator[BulkFiles | None]:
        """The archive, closed at the end of the block; None where there is none to ask."""
        host = self._host()
        if host is None:
            yield None
            return
        with closing(self._at(host)) as archive:
            yield archive

    def _host(self) -> str | None:
        return self.venue.bulk_host(Environment(self.environment), self.url)

    def _at(self, host: str) -> BulkFiles:
        return self.venue.connect_bulk_files(host)


class LedgerResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """What it takes for data to count as true: when a gap is the exchange's own, when two tables agree; our clock."""

    answers: int = Field(default=3, description="Answers without the candles that confirm a gap.")
    spacing_seconds: float = Field(default=3600.0, description="How far apart two of them must be to count.")
    hole_days: int = Field(
        default=7, description="How many days a hole between collected partitions may have to be owed by itself."
    )
    agreement_tolerance: float = Field(
        default=1e-9, description="How far, as a share, an hour may be from what its minutes make."
    )

    @property
    def policy(self) -> Policy:
        """The same as the ledger takes it."""
        return Policy(self.answers, timedelta(seconds=self.spacing_seconds), timedelta(days=self.hole_days))

    def now(self) -> datetime:
        """Our clock, naive UTC."""
        return our_clock()


class ProgressResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Who is told how far the collection of a table is: its run's log. The command line adds its bars."""

    def tell(self, log: logging.Logger) -> Tell:
        """What `collect_table` tells."""
        return now_and_then(log.info)


class DatabaseResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The market database of one environment."""

    url: str = Field(description="sqlite:///directory, postgresql+psycopg://... or mysql+pymysql://...")
    provider: str = Field(default=PROVIDER, description="The exchange whose data it is.")
    environment: str = Field(description="The environment whose data it holds; another one is refused.")
    partitioned_intervals: list[str] = Field(
        default=["1m", "5m"], description="The intervals whose tables a server partitions by month."
    )
    retention_days: int = Field(default=0, description="Older candles are moved into Parquet files; 0 keeps all.")
    history_days: int = Field(default=0, description="After these days old scores are thinned; 0 keeps all.")
    archive_directory: str = Field(default="", description="Where these files are.")
    report_file: str = Field(default="report.html", description="Where the quality report is written.")

    @contextmanager
    def open(self) -> Iterator[Database]:
        """The database, its connections closed at the end of the block."""
        unpublished = venue_of(self.provider).unpublished
        database = open_database(whole_url(self.url), self.environment, self.provider, unpublished=unpublished)
        try:
            yield database
        finally:
            database.dispose()
