"""A crypto market database, built and kept true by Dagster.

Nothing is imported here, so that `import crypto_assets.domain` stays free of dagster, ccxt and pandera.
"""

__version__ = "0.1.0"
