"""Whom a connection to MySQL trusts: no server gets a file, and TLS is as the URL says."""

from __future__ import annotations

import shutil
import ssl
from contextlib import closing, suppress

import pytest
from pymysql.constants import CLIENT
from sqlalchemy.engine import make_url

from crypto_assets.database.engines import open_database
from crypto_assets.database.engines.mysql_connection import FileRequested, MysqlConnection
from crypto_assets.database.errors import DatabaseError, UnsupportedDatabase
from crypto_assets.database.shared_state import SharedState
from crypto_assets.database.tables import META
from crypto_assets_tests.database.rogue_mysql import RogueMysql, own_certificate, running

LOADING = "LOAD DATA LOCAL INFILE %s INTO TABLE t"


def named_in(statement: str) -> str:
    return statement.split("'")[1]


def connected(rogue: RogueMysql, **options) -> MysqlConnection:
    return MysqlConnection(host="127.0.0.1", port=rogue.port, user="me", may_load=True, **options)


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "id_rsa"
    path.write_text("a private key")
    return path


@pytest.mark.parametrize("at", ["time_zone", "SELECT"])
def test_a_server_that_asks_for_a_file_gets_nothing_and_is_named(secret, at):
    with running(RogueMysql(lambda said: str(secret) if at in said else None)) as rogue:
        database = open_database(f"mysql+pymysql://me:password@127.0.0.1:{rogue.port}/", "sandbox")
        with pytest.raises(DatabaseError, match=r"asked for the file '.*id_rsa' of this machine"):
            database.revision(META)
        database.dispose()
    assert rogue.sent == []


def test_a_turn_on_a_rogue_server_sends_nothing_either(secret):
    with running(RogueMysql(lambda said: str(secret) if "time_zone" in said else None)) as rogue:
        url = f"mysql+pymysql://me:password@127.0.0.1:{rogue.port}/?local_infile=1"
        with closing(SharedState(url, "sandbox")) as state, pytest.raises(DatabaseError, match="asked for the file"):
            state.change("host", lambda kept: (None, kept))
    assert rogue.sent == []
    assert not rogue.flags[0] & CLIENT.LOCAL_FILES, "only connections that write tell the server that they can load"


def test_another_file_than_the_offered_rows_is_not_sent_while_they_load(secret):
    with (
        running(RogueMysql(lambda said: str(secret) if "LOAD" in said else None)) as rogue,
        closing(connected(rogue)) as connection,
        connection.offering(memoryview(b"rows")) as name,
        connection.cursor() as cursor,
        pytest.raises(FileRequested),
    ):
        cursor.execute(LOADING, (name,))
    assert rogue.sent == []


def test_the_offered_rows_are_sent_once_and_to_their_statement_only():
    rows = bytes(range(256)) * 200
    with running(RogueMysql(lambda said: named_in(said) if "LOAD" in said else None)) as rogue:
        one, other = connected(rogue), connected(rogue)
        with one.offering(memoryview(rows)) as name:
            one.cursor().execute(LOADING, (name,))
            assert b"".join(rogue.sent) == rows
            with pytest.raises(FileRequested):
                one.cursor().execute(LOADING, (name,))
        with other.offering(memoryview(b"later")) as name:
            pass
        with pytest.raises(FileRequested):
            other.cursor().execute(LOADING, (name,))
    assert b"".join(rogue.sent) == rows


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ("ssl_mode=sometimes", "ssl_mode=sometimes"),
        ("ssl_check_hostname=false", "ssl_check_hostname in the URL is unknown"),
        ("ssl_ca=/nowhere.pem", "cannot be used"),
    ],
)
def test_what_cannot_be_meant_of_tls_is_refused(parameters, sentence):
    with pytest.raises(UnsupportedDatabase, match=sentence):
        open_database(f"mysql+pymysql://me@127.0.0.1/?{parameters}", "sandbox")


@pytest.mark.parametrize("mode", ["required", "verify_ca", "verify_identity"])
def test_a_server_without_tls_hears_nothing_where_tls_is_demanded(mode):
    with running(RogueMysql(lambda _: None)) as rogue:
        database = open_database(f"mysql+pymysql://me:password@127.0.0.1:{rogue.port}/?ssl_mode={mode}", "sandbox")
        with pytest.raises(DatabaseError, match="has no TLS"):
            database.exists()
    assert rogue.statements == rogue.flags == []


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate with")
@pytest.mark.parametrize(
    ("parameters", "host", "is_secure"),
    [
        ("", "127.0.0.1", True),
        ("ssl_mode=disabled", "127.0.0.1", False),
        ("ssl_mode=required", "127.0.0.1", True),
        ("ssl_mode=verify_ca", "127.0.0.1", None),
        ("ssl_ca={ca}", "127.0.0.1", True),
        ("ssl_ca={ca}", "localhost", None),
        ("ssl_ca={ca}&ssl_mode=verify_ca", "localhost", True),
    ],
)
def test_tls_is_used_where_the_server_has_it_and_verified_where_the_url_says_so(tmp_path, parameters, host, is_secure):
    certificate, key = own_certificate(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with running(RogueMysql(lambda _: None, tls=tls)) as rogue:
        url = make_url(f"mysql+pymysql://me:password@{host}:{rogue.port}/?{parameters.format(ca=certificate)}")
        # Such a server understands no query; how far the conversation came is what is asked here.
        with suppress(Exception), open_database(str(url), "sandbox").connect(META):
            pass
    assert rogue.secured == ([] if is_secure is None else [is_secure])
