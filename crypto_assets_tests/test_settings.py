"""What the environment may say, and what a mistake in it leads to."""

from __future__ import annotations

import os
import traceback
from datetime import date, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from crypto_assets.domain.environments import Environment
from crypto_assets.settings import Settings, SettingsError, load_settings


@pytest.fixture
def read(monkeypatch):
    """Reads settings from an environment that holds these variables and no others of ours."""

    def read(**variables: str) -> list[str]:
        for name in [name for name in os.environ if name.startswith("CRYPTO_ASSETS_")]:
            monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(f"CRYPTO_ASSETS_{name}", value)
        made = load_settings()
        symbols = f"{','.join(made.pairs)} {','.join(made.perps)}"
        return [made.environment.value, made.database_url, symbols, made.start.isoformat(), str(made.spot_url)]

    return read


def test_without_a_variable_the_testnet_and_the_majors_are_collected(read):
    assert read() == [
        "testnet",
        "sqlite:///data/testnet",
        "BTC/USDT,ETH/USDT BTC/USDT:USDT,ETH/USDT:USDT",
        "2017-08-17",
        "None",
    ]


def test_every_variable_is_read(read):
    assert read(
        ENVIRONMENT="sandbox",
        DATABASE="sqlite:///elsewhere",
        PAIRS=" SOL/USDT, BTC/USDT,,SOL/USDT ",
        PERPS="",
        START="2023-03-20",
        SPOT_URL="http://127.0.0.1:8730/",
    ) == ["sandbox", "sqlite:///elsewhere", "SOL/USDT,BTC/USDT ", "2023-03-20", "http://127.0.0.1:8730"]


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("ENVIRONMENT", "mainnet", "'testnet', 'live', 'demo' or 'sandbox'"),
        ("START", "yesterday", "date"),
        ("PAIRS", "BITCOIN", "'BITCOIN' is not a ccxt spot symbol such as BTC/USDT"),
        ("PAIRS", "BTC/", "'BTC/' is not a ccxt spot symbol such as BTC/USDT"),
        ("PAIRS", "*/USDT", "'*/USDT' is not a ccxt spot symbol such as BTC/USDT"),
        ("PAIRS", "btcaeur", "'btcaeur' may be BTCA/EUR or BTC/AEUR; write it with its slash"),
        ("PAIRS", "BTC/USDT:USDT", "is not a ccxt spot symbol"),
        ("PERPS", "BTC:USDT", "'BTC:USDT' is not a ccxt perpetual symbol such as BTC/USDT:USDT"),
        ("SPOT_URL", "localhost", "'localhost' is not scheme://host[:port]"),
        ("FUTURES_URL", "http://host/fapi", "'http://host/fapi' is not scheme://host[:port]"),
        ("ARCHIVE_URL", "none at all", "'none at all' is not scheme://host[:port]"),
        ("ARCHIVE_URL", "http://mirror", "testnet has no archive, and candles of another market are not its own"),
        ("DATABASE", "data/testnet", "is not a URL such as sqlite:///data/testnet"),
        ("RETENTION_DAYS", "-1", "greater than or equal to 0"),
        ("RETENTION_DAYS", "a year", "valid integer"),
        (
            "GAP_SPACING",
            "2 hours",
            "'2 hours' is no time above 0 and of at most a year, such as 3600 (seconds), 01:00:00 or PT1H",
        ),
        ("GAP_SPACING", "0", "is no time above 0"),
        ("GAP_SPACING", "inf", "is no time above 0"),
        ("GAP_SPACING", "-5", "'-5' is no time above 0"),
        ("GAP_SPACING", "P999999D", "'P999999D' is no time above 0"),
        ("GAP_ANSWERS", "0", "'0' cannot be used: input should be greater than or equal to 1"),
        ("GAP_ANSWERS", "", "'' cannot be used: input should be a valid integer"),
        ("ENVIRONMENT", "", "'' cannot be used: input should be 'testnet', 'live', 'demo' or 'sandbox'"),
        ("START", "", "'' cannot be used: input should be a valid date"),
        ("START", "1066-10-14", "'1066-10-14' cannot be used"),
        ("START", "2999-01-01", "'2999-01-01' has not come yet"),
        ("RETENTION_DAYS", "999999999999", "'999999999999' cannot be used"),
        ("AGREEMENT_TOLERANCE", "inf", "'inf' cannot be used"),
        ("AGREEMENT_TOLERANCE", "nan", "'nan' cannot be used"),
        ("AGREEMENT_TOLERANCE", "-1", "'-1' cannot be used"),
        ("AGREEMENT_TOLERANCE", "2", "'2' cannot be used"),
        ("WEIGHT_RESERVE", "nan", "'nan' cannot be used"),
        ("SPOT_URL", "ftp://host", "'ftp://host' is not scheme://host[:port] with the scheme http or https"),
        (
            "SPOT_URL",
            "http://host:99999",
            "'http://host:99999' is not scheme://host[:port] with the scheme http or https and a port from 1 to 65535",
        ),
        ("SPOT_URL", "http://host:0", "'http://host:0' is not scheme://host[:port]"),
        ("FUTURES_URL", "https://", "'https://' is not scheme://host[:port]"),
        ("FUTURES_URL", "https://:443", "'https://:443' is not scheme://host[:port]"),
        ("SPOT_URL", "http://host?a=1", "'http://host?a=1' is not scheme://host[:port]"),
        ("SPOT_URL", "http://[::1", "'http://[::1' is not scheme://host[:port]"),
        ("SPOT_URL", "http://me:hunter2@host", "'http://me:***@host' is not scheme://host[:port]"),
        ("SPOT_WS_URL", "http://host", "with the scheme ws or wss"),
        ("DATABASE", " ", "' ' is not a URL such as sqlite:///data/testnet"),
        ("DATABASE", "postgresql+psycopg://db:99999/market", "has no port from 1 to 65535"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_variable(read, name, value, part):
    with pytest.raises(SettingsError) as refused:
        read(**{name: value})
    said = str(refused.value)
    assert said.startswith(f"CRYPTO_ASSETS_{name}: ")
    assert part in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    "url",
    [
        "me:hunter2@db/market",
        "postgresql:me:hunter2@db/market",
        "postgresql//me:hunter2@db/market",
        "postgresql+psycopg://me:hunter2@db:port/market",
        "postgresql+psycopg://me:hunter2/@:x@db/market",
        "postgresql+psycopg://me:p@hunter2@db:99999/market",
        "postgresql+psycopg://db:hunter2",
        "mysql+pymysql://db:99999/?password=hunter2",
    ],
)
def test_a_mistyped_database_is_told_without_its_password(read, url):
    with pytest.raises(SettingsError) as refused:
        read(DATABASE=url)
    said = "".join(traceback.format_exception(refused.value))
    assert "hunter2" not in said
    assert str(refused.value).startswith("CRYPTO_ASSETS_DATABASE: ")
    assert "***" in said


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("PAIR", "CRYPTO_ASSETS_PAIRS"),
        ("WEIGHT_RESRVE", "CRYPTO_ASSETS_WEIGHT_RESERVE"),
        ("SPOT_UR", "CRYPTO_ASSETS_SPOT_URL"),
        ("ENV", "crypto-assets settings lists all"),
    ],
)
def test_a_name_that_sets_nothing_is_an_error_with_the_nearest_that_do(read, name, meant):
    with pytest.raises(SettingsError, match=f"CRYPTO_ASSETS_{name} is no setting; .*{meant}"):
        read(**{name: "anything"})


def test_what_only_the_tests_read_is_no_misspelling(read):
    assert read(TEST_POSTGRES_URL="postgresql://x", TEST_MYSQL_URL="mysql://y", RECORDED_DATA="/z")[0] == "testnet"


def test_a_file_of_the_directory_says_what_the_environment_does_not(read, monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("CRYPTO_ASSETS_ENVIRONMENT=sandbox\nCRYPTO_ASSETS_START=2023-03-20\nOTHER=1\n")
    monkeypatch.chdir(tmp_path)
    made = read(ENVIRONMENT="live")
    assert (made[0], made[3]) == ("live", "2023-03-20")
    (tmp_path / ".env").write_text("CRYPTO_ASSETS_STRAT=2023-03-20\n")
    with pytest.raises(SettingsError, match="CRYPTO_ASSETS_STRAT is no setting; did you mean CRYPTO_ASSETS_START"):
        read()


@pytest.mark.parametrize(
    ("pairs", "perps"),
    [
        ("btcusdt, ETH/usdt,BTC/USDT", "btcusdt,ETH/USDT,ETHUSDT,eth/usdt:usdt"),
        ("BTC/USDT,ETH/USDT", "BTC/USDT:USDT,ETH/USDT:USDT"),
    ],
)
def test_symbols_are_read_in_both_spellings(read, pairs, perps):
    assert read(PAIRS=pairs, PERPS=perps)[2] == "BTC/USDT,ETH/USDT BTC/USDT:USDT,ETH/USDT:USDT"


@pytest.mark.parametrize("written", ["90", "90.0", "00:01:30", "PT1M30S"])
def test_the_spacing_of_answers_is_read_in_seconds_or_written_out(monkeypatch, written):
    monkeypatch.setenv("CRYPTO_ASSETS_GAP_SPACING", written)
    assert load_settings().gap_spacing == timedelta(seconds=90)


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("hooks.slack.com/secret", "a valid URL"),
        ("ftp://hooks.slack.com/secret", "'http' or 'https'"),
        ("http://[secret", "valid URL"),
    ],
)
def test_a_mistaken_webhook_is_named_without_being_shown(read, value, part):
    with pytest.raises(SettingsError) as refused:
        read(ALERT_WEBHOOK=value)
    assert str(refused.value).startswith("CRYPTO_ASSETS_ALERT_WEBHOOK: ")
    assert part in str(refused.value)
    assert "secret" not in "".join(traceback.format_exception(refused.value))


def test_a_webhook_is_a_secret_and_empty_is_none(monkeypatch):
    monkeypatch.setenv("CRYPTO_ASSETS_ALERT_WEBHOOK", "https://hooks.slack.com/services/T0/B0/secret")
    made = load_settings()
    assert "B0" not in f"{made!r} {made} {made.model_dump_json()}"
    assert str(made.alert_webhook.get_secret_value()) == "https://hooks.slack.com/services/T0/B0/secret"
    monkeypatch.setenv("CRYPTO_ASSETS_ALERT_WEBHOOK", "")
    assert load_settings().alert_webhook is None


def test_each_environment_has_a_database_of_its_own_by_default():
    urls = [Settings(environment=environment, database="").database_url for environment in Environment]
    assert urls == [f"sqlite:///data/{environment}" for environment in ("testnet", "live", "demo", "sandbox")]


def test_settings_cannot_be_changed_afterwards():
    settings = Settings(start=date(2023, 3, 20))
    with pytest.raises(ValidationError):
        settings.start = date(2024, 1, 1)


@pytest.mark.parametrize(
    ("settings", "directory"),
    [
        ({}, "data/testnet/archive"),
        ({"archive_directory": ""}, "data/testnet/archive"),
        ({"environment": Environment.LIVE}, "data/live/archive"),
        ({"database": "sqlite:///elsewhere/candles"}, "elsewhere/candles/archive"),
        ({"database": "sqlite:////srv/candles"}, "/srv/candles/archive"),
        (
            {"database": "postgresql+psycopg://host/candles", "environment": Environment.LIVE},
            "data/live/archive-8e4cc78d",
        ),
        # Another database of the same environment, and the same one with another password.
        (
            {"database": "postgresql+psycopg://host/others", "environment": "live"},
            "data/live/archive-e94f281d",
        ),
        ({"database": "mysql+pymysql://me:one@host/?prefix=a_"}, "data/testnet/archive-3d567279"),
        ({"database": "mysql+pymysql://me:two@host/?prefix=a_"}, "data/testnet/archive-3d567279"),
        ({"database": "sqlite:///elsewhere", "archive_directory": "/srv/archive"}, "/srv/archive"),
    ],
)
def test_the_archive_lies_beside_the_data_unless_it_is_named(settings, directory):
    made = Settings(**{"database": ""} | settings)
    assert (made.archive_directory, made.retention_days) == (Path(directory), 0)


def test_retention_is_a_number_of_days(monkeypatch):
    monkeypatch.setenv("CRYPTO_ASSETS_RETENTION_DAYS", "400")
    assert load_settings().retention_days == 400


@pytest.mark.parametrize(
    ("variables", "file"),
    [
        ({}, "data/testnet/report.html"),
        ({"database": "sqlite:////srv/market?timeout=5"}, "/srv/market/report.html"),
        ({"database": "postgresql+psycopg://db/market", "environment": "live"}, "data/live/report.html"),
    ],
)
def test_the_report_lies_beside_the_files_of_sqlite_and_of_a_server_below_data(variables, file):
    assert Settings(**variables).report_file == Path(file)


def test_what_processes_share_lies_in_the_users_state_directory_unless_it_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("CRYPTO_ASSETS_STATE_DIRECTORY", raising=False)
    default = load_settings().state_directory
    assert default.name == "crypto_assets"
    monkeypatch.setenv("CRYPTO_ASSETS_STATE_DIRECTORY", "")
    assert load_settings().state_directory == default
    monkeypatch.setenv("CRYPTO_ASSETS_STATE_DIRECTORY", "/var/lib/crypto")
    assert load_settings().state_directory == Path("/var/lib/crypto")


@pytest.mark.parametrize(
    ("database", "shared"),
    [
        ("", ""),
        ("sqlite:////srv/market", ""),
        ("postgresql+psycopg://db/market", "postgresql+psycopg://db/market"),
        ("mysql+pymysql://db/", "mysql+pymysql://db/"),
    ],
)
def test_only_a_servers_database_is_shared_with_other_machines(database, shared):
    assert Settings(database=database).shared_database == shared


def test_an_outgoing_address_is_a_short_name(monkeypatch):
    monkeypatch.delenv("CRYPTO_ASSETS_OUTGOING_ADDRESS", raising=False)
    assert load_settings().outgoing_address == ""
    monkeypatch.setenv("CRYPTO_ASSETS_OUTGOING_ADDRESS", "203.0.113.7")
    assert load_settings().outgoing_address == "203.0.113.7"
    monkeypatch.setenv("CRYPTO_ASSETS_OUTGOING_ADDRESS", "x" * 65)
    with pytest.raises(SettingsError, match="CRYPTO_ASSETS_OUTGOING_ADDRESS"):
        load_settings()


@pytest.mark.parametrize("share", ["-0.1", "1", "all"])
def test_the_reserve_is_a_share(monkeypatch, share):
    monkeypatch.setenv("CRYPTO_ASSETS_WEIGHT_RESERVE", share)
    with pytest.raises(SettingsError, match="CRYPTO_ASSETS_WEIGHT_RESERVE"):
        load_settings()


@pytest.mark.parametrize(
    ("environment", "given", "kept"),
    [
        ("live", "", None),
        ("live", "none", "none"),
        ("testnet", "none", "none"),
        ("live", "http://mirror/", "http://mirror"),
        ("sandbox", "http://127.0.0.1:8730", "http://127.0.0.1:8730"),
    ],
)
def test_an_archive_is_named_or_turned_off(environment, given, kept):
    assert Settings(environment=environment, archive_url=given).archive_url == kept
