"""The schema assets: each brings the databases of one schema to the newest revision.

What the revisions are belongs to `database.migrations`. Called by `definitions`.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of the functions it decorates at runtime.

import dagster as dg

from crypto_assets.database.tables import KDATA, OPERATIONS, SECURITY
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets.orchestration.failures import stating_user_errors
from crypto_assets.orchestration.resources import DatabaseResource

OWNERS = ["team:market-data"]

SCHEMAS = {
    "crypto_meta": "Entities: currencies, pairs and perpetuals.",
    "crypto_kdata": "Candles: one table for each market and interval, on SQLite each in a file of its own.",
    "crypto_tick": "Trades, order books and funding.",
    "crypto_quality": "What was checked, refused and found missing.",
    "crypto_operations": "Metrics and sessions of the running system, and the place of API keys.",
}


def build_schema_asset(schema: str) -> dg.AssetsDefinition:
    """The asset `{schema}_schema`. `crypto_meta` comes first: its identity refuses another environment."""

    @dg.asset(
        name=f"{schema}_schema",
        description=f"{SCHEMAS[schema]} Materializing applies the schema revisions that are not applied yet.",
        group_name="schema",
        kinds={"alembic", "sqlalchemy"},
        owners=OWNERS,
        deps=[] if schema == "crypto_meta" else ["crypto_meta_schema"],
        code_version="1",
    )
    def schema_asset(database: DatabaseResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
        from crypto_assets.database.migrations import migrate  # noqa: PLC0415 - alembic is slow to import

        with stating_user_errors(), database.open() as db:
            results = migrate(db, _databases(schema), partitioned=database.partitioned_intervals)
        return dg.MaterializeResult(
            metadata={
                "databases": len(results),
                "databases_changed": sum(result.changed for result in results),
                "revision": results[0].after,
                "location": db.location,
            }
        )

    return schema_asset


def _databases(schema: str) -> list[str]:
    if schema == KDATA:
        return list(KDATA_TABLES)
    return [schema, SECURITY] if schema == OPERATIONS else [schema]
