"""One frozen settings object, read from the environment.

Here belongs what a user may set and how it is checked. What a setting leads to (hosts, files, partitions) belongs to
the package that uses it. Made once by `definitions` and by `cli`; tests make their own.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import date, timedelta
from enum import StrEnum
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
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from crypto_assets.domain.intervals import Interval

_NO_ARCHIVE = "none"


class SettingsError(ValueError):
    """A setting cannot be used; the message is one sentence that names the variable."""


class Environment(StrEnum):
    """Which exchange is asked. Data of two environments never meets."""

    TESTNET = "testnet"
    LIVE = "live"
    DEMO = "demo"
    SANDBOX = "sandbox"


_UNARCHIVED = (Environment.TESTNET, Environment.DEMO)


class Settings(BaseSettings):
    """What the `CRYPTO_ASSETS_*` variables say; unknown ones are ignored: later versions may share a machine."""

    # No input in errors: the traceback of a mistyped URL would show its password.
    model_config = SettingsConfigDict(
        env_prefix="CRYPTO_ASSETS_", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    environment: Environment = Environment.TESTNET
    database: str = ""
    pairs: Annotated[tuple[str, ...], NoDecode] = ("BTC/USDT", "ETH/USDT")
    perps: Annotated[tuple[str, ...], NoDecode] = ("BTC/USDT:USDT", "ETH/USDT:USDT")
    partitioned_intervals: Annotated[tuple[Interval, ...], NoDecode] = (Interval.M1, Interval.M5)
    start: date = Field(default=date(2017, 8, 17))
    spot_url: str | None = None
    futures_url: str | None = None
    spot_ws_url: str | None = None
    futures_ws_url: str | None = None
    # Where the exchange's archive of closed months and days is, "none" to ask none; only live has one by itself.
    archive_url: str | None = None
    # All processes that name the same directory spend one request budget, and leave this share of it for others.
    state_directory: Path = Field(default=Path(), validate_default=True)
    weight_reserve: float = Field(default=0.03, ge=0, le=0.9)
    # Each address that requests leave by has a budget of its own. Who names none is taken for all others who do not.
    outgoing_address: str = Field(default="", max_length=64)
    # Pages of candles that one run over a table has asked for and not yet stored.
    pages_in_flight: int = Field(default=16, ge=1, le=64)
    # Candles older than this many days are moved into Parquet files below archive_directory; 0 keeps all.
    retention_days: int = Field(default=0, ge=0)
    # A gap is the exchange's own after so many answers without the candles, at least so far apart.
    gap_answers: int = Field(default=3, ge=1)
    gap_spacing: timedelta = Field(default=timedelta(hours=1), gt=timedelta(0))
    # A hole of so many days between collected partitions is owed by itself; a longer one waits for a decision.
    hole_days: int = Field(default=7, ge=0, le=36_500)
    # How far, as a share, an hourly candle may be from what its sixty minutes make.
    agreement_tolerance: float = Field(default=1e-9, ge=0)
    archive_directory: Path = Field(default=Path(), validate_default=True)
    # Where failures are told, in Slack's shape. Whoever knows this URL may post there.
    alert_webhook: Secret[HttpUrl] | None = None

    @field_validator("pairs", "perps", "partitioned_intervals", mode="before")
    @classmethod
    def _split_symbols(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(dict.fromkeys(symbol.strip() for symbol in value.split(",") if symbol.strip()))
        return value

    @field_validator("pairs")
    @classmethod
    def _pairs_are_spot_symbols(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for symbol in value:
            if "/" not in symbol or ":" in symbol:
                raise ValueError(f"{symbol!r} is not a ccxt spot symbol such as BTC/USDT")
        return value

    @field_validator("perps")
    @classmethod
    def _perps_are_swap_symbols(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for symbol in value:
            if "/" not in symbol or ":" not in symbol:
                raise ValueError(f"{symbol!r} is not a ccxt perpetual symbol such as BTC/USDT:USDT")
        return value

    @field_validator("spot_url", "futures_url", "spot_ws_url", "futures_ws_url", "archive_url")
    @classmethod
    def _urls_name_a_host(cls, value: str | None, info: ValidationInfo) -> str | None:
        if not value:
            return None
        if info.field_name == "archive_url" and value == _NO_ARCHIVE:
            return value
        parts = urlsplit(value)
        if not parts.scheme or not parts.netloc or parts.path.strip("/"):
            raise ValueError(f"{value!r} is not scheme://host[:port]")
        if info.field_name == "archive_url" and (of := info.data.get("environment")) in _UNARCHIVED:
            raise ValueError(
                f"{of.value} has no archive, and candles of another market are not its own; leave it empty"
            )
        return value.rstrip("/")

    @field_validator("gap_spacing", mode="wrap")
    @classmethod
    def _spacing_in_seconds_or_written_out(cls, value: object, validate: ValidatorFunctionWrapHandler) -> timedelta:
        with suppress(ValueError):
            value = float(str(value))  # pydantic takes a number for seconds, and refuses the same as text
        try:
            spacing: timedelta = validate(value)
        except ValidationError:
            raise ValueError(f"{value!r} is no time above 0, such as 3600 (seconds), 01:00:00 or PT1H") from None
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

    @model_validator(mode="after")
    def _database_has_a_scheme(self) -> Settings:
        if self.database and "://" not in self.database:
            raise ValueError(f"database {self.database!r} is not a URL such as sqlite:///data/testnet")
        return self

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
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "CRYPTO_ASSETS_" + (str(first["loc"][0]).upper() if first["loc"] else "DATABASE")
        raise SettingsError(f"{name}: {first['msg'].removeprefix('Value error, ')}") from error
