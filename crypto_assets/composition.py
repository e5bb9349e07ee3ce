"""What settings lead to: a database, the ledger's rules, an exchange's bulk files, and the resources of a run.

Here belongs the one map from settings to these; what each of them does belongs to its own package. Importing this loads
none of them. Called by `definitions` and `cli`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from crypto_assets.settings import Settings

if TYPE_CHECKING:
    from crypto_assets.database.engines import Database
    from crypto_assets.quality.gaps.ledger import Policy


def database_of(settings: Settings) -> Database:
    """The environment's database; who opened it disposes of it."""
    from crypto_assets.database.engines import open_database  # noqa: PLC0415 - loads SQLAlchemy
    from crypto_assets.exchange.venues import venue_of  # noqa: PLC0415

    unpublished = venue_of(settings.provider).unpublished
    return open_database(settings.database_url, settings.environment, settings.provider, unpublished=unpublished)


def policy_of(settings: Settings) -> Policy:
    """When a gap is the exchange's own, and how long a hole may be to be owed by itself: for commands."""
    from crypto_assets.quality.gaps.ledger import Policy  # noqa: PLC0415 - loads SQLAlchemy

    return Policy(settings.gap_answers, settings.gap_spacing, timedelta(days=settings.hole_days))


def has_bulk_files(settings: Settings) -> bool:
    """Whether the exchange's bulk files are asked in this environment."""
    from crypto_assets.exchange.venues import venue_of  # noqa: PLC0415

    return venue_of(settings.provider).bulk_host(settings.environment, settings.archive_url) is not None


def resources_of(settings: Settings) -> dict[str, Any]:
    """The resources of assets, checks and ops, by name."""
    from crypto_assets.orchestration.resources import (  # noqa: PLC0415 - loads Dagster
        ArchiveResource,
        DatabaseResource,
        ExchangeResource,
        LedgerResource,
        ProgressResource,
        shown_url,
    )

    return {
        "exchange": ExchangeResource(
            provider=settings.provider,
            environment=settings.environment.value,
            spot_url=settings.spot_url,
            futures_url=settings.futures_url,
            state_directory=str(settings.state_directory),
            shared_database=shown_url(settings.shared_database),
            outgoing_address=settings.outgoing_address,
            weight_reserve=settings.weight_reserve,
            pages_in_flight=settings.pages_in_flight,
            close_margin_seconds=settings.close_margin_seconds,
        ),
        "archive": ArchiveResource(
            provider=settings.provider, environment=settings.environment.value, url=settings.archive_url
        ),
        "database": DatabaseResource(
            provider=settings.provider,
            url=shown_url(settings.database_url),
            environment=settings.environment.value,
            partitioned_intervals=[interval.value for interval in settings.partitioned_intervals],
            retention_days=settings.retention_days,
            history_days=settings.history_days,
            archive_directory=str(settings.archive_directory),
            report_file=str(settings.report_file),
        ),
        "ledger": LedgerResource(
            answers=settings.gap_answers,
            spacing_seconds=settings.gap_spacing.total_seconds(),
            hole_days=settings.hole_days,
            agreement_tolerance=settings.agreement_tolerance,
        ),
        "progress": ProgressResource(),
    }
