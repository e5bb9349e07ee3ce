"""Several processes that begin the same work at the same moment, without each paying for the imports.

For tests of what first starts do to each other. The processes are real: one interpreter imports, and forks before it
has opened a connection or started a thread.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[1]

_SCRIPT = """
import os, sys, traceback
{imports}
def work():
{work}
waiting, go = os.pipe()
children = []
for _ in range({count}):
    child = os.fork()
    if not child:
        try:
            os.close(go)
            os.read(waiting, 1)  # returns for all of them when the last one that could write has closed
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    children.append(child)
os.close(go)
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0 for child in children))
"""


def run_at_once(count: int, imports: str, work: str) -> None:
    """Runs the statements `work` in `count` processes at once, after `imports`; fails with what any of them printed."""
    script = _SCRIPT.format(imports=imports, work=textwrap.indent(work.strip(), "    "), count=count)
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
