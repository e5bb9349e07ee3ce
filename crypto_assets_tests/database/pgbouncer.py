"""PgBouncer between the tests and their PostgreSQL, in either way of sharing connections.

Debian's package `pgbouncer`; where there is none the tests are skipped with that reason.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy.engine import URL


@contextmanager
def pgbouncer(server: URL, mode: str, connections: int = 3) -> Iterator[URL]:
    """The URL of a PgBouncer that passes on to `server` what any user asks, over so many connections."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip("no pgbouncer; Debian's package of that name has it")
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    host = server.host or server.query["host"]
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as name:
        settings = Path(name) / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n* = host={host} port={server.port or 5432} user={server.username}"
            + (f" password={server.password}" if server.password else "")
            + f"\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
            f"pool_mode = {mode}\ndefault_pool_size = {connections}\n"
        )
        Path(name).chmod(0o755)
        # It refuses to run as root. A server's socket may let its own user in alone.
        user = Path(host).stat().st_uid if host.startswith("/") else "nobody"
        options = {"user": user} if os.getuid() == 0 else {}
        running = subprocess.Popen([program, str(settings)], stderr=subprocess.PIPE, text=True, **options)
        try:
            said = []
            for line in running.stderr:
                said.append(line)
                if "process up" in line:
                    break
            else:
                pytest.fail(f"pgbouncer did not start: {''.join(said)}")
            yield server.set(host="127.0.0.1", port=port, query={})
        finally:
            running.terminate()
            running.communicate()
