"""A connection to MySQL that sends no file of this machine, whatever the server asks for.

LOAD DATA LOCAL works by the server naming a file, which PyMySQL then opens and sends: a server that is not what it
seems, or whoever sits in between, can name any file, in answer to any statement. Here only rows that are offered at
that moment are sent, from memory and under a name that nobody can guess, once. Made by `mysql`; rows are offered by
`writes.mysql`.
"""

from __future__ import annotations

import secrets
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pymysql.connections import Connection, LoadLocalPacketWrapper, MySQLResult
from pymysql.constants import CLIENT, CR
from pymysql.err import OperationalError

from crypto_assets.database.errors import UnsupportedDatabase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL

TLS_PARAMETERS = ("ssl_mode", "ssl_ca", "ssl_cert", "ssl_key")
_TLS_MODES = ("disabled", "preferred", "required", "verify_ca", "verify_identity")  # as the mysql client names them

_PACKET_BYTES = 16 * 1024  # what the driver sends at once, which the smallest servers accept


class FileRequested(OperationalError):  # noqa: N818 - named after what happened
    """The server asked for a file of this machine. Nothing was sent, and the connection is closed."""

    def __init__(self, name: str) -> None:
        super().__init__(CR.CR_SERVER_LOST, f"the server asked for the file {name!r} of this machine")
        self.file = name


class MysqlConnection(Connection):
    """A connection of PyMySQL. One that `may_load` tells the server that rows can be loaded through it."""

    def __init__(self, *arguments: Any, may_load: bool, client_flag: int = 0, **options: Any) -> None:
        self._offered: tuple[str, memoryview] | None = None
        flags = client_flag | CLIENT.LOCAL_FILES if may_load else client_flag & ~CLIENT.LOCAL_FILES
        # The driver's own handling stays off: it sends whatever it is asked for.
        super().__init__(*arguments, client_flag=flags, **options | {"local_infile": False})

    @contextmanager
    def offering(self, rows: memoryview) -> Iterator[str]:
        """The name by which the one statement of this block loads `rows`."""
        name = f"crypto-assets-{secrets.token_hex(16)}"
        self._offered = name, rows
        try:
            yield name
        finally:
            self._offered = None

    def send_offered(self, name: str) -> None:
        """Sends the rows that are offered as `name`, once. Closes the connection and raises FileRequested otherwise."""
        offered, self._offered = self._offered, None
        if offered is None or name != offered[0]:
            self._force_close()
            raise FileRequested(name)
        rows = offered[1]
        for first in range(0, len(rows), _PACKET_BYTES):
            self.write_packet(bytes(rows[first : first + _PACKET_BYTES]))
        self.write_packet(b"")  # the end

    def _read_query_result(self, unbuffered: bool = False) -> Any:
        self._result = None
        result = _Result(self)
        if unbuffered:
            result.init_unbuffered_query()
        else:
            result.read()
        self._result = result
        if result.server_status is not None:
            self.server_status = result.server_status
        return result.affected_rows


class _Result(MySQLResult):
    """An answer to a statement."""

    def _read_load_local_packet(self, first_packet: Any) -> None:
        connection: MysqlConnection = self.connection
        connection.send_offered(LoadLocalPacketWrapper(first_packet).filename.decode("utf-8", "backslashreplace"))
        self._read_ok_packet(connection._read_packet())  # noqa: SLF001 - its other half


def tls_options(url: URL) -> dict[str, Any]:
    """What the driver is told about TLS, from the `ssl_...` parameters of the URL. Raises UnsupportedDatabase.

    `ssl_mode` is disabled, preferred (used where the server has it; the default), required, verify_ca or
    verify_identity. `ssl_ca` names the file of the authorities to trust instead of the system's, and verifies the
    identity unless `ssl_mode` says otherwise; `ssl_cert` and `ssl_key` name our own certificate.
    """
    given = {name: value for name, value in url.query.items() if name.startswith("ssl")}
    unknown = sorted(set(given).difference(TLS_PARAMETERS))
    if unknown:
        raise UnsupportedDatabase(f"{unknown[0]} in the URL is unknown; there are {', '.join(TLS_PARAMETERS)}.")
    mode = str(given.get("ssl_mode", "verify_identity" if "ssl_ca" in given else "required" if given else "preferred"))
    if mode not in _TLS_MODES:
        raise UnsupportedDatabase(f"ssl_mode={mode} in the URL must be one of {', '.join(_TLS_MODES)}.")
    if mode == "disabled":
        return {"ssl_disabled": True}
    if mode == "preferred":
        return {}
    authorities, certificate, key = (given.get(name) for name in TLS_PARAMETERS[1:])
    try:
        context = ssl.create_default_context(cafile=authorities)  # type: ignore[arg-type]
        # Certificates that MySQL makes for itself are not strictly by the book.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.check_hostname = mode == "verify_identity"
        context.verify_mode = ssl.CERT_NONE if mode == "required" else ssl.CERT_REQUIRED
        if certificate:
            context.load_cert_chain(certificate, key)  # type: ignore[arg-type]
    except OSError as error:  # an ssl.SSLError, too
        raise UnsupportedDatabase(f"A file that ssl_... in the URL names cannot be used: {error}.") from error
    return {"ssl": context}
