"""One frozen settings object, read from the environment.

Here belongs what a user may set and how it is checked. What a setting leads to (hosts, files, partitions) belongs to
the package that uses it. Made once by `definitions` and by `cli`; tests make their own.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import platformdirs
from pydantic import (
    Field,
    HttpUrl,
    Secret,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from crypto_assets.domain.entities import PROVIDER, MarketType
from crypto_assets.domain.environments import Environment
from crypto_assets.domain.intervals import Interval
from crypto_assets.domain.symbols import named_without_listing
from crypto_assets.domain.urls import host_url, without_password
from crypto_assets.variables import ENV_FILE, PREFIX, mistakes, unknown_names

_NO_ARCHIVE = "none"
_LONGEST_DAYS = 100_000


class SettingsError(ValueError):
    """A setting cannot be used; the message is one sentence that names the variable."""


_UNARCHIVED = (Environment.TESTNET, Environment.DEMO)


class Settings(BaseSettings):
    """What the `CRYPTO_ASSETS_*` variables say, and the file `.env` of the working directory where they say nothing.

    Each has a description: `crypto-assets settings` prints it.
    """

    # No input in errors: the traceback of a mistyped URL would show its password.
    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=ENV_FILE, frozen=True, extra="ignore", hide_input_in_errors=True
    )

    environment: Environment = Field(
        default=Environment.TESTNET, description="Which exchange is asked: testnet, live, demo or sandbox."
    )
    database: str = Field(
        default="",
        description="Where candles are stored: sqlite:///directory, postgresql+psycopg://, mysql+pymysql://.",
    )
    pairs: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("BTC/USDT", "ETH/USDT"), description="The spot pairs to collect, comma separated; empty for none."
    )
    perps: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("BTC/USDT:USDT", "ETH/USDT:USDT"),
        description="The USDT-M perpetuals to collect, comma separated; empty for none.",
    )
    partitioned_intervals: Annotated[tuple[Interval, ...], NoDecode] = Field(
        default=(Interval.M1, Interval.M5), description="The intervals whose tables a server partitions by month."
    )
    start: date = Field(
        default=date(2017, 8, 17),
        ge=date(1970, 1, 1),
        description="The day or month that contains this date is the first partition.",
    )
    spot_url: str | None = Field(default=None, description="A spot host instead of the environment's.")
    futures_url: str | None = Field(default=None, description="A USDT-M host instead of the environment's.")
    spot_ws_url: str | None = Field(default=None, description="A host of spot streams instead of the environment's.")
    futures_ws_url: str | None = Field(
        default=None, description="A host of USDT-M streams instead of the environment's."
    )
    archive_url: str | None = Field(
        default=None, description="Another archive of closed months and days; none to ask none."
    )
    state_directory: Path = Field(
        default=Path(),
        validate_default=True,
        description="Where the processes of this machine share one request budget.",
    )
    weight_reserve: float = Field(
        default=0.03, ge=0, le=0.9, allow_inf_nan=False, description="The share of that budget left to others."
    )
    outgoing_address: str = Field(
        default="",
        max_length=64,
        description="A name for the address requests leave by; workers of one name share a budget.",
    )
    pages_in_flight: int = Field(
        default=16, ge=1, le=64, description="Pages of candles one run over a table has asked for and not yet stored."
    )
    close_margin_seconds: float = Field(
        default=15.0,
        ge=0,
        le=3600,
        allow_inf_nan=False,
        description="How long after its close, by the exchange's clock, a candle may still change.",
    )
    retention_days: int = Field(
        default=0, ge=0, le=_LONGEST_DAYS, description="Older candles are moved into Parquet files; 0 keeps all."
    )
    history_days: int = Field(
        default=92,
        ge=0,
        le=_LONGEST_DAYS,
        description="After these days one score and measurement a month is kept, repaired gaps go; 0 keeps all.",
    )
    gap_answers: int = Field(
        default=3, ge=1, le=1000, description="Answers without the candles that make a gap the exchange's own."
    )
    gap_spacing: timedelta = Field(
        default=timedelta(hours=1),
        gt=timedelta(0),
        le=timedelta(days=365),
        description="The time that must lie between two of them.",
    )
    hole_days: int = Field(
        default=7,
        ge=0,
        le=36_500,
        description="Days between collected partitions that are owed by themselves; more wait for a decision.",
    )
    agreement_tolerance: float = Field(
        default=1e-9,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="How far, as a share, an hour may be from what its sixty minutes make.",
    )
    archive_directory: Path = Field(
        default=Path(), validate_default=True, description="Where the Parquet files of archived candles are."
    )
    alert_webhook: Secret[HttpUrl] | None = Field(
        default=None, description="Where failures are told, in Slack's shape; whoever knows this URL may post there."
    )

    @field_validator("pairs", "perps", "partitioned_intervals", mode="before")
    @classmethod
    def _split_symbols(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(dict.fromkeys(symbol.strip() for symbol in value.split(",") if symbol.strip()))
        return value

    @field_validator("pairs", "perps")
    @classmethod
    def _symbols_are_of_their_market(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        market_type = MarketType.SPOT if info.field_name == "pairs" else MarketType.SWAP
        return tuple(dict.fromkeys(named_without_listing(symbol, market_type) for symbol in value))

    @field_validator("start")
    @classmethod
    def _start_has_come(cls, value: date) -> date:
        if value > datetime.now(UTC).date():
            raise ValueError(f"'{value}' has not come yet; no partition could begin there")
        return value

    @field_validator("spot_url", "futures_url", "spot_ws_url", "futures_ws_url", "archive_url")
    @classmethod
    def _urls_name_a_host(cls, value: str | None, info: ValidationInfo) -> str | None:
        if not value:
            return None
        if info.field_name == "archive_url" and value == _NO_ARCHIVE:
            return value
        host = host_url(value, ("ws", "wss") if "ws" in str(info.field_name).split("_") else ("http", "https"))
        if info.field_name == "archive_url" and (of := info.data.get("environment")) in _UNARCHIVED:
            raise ValueError(
                f"{of.value} has no archive, and candles of another market are not its own; leave it empty"
            )
        return host

    @field_validator("database")
    @classmethod
    def _database_is_a_url(cls, value: str) -> str:
        shown = repr(without_password(value))
        if value and "://" not in value:
            raise ValueError(f"{shown} is not a URL such as sqlite:///data/testnet")
        try:
            port = None if value.startswith("sqlite") else urlsplit(value).port
        except ValueError:
            port = 0
        if port == 0:
            raise ValueError(
                f"{shown} has no port from 1 to 65535; signs such as @ : / in a password are written %40 %3A %2F"
            )
        return value

    @field_validator("gap_spacing", mode="wrap")
    @classmethod
    def _spacing_in_seconds_or_written_out(cls, value: object, validate: ValidatorFunctionWrapHandler) -> timedelta:
        seconds = value
        with suppress(ValueError):
            seconds = float(str(value))  # pydantic takes a number for seconds, and refuses the same as text
        try:
            spacing: timedelta = validate(seconds)
        except (ValidationError, OverflowError):
            raise ValueError(
                f"{value!r} is no time above 0 and of at most a year, such as 3600 (seconds), 01:00:00 or PT1H"
            ) from None
        return spacing

    @field_validator("alert_webhook", mode="before")
    @classmethod
    def _empty_is_no_webhook(cls, value: object) -> object:
        return value or None

    @field_validator("state_directory", mode="before")
    @classmethod
    def _state_is_the_users(cls, value: object) -> object:
        return platformdirs.user_state_path("crypto_assets", appauthor=False) if value in ("", Path()) else value

    @field_validator("archive_directory", mode="before")
    @classmethod
    def _archive_lies_beside_the_data(cls, value: object, info: ValidationInfo) -> object:
        if value not in ("", Path()):
            return value
        database = str(info.data.get("database", ""))
        if database.startswith("sqlite"):
            return _sqlite_directory(database) / "archive"
        # Each database has one of its own: two in one directory would restore each other's files away.
        parts = urlsplit(database)
        user = "" if parts.username is None else f"{parts.username}@"
        identity = f"{parts.scheme}://{user}{parts.hostname}:{parts.port}{parts.path}?{parts.query}"
        name = f"archive-{hashlib.blake2b(identity.encode(), digest_size=4).hexdigest()}" if database else "archive"
        return Path("data") / str(info.data.get("environment", "")) / name

    @property
    def provider(self) -> str:
        """Whose data it is, by the name in ids and tables."""
        return PROVIDER

    @property
    def database_url(self) -> str:
        """The database's URL; by default a directory of SQLite files named after the environment."""
        return self.database or f"sqlite:///data/{self.environment.value}"

    @property
    def shared_database(self) -> str:
        """The database's URL where it is a server, which other machines may use, too; empty for SQLite files."""
        return "" if self.database_url.startswith("sqlite") else self.database_url

    @property
    def report_file(self) -> Path:
        """Where the quality report is written: beside the SQLite files, for a server in `data/{environment}`."""
        if self.database_url.startswith("sqlite"):
            return _sqlite_directory(self.database_url) / "report.html"
        return Path("data") / self.environment.value / "report.html"


def _sqlite_directory(url: str) -> Path:
    """What SQLAlchemy reads as the directory, without loading it: all after the host, up to the options."""
    return Path(url.partition(":///")[2].partition("?")[0])


def load_settings() -> Settings:
    """The settings of this process's environment. Raises SettingsError with one sentence a user can act on."""
    unknown = unknown_names(Settings)
    if unknown:
        raise SettingsError(unknown[0])
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError(next(iter(mistakes(error).values()))) from None
